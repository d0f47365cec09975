/*
 * parked.c - the control socket of a process that serves nothing else.
 *
 * A server is ten libraries and 3.8 million instructions, and nearly always nobody asks. So until
 * somebody does there is one thread, in poll(), with the listening socket in a descriptor table of
 * its own, where the program neither sees nor closes it and no child gets a copy. It wakes for
 * nothing else. For a client of this user's, or root's, it loads libprof-http, gives it the socket
 * and the client (prof_http_control()), and ends: from then on the server's thread is the one. A
 * client of another user's is told no, so nobody else can have the libraries loaded.
 *
 * The socket is opened before main(): a filter of system calls that the program sets later finds
 * the thread where it needs none. Where the kernel gives the thread no table of its own there is no
 * socket, as it would be among the program's.
 *
 * A forked child has none. To start a thread there takes memory, in a fork handler, where an
 * allocator whose own handler comes later still has its locks. So one that becomes a daemon gets it
 * when it does, and others with LIBPROF_CONTROL=children, for programs whose allocator is known.
 * Nor can it be started later, at the child's first sample: that may be in malloc() called by the
 * dynamic linker, whose locks pthread_create() takes. What the child's tables hold is read from
 * outside instead (lib/tool/outside.c).
 *
 * It makes room for calls that are for processes of one thread (prof_helper_can_leave()), with its
 * socket, and opens another one afterwards.
 */
#include "preload/parked.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <prof/prof.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/rawlog.h"
#include "base/thread.h"
#include "base/wait.h"
#include "preload/preload.h"

enum {
    LISTENING = 3, /* in our table; 0 to 2 are left to libraries that write to them */
    ACCEPTED,
    BACKLOG = 16,
    WAKE_MS = 300,
    PAUSE_MS = 50, /* when clients cannot be accepted, as the server has it */
};

/* PARKED -> IS_TO_LEAVE -> AWAY, or PARKED -> SERVES, which is for good. */
enum state { NONE, PARKED, IS_TO_LEAVE, AWAY, WAKES, SERVES };
static _Atomic uint32_t state;
static pthread_t thread;
static bool is_wanted, each_child;

/* There in a program built with ThreadSanitizer, which tells files by their numbers alone; and
 * where libunwind is, which remembers some. */
extern void __tsan_init(void) __attribute__((weak));
extern unsigned long _U_dyn_info_list_addr(void) __attribute__((weak));

static bool turn(uint32_t from, uint32_t to)
{
    if (!atomic_compare_exchange_strong(&state, &from, to))
        return false;
    prof__word_wake(&state);
    return true;
}

/* While it is that, and the time is not over. */
static void wait_while(uint32_t is, int64_t end_ns)
{
    while (atomic_load(&state) == is && prof__monotonic_ns() < end_ns)
        prof__word_wait(&state, is, end_ns);
}

/* --- the thread ------------------------------------------------------------------------------- */

static bool leave_descriptor_table(void)
{
#ifdef SYS_close_range
    return !__tsan_init && !_U_dyn_info_list_addr &&
           syscall(SYS_close_range, 0, ~0U, 1U << 1 /* CLOSE_RANGE_UNSHARE */) == 0;
#else
    return false;
#endif
}

/* Under the number that it is to have. */
static int put_at(int fd, int number)
{
    if (fd == number)
        return 0;
    int r = dup3(fd, number, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int bind_name(int fd, const char *name)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    size_t n = strlen(name);

    memcpy(un.sun_path + 1, name, n);
    return bind(fd, (struct sockaddr *)&un,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) < 0
               ? -errno
               : 0;
}

/* The name is that of http.h, and as there. */
static int open_socket(void)
{
    char name[64];
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    snprintf(name, sizeof(name), "libprof-%d", (int)getpid());
    int r = bind_name(fd, name);
    if (r == -EADDRINUSE && stat("/proc/self/ns/pid", &st) == 0) {
        snprintf(name, sizeof(name), "libprof-%d-%lu", (int)getpid(), (unsigned long)st.st_ino);
        r = bind_name(fd, name);
    }
    if (r == 0 && listen(fd, BACKLOG) < 0)
        r = -errno;
    if (r == 0)
        return put_at(fd, LISTENING);
    close(fd);
    return r;
}

/* As in the server's loop: the one place where it can be cancelled, by hand since
 * ThreadSanitizer's poll() must not be left so. A pause is not ended by clients; and poll()
 * takes no file where RLIMIT_NOFILE is 0, and may be refused, which makes it a pause. False: there
 * is no way to sleep. */
__attribute__((no_sanitize_address)) static bool wait_for_client(bool pauses)
{
    struct pollfd p = { .fd = LISTENING, .events = POLLIN };
    struct timespec pause = { PAUSE_MS / 1000, PAUSE_MS % 1000 * 1000000L };

    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
#ifdef SYS_poll /* a filter may know this one only */
    long r = syscall(SYS_poll, &p, pauses ? 0 : 1, pauses ? PAUSE_MS : -1);
#else
    long r = syscall(SYS_ppoll, &p, pauses ? 0 : 1, pauses ? &pause : NULL, NULL, 0);
#endif
    if (r < 0 && errno != EINTR)
        r = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, NULL);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
    return r >= 0 || errno == EINTR;
}

