/*
 * server.c - prof_http_start() and prof_http_stop(): one server for each process, in one thread.
 *
 * The thread is a guest in somebody else's process, so it takes as little of it as can be:
 *
 *   signals       all blocked: none of the program's handlers ever runs here
 *   descriptors   a table of its own, made by close_range(CLOSE_RANGE_UNSHARE), which keeps
 *                 nothing of the program's. A program that closes every descriptor does not hit
 *                 ours, nor do we keep its pipes open; children inherit nothing of us, by fork or
 *                 by exec. Even listening is done there, and its errors carried back. Where the
 *                 kernel or a filter refuses, close-on-exec and a fork handler stand in
 *   profiles      it is in none of them
 *
 * Two threads meet here, the program's and the server's; `control` is all they share. The server
 * thread owns its loop from opening to freeing it. prof_http_stop() cancels the thread where it
 * waits, and waits for it with a limit: one that is deep in a large profile is left to end by
 * itself.
 *
 * A forked child has no server and may start one: the fork handlers see to that.
 */
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "address.h"
#include "loop.h"
#include "options.h"

#define STACK_BYTES (1024 * 1024) /* names are looked up in debug information here */
#define STOP_MS     1700          /* prof_http_stop() waits no longer */

enum state { STOPPED, STARTING, SERVING, STOPPING };

/* What a start hands to the new thread; on the starter's stack until it has reported. */
struct order {
    struct prof__address address;
    const char *token;
    unsigned max_connections;
    bool source;
    bool reported;
    int error;
    char reason[512];
};

/* A call of the program's is neither cancelled half-way nor interrupted with the lock held: its
 * handler may fork. */
struct shield {
    int cancel_state;
    sigset_t mask;
};

static struct {
    pthread_mutex_t lock; /* guards all of this; held for moments only */
    pthread_cond_t changed;
    enum state state;
    pthread_t thread;
    pid_t pid;               /* the process it serves in */
    struct prof__loop *loop; /* the thread's; NULL when it has gone, or was left to itself */
    struct prof__loop *left; /* those nobody may touch: a parent's, or one that lost its files */
    char name[320];          /* where it listens */
    struct prof__socket_file file; /* to be removed if the process exits while serving */
    struct shield fork_shield;     /* of the thread that forks */
} control = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- undisturbed ------------------------------------------------------------------------------ */

static void raise_shield(struct shield *s)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &s->mask);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &s->cancel_state);
}

static void lower_shield(const struct shield *s)
{
    pthread_setcancelstate(s->cancel_state, NULL);
    pthread_sigmask(SIG_SETMASK, &s->mask, NULL);
}

/* --- fork and exit ---------------------------------------------------------------------------- */

static void before_fork(void)
{
    struct shield shield;

    raise_shield(&shield);
    pthread_mutex_lock(&control.lock);
    control.fork_shield = shield;
}

static void after_fork_in_parent(void)
{
    struct shield shield = control.fork_shield;

    pthread_mutex_unlock(&control.lock);
    lower_shield(&shield);
}

static void init_condition(void)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&control.changed, &attr);
    pthread_condattr_destroy(&attr);
}

/* The thread, and whoever was starting or stopping it, stayed with the parent. */
static void after_fork_in_child(void)
{
    if (control.loop) {
        prof__loop_forked(control.loop);
        prof__loop_shelve(control.loop, &control.left);
    }
    control.loop = NULL;
    control.state = STOPPED;
    control.file.path[0] = '\0';
    pthread_mutex_init(&control.lock, NULL);
    init_condition();
    lower_shield(&control.fork_shield);
}

/* As early as can be: who registers first is called last before a fork, so that our lock is taken
 * after the program's, as it is by a thread that has one of those and calls us. */
