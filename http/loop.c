/*
 * loop.c - the server at work, in one thread of ours.
 *
 * libmicrohttpd parses and sends; this file decides when. So the thread, its signals, its
 * descriptors and its clock are ours:
 *
 *   wait for any of      a newcomer, a client that sends, takes or leaves, the nearest deadline.
 *                        With nobody connected that is for ever: an idle server never wakes up
 *   accept               newcomers, as many as there is room for, and one more
 *   run                  each connection that has something to do, for one turn
 *   expire               each whose deadline has come: a wait is over, a dawdler is cut off
 *   make room            if the house is full, whoever has been silent longest goes
 *
 * A `?seconds=N` request costs no thread: it waits for its deadline. Long work is cut into turns.
 * Time in which nobody could be served, since a handler took long or the process stood still,
 * counts against nobody's deadline.
 */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "connection.h"
#include "hosts.h"
#include "metrics.h"

#define NEVER       UINT64_MAX
#define MS_NS       UINT64_C(1000000)
#define FAREWELL_NS (SECOND_NS * 7 / 10) /* to send the last answers when stopping */
#define PAUSE_MS    50                   /* when connections cannot be accepted */
#define PAUSE_NS    (PAUSE_MS * MS_NS)
#define MOMENT_NS   (SECOND_NS / 2) /* after a pause of a second and more */

struct prof__loop {
    struct prof__listener
        listener;                  /* without a descriptor when there is the control socket alone */
    struct prof__listener control; /* without a descriptor when there is none */
    struct prof__site site;
    char *token, *hosts; /* the site's */
    struct prof__address address;
    int watch_fd; /* epoll: tells once of each thing that a newcomer sends */
    atomic_bool stopping;

    struct prof__connection ring; /* head; the one connected first comes first */
    unsigned count, max_connections;
    uint64_t accept_ns; /* from when on connections are accepted */
    struct pollfd *polls;
    struct prof__connection **polled; /* whose it is, beside polls[] */

    struct prof__fork_fds fork_fds;
    ino_t listening_ino; /* to know a listening socket of ours again */
    bool has_panicked;   /* libmicrohttpd has found its descriptors gone */

    struct prof__loop *shelved; /* next in prof__loop_shelve()'s list */
};

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void prof__loop_forked(struct prof__loop *loop)
{
    prof__fork_fds_close(&loop->fork_fds);
}

/* One of the two; there is one at least. */
static const struct prof__listener *a_listener(const struct prof__loop *loop)
{
    return loop->listener.fd >= 0 ? &loop->listener : &loop->control;
}

/* The program has closed every descriptor, ours with them, and may have given their numbers to
 * files of its own. */
static bool is_lost(const struct prof__loop *loop)
{
    struct stat st;

    return loop->fork_fds.n && (loop->has_panicked || fstat(a_listener(loop)->fd, &st) < 0 ||
                                st.st_ino != loop->listening_ino);
}

/* The frames that a thread leaves without returning, cancelled or by escape(). AddressSanitizer
 * would go on guarding what lay in them. */
#define LEFT_WITHOUT_RETURN __attribute__((no_sanitize_address))

/* Where the table is the program's, too, it may close ours at any moment, and libmicrohttpd ends
 * the process when one that it knows is gone. So this thread leaves it in its midst then, and never
 * touches it again. */
static _Thread_local jmp_buf *way_out;

LEFT_WITHOUT_RETURN static void escape(void *unused, const char *file, unsigned line,
                                       const char *why)
{
    (void)unused;
    if (way_out)
        longjmp(*way_out, 1);
    fprintf(stderr, "Fatal error in GNU libmicrohttpd %s:%u: %s\n", file, line, why);
    abort(); /* what it does when nobody has said otherwise */
}

LEFT_WITHOUT_RETURN static void with_a_way_out(struct prof__loop *loop,
                                               void (*work)(struct prof__loop *loop))
{
    jmp_buf here;

    way_out = loop->fork_fds.n ? &here : NULL;
    if (setjmp(here) == 0)
        work(loop);
    else
        loop->has_panicked = true;
    way_out = NULL;
}