static void answer(const char *status, const char *sentence)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.0 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                     "X-Go-Pprof: 1\r\nContent-Length: %zu\r\n\r\n%s\n",
                     status, strlen(sentence) + 1, sentence);

    send(ACCEPTED, text, (size_t)PROF_MIN(n, (int)sizeof(text) - 1), MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(ACCEPTED, SHUT_WR);
}

static bool is_owner(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

/* Give both to the server. True: this socket is done for. */
static bool wake_server(void)
{
    char why[256];
    int r = prof__preload_control(LISTENING, ACCEPTED, why, sizeof(why));

    if (r == -EALREADY) /* the program's own, which has an address of its own */
        answer("503 Service Unavailable", "this process serves by itself: ask again");
    else if (r < 0)
        answer("501 Not Implemented", why);
    return r == 0 || r == -EALREADY;
}

/* It stands in the queue, and there is nothing to take it with: RLIMIT_NOFILE is 0, for one. */
static bool cannot_accept(int fd)
{
    return fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;
}

/* Else somebody waits for this thread. */
static void give_up(const char *why)
{
    prof__log("no control socket: %s", why);
    if (turn(PARKED, NONE))
        pthread_detach(pthread_self());
}

/* Until the server has them. */
static void receive_clients(void)
{
    bool sleeps = true;

    while (sleeps) {
        sleeps = wait_for_client(false);
        prof_helper_follow(); /* what the program has given up meanwhile */
        int fd = accept4(LISTENING, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (cannot_accept(fd))
            sleeps = wait_for_client(true);
        if (fd < 0)
            continue;
        if (put_at(fd, ACCEPTED) < 0)
            continue;
        if (!is_owner(ACCEPTED)) {
            answer("403 Forbidden",
                   "refused: only the user of this process, and root, may connect");
        } else if (turn(PARKED, WAKES)) {
            if (wake_server()) {
                pthread_detach(pthread_self());
                turn(WAKES, SERVES);
                return;
            }
            turn(WAKES, PARKED);
        } else {
            answer("503 Service Unavailable", "the process is busy: ask again");
        }
        close(ACCEPTED);
    }
    give_up("no system call that waits is let through");
}

static void *run(void *unused)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    int r = leave_descriptor_table() ? 0 : -ENOTSUP;
    if (r == 0)
        r = open_socket();
    if (r < 0) {
        give_up(strerror(-r));
        return unused;
    }
    receive_clients();
    return unused;
}

/* --- starting, leaving -------------------------------------------------------------------------
 */

static int start(void)
{
    struct prof_helper helper = PROF_HELPER_INIT;

    helper.name = "prof-control";
    helper.stack_bytes = PROF__PRELOAD_STACK;
    helper.run = run;
    atomic_store(&state, PARKED);
    int r = prof_helper_start(&helper, &thread);
    if (r < 0) {
        atomic_store(&state, NONE);
        prof__log("no control socket: %s", prof_last_error());
    }
    return r;
}

/* pthread_cancel() loads libgcc_s when it is first called, and ends the process if it cannot; this
 * loads it too, and only says so. Not at start, as most processes never come here. */
static bool can_cancel(void)
{
    void *frame;

    return backtrace(&frame, 1) >= 1;
}

static int leave(int timeout_ms)
{
    /* Loading the server may itself wait for who has called us: not long, then. */
    wait_while(WAKES, prof__monotonic_ns() + PROF_MIN(timeout_ms, WAKE_MS) * INT64_C(1000000));
    if (atomic_load(&state) == PARKED && can_cancel() && turn(PARKED, IS_TO_LEAVE)) {
        pthread_cancel(thread);
        pthread_join(thread, NULL);
        turn(IS_TO_LEAVE, AWAY);
    }
    uint32_t now = atomic_load(&state);
    return now == PARKED || now == WAKES ? -EBUSY : 0;
}

static int come_back(void)
{
    return atomic_load(&state) == AWAY ? start() : 0;
}

static void in_child(void)
{
    bool entered = prof__enter(&prof__self);
    int saved = errno;

    atomic_store(&state, NONE);
    if (each_child)
        start();
    errno = saved;
    if (entered)
        prof__leave(&prof__self);
}

void prof__parked_begin(bool now)
{
    const char *control = secure_getenv("LIBPROF_CONTROL");

    if (control && strcmp(control, "0") == 0)
        return;
    is_wanted = true;
    each_child = control && strcmp(control, "children") == 0;
    prof_helper_can_leave(leave, come_back);
    pthread_atfork(NULL, NULL, in_child);
    if (now)
        start();
}

void prof__parked_again(void)
{
    if (is_wanted && atomic_load(&state) == NONE)
        start();
}

void prof__parked_end(void)
{
    if (leave(WAKE_MS) == 0)
        turn(AWAY, SERVES);
}