__attribute__((constructor(101))) static void set_up(void)
{
    init_condition();
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* A program that returns from main() while serving leaves no socket file behind. */
__attribute__((destructor)) static void remove_socket_file(void)
{
    if (pthread_mutex_trylock(&control.lock) != 0)
        return; /* being started or stopped right now by another thread */
    if (control.state == SERVING && control.pid == getpid())
        prof__socket_file_remove(&control.file);
    pthread_mutex_unlock(&control.lock);
}

/* --- the server's thread ---------------------------------------------------------------------- */

static int close_fds(unsigned first, unsigned last, bool unshare)
{
#ifdef SYS_close_range
    return (int)syscall(SYS_close_range, first, last, unshare ? 1U << 1 /* _UNSHARE */ : 0U);
#else
    errno = ENOSYS;
    return -1;
#endif
}

/* There in a program built with ThreadSanitizer. It tells files by their numbers alone, so to it a
 * second table is full of races. */
extern void __tsan_init(void) __attribute__((weak));

/* Leave the program's descriptor table for an empty one of our own, but for `keep` (-1: none). */
static bool leave_descriptor_table(int keep)
{
    if (__tsan_init)
        return false;
    if (keep < 0)
        return close_fds(0, ~0U, true) == 0;
    if (keep == 0)
        return close_fds(1, ~0U, true) == 0;
    return close_fds(0, (unsigned)keep - 1, true) == 0 &&
           close_fds((unsigned)keep + 1, ~0U, false) == 0;
}

/* A library that writes to what it thinks is stderr must not write to a client: no connection may
 * get the numbers 0 to 2. An epoll instance takes no data. */
static void occupy_standard_numbers(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && epoll_create1(EPOLL_CLOEXEC) < 0)
            return;
}

static int open_loop(struct order *order, struct prof__loop **ret_loop)
{
    int inherited = order->address.kind == PROF__ADDRESS_FD ? order->address.fd : -1;

    if (inherited >= 0 && fcntl(inherited, F_GETFD) < 0) { /* before the table changes */
        snprintf(order->reason, sizeof(order->reason), "cannot listen on %s: %s",
                 order->address.text, strerror(EBADF));
        return -EBADF;
    }
    bool own = leave_descriptor_table(inherited);
    struct prof__loop_setup setup = {
        .address = &order->address,
        .inherited_fd = inherited,
        .own_descriptors = own,
        .token = order->token,
        .max_connections = order->max_connections,
        .source = order->source,
    };
    int r = prof__loop_open(ret_loop, &setup, order->reason, sizeof(order->reason));
    if (r < 0)
        return r;
    if (own) {
        if (inherited >= 0)
            close(inherited); /* our copy; the loop has one of its own */
        occupy_standard_numbers();
    }
    return 0;
}

/* Tell the starter, who then takes `order` away. */
static void report(struct order *order, int error, struct prof__loop *loop)
{
    pthread_mutex_lock(&control.lock);
    if (error == 0) {
        const struct prof__listener *listener = prof__loop_listener(loop);

        control.loop = loop;
        snprintf(control.name, sizeof(control.name), "%s", listener->name);
        control.file = listener->file;
    }
    order->error = error;
    order->reported = true;
    pthread_cond_broadcast(&control.changed);
    pthread_mutex_unlock(&control.lock);
}

/* Cleanup handler: the thread was cancelled, or the loop has lost its descriptors. */
static void finish(void *arg)
{
    struct prof__loop *loop = arg;
    bool closed = prof__loop_close(loop);
    pthread_mutex_lock(&control.lock);
    if (!closed)
        prof__loop_shelve(loop, &control.left);
    if (control.loop == loop) { /* else nobody waits any more, or another one serves by now */
        control.loop = NULL;
        pthread_cond_broadcast(&control.changed);
    }
    pthread_mutex_unlock(&control.lock);
}

static void *serve(void *arg)
{
    struct prof__loop *loop;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_setname_np(pthread_self(), "prof-http");
    prof_thread_helper();
    int r = open_loop(arg, &loop);
    report(arg, r, loop);
    if (r < 0)
        return NULL;
    pthread_cleanup_push(finish, loop);
    prof__loop_run(loop);
    pthread_cleanup_pop(1);
    return NULL;
}

static int create_thread(struct order *order)
{
    pthread_attr_t attr;
    sigset_t all, old;
    void *frame;

    /* pthread_cancel() loads libgcc_s when it is first called, and ends the process if it cannot.
     * This loads it too, and only says so. */
    if (backtrace(&frame, 1) < 1)
        return -ENOMEM;
    int r = pthread_attr_init(&attr);
    if (r != 0)
        return -r;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* inherited by the thread from its first moment */
    r = pthread_create(&control.thread, &attr, serve, order);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}