/* --- connections ------------------------------------------------------------------------------ */

/* There is one place more than max_connections, for whom room is made. */
static bool is_full(const struct prof__loop *loop)
{
    return loop->count > loop->max_connections;
}

static bool is_accepting(const struct prof__loop *loop)
{
    return !is_full(loop) && a_listener(loop)->fd >= 0;
}

static void add(struct prof__loop *loop, int fd, bool is_control)
{
    struct prof__connection *c =
        prof__connection_new(fd, &loop->site, &loop->fork_fds, loop->watch_fd);

    if (!c)
        return;
    c->request.caller.control = is_control;
    c->prev = loop->ring.prev;
    c->next = &loop->ring;
    c->prev->next = c->next->prev = c;
    loop->count++;
}

static void drop(struct prof__loop *loop, struct prof__connection *c)
{
    c->prev->next = c->next;
    c->next->prev = c->prev;
    loop->count--;
    prof__connection_free(c);
}

static void drop_the_gone(struct prof__loop *loop)
{
    for (struct prof__connection *c = loop->ring.next, *next; c != &loop->ring; c = next) {
        next = c->next;
        if (c->phase == PROF__GONE)
            drop(loop, c);
    }
}

/* What is wrong with a connection that is being accepted is its own matter. What is not, as a lack
 * of descriptors or memory, lasts, and the listening socket stays readable: so look again in a
 * while. */
static void accept_from(struct prof__loop *loop, int listening, bool is_control)
{
    while (is_accepting(loop) && listening >= 0) {
        int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            add(loop, fd, is_control);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        loop->accept_ns = now_ns() + PAUSE_NS;
        return;
    }
}

static void accept_newcomers(struct prof__loop *loop)
{
    accept_from(loop, loop->listener.fd, false);
    accept_from(loop, loop->control.fd, true);
}

static void look_at_newcomers(struct prof__loop *loop)
{
    struct epoll_event events[32];
    int n = epoll_wait(loop->watch_fd, events, sizeof(events) / sizeof(events[0]), 0);

    for (int i = 0; i < n; i++) /* each once, so none of them has gone meanwhile */
        prof__connection_look(events[i].data.ptr, events[i].events & (EPOLLRDHUP | EPOLLHUP));
}

/* The house is full: whoever has been silent for the longest time makes room. */
static void make_room(struct prof__loop *loop, uint64_t now)
{
    struct prof__connection *longest = NULL;
    uint64_t since = now;

    for (struct prof__connection *c = loop->ring.next; c != &loop->ring; c = c->next) {
        if (c->phase == PROF__GONE)
            return; /* one is leaving already, and one is all it takes */
        uint64_t from = prof__connection_dispensable_ns(c);
        if (from <= since && (!longest || from < since)) {
            longest = c;
            since = from;
        }
    }
    if (longest) {
        longest->phase = PROF__GONE;
        prof__metrics_displaced();
    }
}

/* --- turns ------------------------------------------------------------------------------------ */

static void run_the_due(struct prof__loop *loop)
{
    for (struct prof__connection *c = loop->ring.next; c != &loop->ring; c = c->next)
        if (prof__connection_is_busy(c))
            prof__connection_run(c);
}

static void expire(struct prof__loop *loop, uint64_t now)
{
    for (struct prof__connection *c = loop->ring.next; c != &loop->ring; c = c->next)
        if (c->deadline_ns <= now && c->phase != PROF__GONE)
            prof__connection_expire(c);
    if (is_full(loop))
        make_room(loop, now);
    drop_the_gone(loop);
}

/*
 * It is `now`. From `from` on nobody could be served, since we were at work or the process stood
 * still: that is nobody's fault, and nobody's deadline comes the nearer for it. A window of time
 * ends when it ends. After a long pause there is a moment more, to take up what came meanwhile.
 * Who makes room for others when the house is full is another matter, or nobody could come while
 * there is much to do.
 */
static void lend(struct prof__loop *loop, uint64_t from, uint64_t now)
{
    uint64_t ns = now > from ? now - from : 0;

    if (ns >= SECOND_NS)
        ns += MOMENT_NS;
    for (struct prof__connection *c = loop->ring.next; ns && c != &loop->ring; c = c->next)
        if (c->phase != PROF__WAITING && c->deadline_ns < NEVER - ns)
            c->deadline_ns += ns;
}

/* When there is something to do, whatever happens until then. */
static uint64_t next_ns(const struct prof__loop *loop)
{
    uint64_t next = loop->accept_ns ? loop->accept_ns : NEVER;

    for (struct prof__connection *c = loop->ring.next; c != &loop->ring; c = c->next) {
        if (c->phase == PROF__GONE || prof__connection_is_busy(c))
            return 0;
        next = earlier(next, c->deadline_ns);
        if (is_full(loop))
            next = earlier(next, prof__connection_dispensable_ns(c));
    }
    return next;
}

/*
 * poll(), and the one place where the thread can be cancelled, which is how it is told to stop: no
 * other thread has a descriptor of its table to write to. What poll() itself does to be cancelled
 * is done by hand, since ThreadSanitizer replaces that function by one that must not be left so.
 */
LEFT_WITHOUT_RETURN static int cancellable_poll(struct pollfd *polls, nfds_t n, int ms)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
#ifdef SYS_poll /* a filter may know this one only */
    int r = (int)syscall(SYS_poll, polls, n, ms);
#else
    struct timespec wait = { ms / 1000, ms % 1000 * 1000000L };
    int r = (int)syscall(SYS_ppoll, polls, n, ms < 0 ? NULL : &wait, NULL, 0);
#endif
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
    return r;
}

LEFT_WITHOUT_RETURN static int sleep_ms(int ms)
{
    struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };
    uint32_t word = 0;
    int r = (int)syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, NULL);

    return r == 0 || errno == EINTR /* or it is refused, too */
               ? r
               : (int)syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0);
}

LEFT_WITHOUT_RETURN static void cancellable_sleep(int ms)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    sleep_ms(ms);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
}

/* Where poll() cannot say: whatever could be read is looked at. */
static void suppose_events(struct pollfd *polls, nfds_t n)
{
    for (nfds_t i = 0; i < n; i++)
        polls[i].revents = polls[i].fd < 0 ? 0 : polls[i].events & POLLIN;
}

static int pause_ms(int ms)
{
    return ms < 0 || ms > PAUSE_MS ? PAUSE_MS : ms;
}

/* Until something has happened, or so long. poll() takes no more files than RLIMIT_NOFILE says,
 * which the program may have set to nothing since, and a filter of system calls may refuse it:
 * then everything is looked at, every now and then. */
LEFT_WITHOUT_RETURN static void wait_for_events(struct pollfd *polls, nfds_t n, int ms)
{
    if (cancellable_poll(polls, n, ms) >= 0 || errno == EINTR)
        return;
    suppose_events(polls, n);
    if (cancellable_poll(NULL, 0, pause_ms(ms)) < 0 && errno != EINTR)
        cancellable_sleep(pause_ms(ms));
}

/* The first ones are the loop's own; an unused one has the number -1. */
enum { LISTENER, CONTROL, WATCH, OWN_POLLS };

static nfds_t fill_polls(struct prof__loop *loop)
{
    nfds_t n = OWN_POLLS;
    bool accepts = is_accepting(loop) && !loop->accept_ns;

    loop->polls[LISTENER] =
        (struct pollfd) { .fd = accepts ? loop->listener.fd : -1, .events = POLLIN };
    loop->polls[CONTROL] =
        (struct pollfd) { .fd = accepts ? loop->control.fd : -1, .events = POLLIN };
    loop->polls[WATCH] = (struct pollfd) { .fd = loop->watch_fd, .events = POLLIN };
    for (struct prof__connection *c = loop->ring.next; c != &loop->ring; c = c->next)
        for (nfds_t i = prof__connection_polls(c, &loop->polls[n]); i > 0; i--)
            loop->polled[n++] = c;
    return n;
}