/* --- the program's side ----------------------------------------------------------------------- */

static int start(struct order *order)
{
    int r;

    pthread_mutex_lock(&control.lock);
    while (control.state == STOPPING)
        pthread_cond_wait(&control.changed, &control.lock);
    if (control.state != STOPPED) {
        pthread_mutex_unlock(&control.lock);
        snprintf(order->reason, sizeof(order->reason), "already serving");
        return -EALREADY;
    }
    control.state = STARTING;
    control.pid = getpid();
    /* Not under the lock: it allocates, and who forks may have locked malloc before us. */
    pthread_mutex_unlock(&control.lock);
    r = create_thread(order);
    pthread_mutex_lock(&control.lock);
    if (r < 0) {
        snprintf(order->reason, sizeof(order->reason), "cannot start the server's thread: %s",
                 strerror(-r));
    } else {
        while (!order->reported)
            pthread_cond_wait(&control.changed, &control.lock);
        r = order->error;
        if (r < 0)
            pthread_join(control.thread, NULL); /* it is done but for returning */
    }
    control.state = r < 0 ? STOPPED : SERVING;
    pthread_cond_broadcast(&control.changed);
    pthread_mutex_unlock(&control.lock);
    return r;
}

static int stop(void)
{
    struct timespec end;
    int r = 0;

    pthread_mutex_lock(&control.lock);
    while (control.state == STARTING || control.state == STOPPING)
        pthread_cond_wait(&control.changed, &control.lock);
    if (control.state != SERVING) {
        pthread_mutex_unlock(&control.lock);
        return -EALREADY;
    }
    control.state = STOPPING;
    if (control.loop) /* else it has ended by itself */
        prof__loop_stop_soon(control.loop);
    pthread_cancel(control.thread);

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += STOP_MS % 1000 * 1000000L;
    end.tv_sec += STOP_MS / 1000 + end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    while (control.loop && r == 0)
        r = pthread_cond_timedwait(&control.changed, &control.lock, &end);
    bool left_alone = control.loop != NULL;
    control.loop = NULL;
    pthread_t thread = control.thread;
    pthread_mutex_unlock(&control.lock);

    /* Not under the lock, which the thread gives up last. */
    if (left_alone)
        pthread_detach(thread);
    else
        pthread_join(thread, NULL);

    pthread_mutex_lock(&control.lock);
    control.state = STOPPED;
    control.file.path[0] = '\0';
    pthread_cond_broadcast(&control.changed);
    pthread_mutex_unlock(&control.lock);
    return left_alone ? -EINPROGRESS : 0;
}

int prof_http_start(const char *addr)
{
    return prof_http_start_options(addr, NULL);
}

int prof_http_start_options(const char *addr, const struct prof_http_options *opts)
{
    struct order order = { .reported = false };
    struct prof_http_options known;
    struct shield shield;
    int r = prof__address_parse(addr, &order.address);

    if (r == 0)
        r = prof__options_read(opts, &known);
    if (r < 0)
        return r;
    order.token = known.token;
    order.max_connections = known.max_connections;
    order.source = known.source > 0;
    raise_shield(&shield);
    r = start(&order);
    lower_shield(&shield);
    return r < 0 ? prof_set_last_error(r, "%s", order.reason) : 0;
}

int prof_http_stop(void)
{
    struct shield shield;

    raise_shield(&shield);
    int r = stop();
    lower_shield(&shield);
    if (r == -EALREADY)
        return prof_set_last_error(r, "not serving");
    if (r == -EINPROGRESS)
        return prof_set_last_error(r, "a request is still being answered; the address is free "
                                      "only when it is done");
    return r;
}

int prof_http_address(char *buf, size_t size)
{
    struct shield shield;
    int r = -ENOTCONN;

    if (size && !buf)
        return prof_set_last_error(-EINVAL, "no buffer");
    raise_shield(&shield);
    pthread_mutex_lock(&control.lock);
    if (control.state == SERVING)
        r = snprintf(buf, size, "%s", control.name);
    pthread_mutex_unlock(&control.lock);
    lower_shield(&shield);
    return r < 0 ? prof_set_last_error(r, "not serving") : r;
}