/* Milliseconds from `now` until then, rounded up; -1: for ever. */
static int ms_until(uint64_t then, uint64_t now)
{
    if (then == NEVER)
        return -1;
    uint64_t ms = then > now ? (then - now + MS_NS - 1) / MS_NS : 0;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

static void take_events(struct prof__loop *loop, nfds_t n)
{
    for (nfds_t i = OWN_POLLS; i < n; i++)
        if (loop->polls[i].revents)
            prof__connection_event(loop->polled[i], &loop->polls[i]);
    if (loop->polls[WATCH].revents)
        look_at_newcomers(loop);
}

LEFT_WITHOUT_RETURN static void run(struct prof__loop *loop)
{
    uint64_t mark = now_ns(); /* until then all time is accounted for */

    for (;;) {
        nfds_t n = fill_polls(loop);
        uint64_t now = now_ns();
        lend(loop, mark, now);
        int ms = ms_until(next_ns(loop), now);
        mark = ms < 0 ? NEVER : now + (uint64_t)ms * MS_NS;

        wait_for_events(loop->polls, n, ms);
        if (is_lost(loop))
            return;
        prof_helper_follow();
        now = now_ns();
        lend(loop, mark, now); /* it was to come back earlier */
        mark = now;
        take_events(loop, n);
        run_the_due(loop);
        now = now_ns();
        lend(loop, mark, now);
        mark = now;
        expire(loop, now);
        if (loop->accept_ns <= now) {
            loop->accept_ns = 0;
            accept_newcomers(loop);
        }
    }
}

LEFT_WITHOUT_RETURN void prof__loop_run(struct prof__loop *loop)
{
    with_a_way_out(loop, run);
}

/* Answer who waits, and give everybody a moment to take the answer. */
static void say_farewell(struct prof__loop *loop)
{
    uint64_t end = now_ns() + FAREWELL_NS;

    for (struct prof__connection *c = loop->ring.next; c != &loop->ring; c = c->next)
        if (c->phase == PROF__WAITING)
            prof__connection_give_up(c, prof__stopping_text);
    for (;;) {
        bool sending = false;

        run_the_due(loop);
        drop_the_gone(loop);
        for (struct prof__connection *c = loop->ring.next; c != &loop->ring; c = c->next)
            sending |= c->phase == PROF__READY || c->phase == PROF__SENDING;
        uint64_t now = now_ns();
        if (!sending || now >= end)
            return;
        nfds_t n = fill_polls(loop);
        int ms = ms_until(earlier(end, next_ns(loop)), now);
        if (poll(loop->polls, n, ms) < 0 && errno != EINTR) {
            suppose_events(loop->polls, n);
            sleep_ms(pause_ms(ms));
        }
        take_events(loop, n);
    }
}

/* --- lifecycle -------------------------------------------------------------------------------- */

void prof__loop_free(struct prof__loop *loop)
{
    if (loop->token)
        explicit_bzero(loop->token, strlen(loop->token));
    free(loop->token);
    free(loop->hosts);
    free(loop->polls);
    free(loop->polled);
    prof__fork_fds_free(&loop->fork_fds);
    free(loop);
}

static int allocate(struct prof__loop *loop, const struct prof__loop_setup *setup)
{
    size_t connections = (size_t)setup->max_connections + 1; /* and the newcomer */
    size_t n = OWN_POLLS + connections * PROF__CONNECTION_POLLS;

    loop->polls = calloc(n, sizeof(*loop->polls));
    loop->polled = calloc(n, sizeof(*loop->polled));
    bool has_host = setup->address && setup->address->kind == PROF__ADDRESS_HOST;
    loop->hosts = prof__hosts_list(has_host ? setup->address->host : NULL, setup->hosts);
    if (!loop->polls || !loop->polled || !loop->hosts)
        return -ENOMEM;
    if (setup->token && !(loop->token = strdup(setup->token)))
        return -ENOMEM;
    /* Each connection has its socket, libmicrohttpd's descriptor, and perhaps a copy. */
    return setup->own_descriptors
               ? 0
               : prof__fork_fds_init(&loop->fork_fds, (unsigned)(3 + 3 * connections));
}

/* Serving is done without the control socket, unless that is all there is to serve on. */
static int open_listeners(struct prof__loop *loop, const struct prof__loop_setup *setup)
{
    int r = 0;

    loop->listener.fd = loop->control.fd = -1;
    if (setup->address)
        r = prof__listener_open(&loop->listener, &loop->address, setup->inherited_fd);
    if (r < 0 || !setup->control)
        return r;
    r = prof__listener_open_control(&loop->control, setup->control_fd);
    return setup->address ? 0 : r;
}

static int open_sockets(struct prof__loop *loop, const struct prof__loop_setup *setup)
{
    struct stat st;
    int r = open_listeners(loop, setup);

    if (r < 0)
        return r;
    loop->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->watch_fd < 0) {
        r = -errno;
        snprintf(loop->listener.reason, sizeof(loop->listener.reason), "cannot serve on %s: %s",
                 a_listener(loop)->name, strerror(-r));
        prof__listener_close(&loop->listener);
        prof__listener_close(&loop->control);
        return r;
    }
    if (fstat(a_listener(loop)->fd, &st) == 0)
        loop->listening_ino = st.st_ino;
    prof__fork_fds_add(&loop->fork_fds, loop->listener.fd);
    prof__fork_fds_add(&loop->fork_fds, loop->control.fd);
    prof__fork_fds_add(&loop->fork_fds, loop->watch_fd);
    int first = setup->accepted_fd >= 0 ? fcntl(setup->accepted_fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (first >= 0)
        add(loop, first, true);
    return 0;
}

int prof__loop_open(struct prof__loop **ret_loop, const struct prof__loop_setup *setup,
                    char *reason, size_t size)
{
    struct prof__loop *loop = calloc(1, sizeof(*loop));
    int r = loop ? allocate(loop, setup) : -ENOMEM;

    if (r < 0) {
        snprintf(reason, size, "cannot serve: out of memory");
        if (loop)
            prof__loop_free(loop);
        return r;
    }
    loop->ring.next = loop->ring.prev = &loop->ring;
    loop->max_connections = setup->max_connections;
    if (setup->address)
        loop->address = *setup->address;
    loop->site = (struct prof__site) {
        .token = loop->token,
        .hosts = loop->hosts,
        .source = setup->source,
        .own_thread = true,
        .stopping = &loop->stopping,
    };
    r = open_sockets(loop, setup);
    if (r < 0) {
        snprintf(reason, size, "%s",
                 *loop->listener.reason ? loop->listener.reason : loop->control.reason);
        prof__loop_free(loop);
        return r;
    }
    if (!setup->own_descriptors)
        MHD_set_panic_func(escape, NULL);
    *ret_loop = loop;
    return 0;
}

const struct prof__listener *prof__loop_listener(const struct prof__loop *loop)
{
    return a_listener(loop);
}

void prof__loop_stop_soon(struct prof__loop *loop)
{
    /* Relaxed: says only "soon"; what orders the end is the thread's own end. */
    atomic_store_explicit(&loop->stopping, true, memory_order_relaxed);
}

void prof__loop_shelve(struct prof__loop *loop, struct prof__loop **list)
{
    loop->shelved = *list;
    *list = loop;
}

static void end_all(struct prof__loop *loop)
{
    say_farewell(loop);
    while (loop->ring.next != &loop->ring)
        drop(loop, loop->ring.next);
}

bool prof__loop_close(struct prof__loop *loop)
{
    prof__loop_stop_soon(loop);
    if (is_lost(loop)) { /* closing those numbers could hit the program's files: leave it all */
        prof__socket_file_remove(&loop->listener.file);
        return false;
    }
    prof__fork_fds_remove(&loop->fork_fds, loop->listener.fd);
    prof__fork_fds_remove(&loop->fork_fds, loop->control.fd);
    prof__listener_close(&loop->listener);
    prof__listener_close(&loop->control);
    with_a_way_out(loop, end_all);
    if (loop->has_panicked)
        return false;
    prof__fork_fds_remove(&loop->fork_fds, loop->watch_fd);
    close(loop->watch_fd);
    return true;
}
