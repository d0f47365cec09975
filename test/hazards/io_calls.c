/*
 * io_calls.c - a system call under a hook is the system call: its result, its errno, what a signal
 * and a cancellation do to it, before a trace with io=1 has been on, while one is, and after; and
 * while one is each call is told, with its descriptor and its result.
 *
 * Class: a hook that changes what comes back, makes a call again, or hides a point of cancellation.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <prof/trace.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "text_profile.h"

/* As programs have them that were built with _FORTIFY_SOURCE. */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t at, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *from,
                       socklen_t *size);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t room);

static int file, pair[2], epoll_fd, listening, empty[2];
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static socklen_t address_size;
static char buf[16];
static const struct timespec moment = { 0, 1000 };
static struct timespec none;
static struct iovec vec = { buf, 3 };
static struct msghdr message = { .msg_iov = &vec, .msg_iovlen = 1 };
static struct mmsghdr messages[1];
static void *volatile nowhere = (void *)8;

static void refill(void) /* three bytes to be read from pair[0] */
{
    char drain[64];

    while (recv(pair[0], drain, sizeof(drain), MSG_DONTWAIT) > 0)
        ;
    if (send(pair[1], "abc", 3, 0) != 3)
        abort();
}

static int connected(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int r = connect(fd, (struct sockaddr *)&address, address_size), saved = errno;

    if (r < 0)
        close(fd);
    errno = saved;
    return r < 0 ? r : fd;
}

static int took(int fd) /* what accept() gave */
{
    int saved = errno;

    if (fd >= 0)
        close(fd);
    errno = saved;
    return fd >= 0 ? 0 : -1;
}

static int accepted(bool four)
{
    int fd = connected();
    int r =
        took(four ? accept4(listening, NULL, NULL, SOCK_CLOEXEC) : accept(listening, NULL, NULL));

    close(fd);
    return r;
}

static struct mmsghdr *one_message(void)
{
    messages[0] = (struct mmsghdr) { .msg_hdr = message };
    return messages;
}

/* Each: what it returns, and errno; `named` as the trace has it. */
#define CALLS(X)                                                                               \
    X(read, (refill(), read(pair[0], buf, 3)), 3, 0)                                           \
    X(read, read(-1, buf, 3), -1, EBADF)                                                       \
    X(read, (lseek(file, 0, SEEK_SET), read(file, nowhere, 3)), -1, EFAULT)                    \
    X(read, read(empty[0], buf, 3), -1, EAGAIN)                                                \
    X(read, (refill(), __read_chk(pair[0], buf, 3, sizeof(buf))), 3, 0)                        \
    X(pread, pread(file, buf, 3, 1), 3, 0)                                                     \
    X(pread, pread(pair[0], buf, 3, 1), -1, ESPIPE)                                            \
    X(pread, pread64(file, buf, 3, 2), 3, 0)                                                   \
    X(pread, __pread_chk(file, buf, 3, 1, sizeof(buf)), 3, 0)                                  \
    X(pread, __pread64_chk(file, buf, 3, 1, sizeof(buf)), 3, 0)                                \
    X(readv, (refill(), readv(pair[0], &vec, 1)), 3, 0)                                        \
    X(preadv, preadv(file, &vec, 1, 0), 3, 0)                                                  \
    X(preadv, preadv64(file, &vec, 1, 0), 3, 0)                                                \
    X(recv, (refill(), recv(pair[0], buf, 3, 0)), 3, 0)                                        \
    X(recv, (refill(), __recv_chk(pair[0], buf, 3, sizeof(buf), 0)), 3, 0)                     \
    X(recv, recv(file, buf, 3, 0), -1, ENOTSOCK)                                               \
    X(recvfrom, (refill(), recvfrom(pair[0], buf, 3, 0, NULL, NULL)), 3, 0)                    \
    X(recvfrom, (refill(), __recvfrom_chk(pair[0], buf, 3, sizeof(buf), 0, NULL, NULL)), 3, 0) \
    X(recvmsg, (refill(), recvmsg(pair[0], &message, 0)), 3, 0)                                \
    X(recvmmsg, (refill(), recvmmsg(pair[0], one_message(), 1, 0, NULL)), 1, 0)                \
    X(write, write(pair[1], "abc", 3), 3, 0)                                                   \
    X(write, write(-1, "abc", 3), -1, EBADF)                                                   \
    X(pwrite, pwrite(file, "abc", 3, 0), 3, 0)                                                 \
    X(pwrite, pwrite64(file, "abc", 3, 0), 3, 0)                                               \
    X(writev, writev(pair[1], &vec, 1), 3, 0)                                                  \
    X(pwritev, pwritev(file, &vec, 1, 0), 3, 0)                                                \
    X(pwritev, pwritev64(file, &vec, 1, 0), 3, 0)                                              \
    X(send, send(pair[1], "abc", 3, 0), 3, 0)                                                  \
    X(sendto, sendto(pair[1], "abc", 3, 0, NULL, 0), 3, 0)                                     \
    X(sendmsg, sendmsg(pair[1], &message, 0), 3, 0)                                            \
    X(sendmmsg, sendmmsg(pair[1], one_message(), 1, 0), 1, 0)                                  \
    X(sendfile, sendfile(pair[1], file, &(off_t) { 0 }, 3), 3, 0)                              \
    X(sendfile, sendfile64(pair[1], file, &(off64_t) { 0 }, 3), 3, 0)                          \
    X(fsync, fsync(-1), -1, EBADF)                                                             \
    X(fdatasync, fdatasync(file), 0, 0)                                                        \
    X(connect, accepted(false), 0, 0)                                                          \
    X(connect, connect(-1, (struct sockaddr *)&address, address_size), -1, EBADF)              \
    X(accept, accepted(false), 0, 0)                                                           \
    X(accept4, accepted(true), 0, 0)                                                           \
    X(accept, accept(pair[0], NULL, NULL), -1, EINVAL)                                         \
    X(poll, poll(&(struct pollfd) { listening, POLLOUT, 0 }, 1, 1), 0, 0)                      \
    X(poll, poll(nowhere, 1, 0), -1, EFAULT)                                                   \
    X(poll, __poll_chk(&(struct pollfd) { -1, POLLIN, 0 }, 1, 1, sizeof(struct pollfd)), 0, 0) \
    X(ppoll, ppoll(NULL, 0, &moment, NULL), 0, 0)                                              \
    X(select, select(0, NULL, NULL, NULL, &(struct timeval) { 0, 10 }), 0, 0)                  \
    X(select, select(-1, NULL, NULL, NULL, NULL), -1, EINVAL)                                  \
    X(pselect, pselect(0, NULL, NULL, NULL, &moment, NULL), 0, 0)                              \
    X(epoll_wait, epoll_wait(epoll_fd, &(struct epoll_event) { 0 }, 1, 1), 0, 0)               \
    X(epoll_wait, epoll_wait(-1, &(struct epoll_event) { 0 }, 1, 0), -1, EBADF)                \
    X(epoll_pwait, epoll_pwait(epoll_fd, &(struct epoll_event) { 0 }, 1, 1, NULL), 0, 0)       \
    X(nanosleep, nanosleep(&moment, NULL), 0, 0)                                               \
    X(nanosleep, nanosleep(&(struct timespec) { -1, 0 }, &none), -1, EINVAL)                   \
    X(clock_nanosleep, clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL), 0, 0)               \
    X(clock_nanosleep, clock_nanosleep(12345, 0, &moment, NULL), EINVAL, 0)                    \
    X(usleep, usleep(1), 0, 0)                                                                 \
    X(sleep, (int)sleep(0), 0, 0)

enum { ERRNO_BEFORE = 4321 };

static void check_calls(const char *when)
{
#define CALL(name, call, want, error)                                                           \
    {                                                                                           \
        errno = ERRNO_BEFORE;                                                                   \
        long r = (long)(call);                                                                  \
        int e = errno;                                                                          \
        CHECK(r == (want) && (!(error) || e == (error)), "%s: %s returns %ld, errno %d", when,  \
              #call, r, e);                                                                     \
        CHECK((error) || e == ERRNO_BEFORE || e == EAGAIN, "%s: %s leaves errno as it was: %d", \
              when, #call, e);                                                                  \
    }
    CALLS(CALL)
}

/* --- a trace as text -------------------------------------------------------------------------- */

static struct text_profile got;

static struct prof_trace *trace_io(int64_t min_ns)
{
    struct prof_trace_options o = PROF_TRACE_OPTIONS_INIT;
    struct prof_trace *t = NULL;

    o.io = 1;
    o.no_cpu = 1;
    o.min_wait_ns = min_ns;
    o.format = "json";
    CHECK_INT(prof_trace_start(&o, &t), 0, prof_last_error());
    return t;
}

static void end(struct prof_trace *t)
{
    text_profile_free(&got);
    CHECK_INT(prof_trace_write(t, text_profile_sink, &got), 0, prof_last_error());
    prof_trace_stop(t);
}

static int told(const char *what)
{
    int n = 0;

    for (const char *s = got.text ? got.text : ""; (s = strstr(s, what)); s++)
        n++;
    return n;
}

static void check_told(void)
{
    char what[64];
#define NAMED(name, call, want, error)                       \
    snprintf(what, sizeof(what), "\"name\":\"%s\",", #name); \
    CHECK(told(what) >= 1, "%s is in the trace", #name);
    CALLS(NAMED)
    snprintf(what, sizeof(what), "{\"descriptor\":%d,\"result\":\"3\"}", file);
    CHECK(told(what) >= 8, "results and descriptors: %d", told(what));
    CHECK(told("\"result\":\"error 9: ") == 5, "and errors: %d", told("\"result\":\"error 9: "));
    CHECK_INT(told("\"result\":\"error 22: "), 4, "also one that is returned");
}

/* --- signals ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t handled;
static atomic_bool returned;
static int from_handler[2];

static void on_signal(int number)
{
    int saved = errno;

    handled = 1;
    if (write(from_handler[1], "x", 1) != 1) /* a call within a call */
        abort();
    errno = saved;
}

static void *interrupt(void *arg)
{
    pthread_t *thread = arg;

    while (!atomic_load(&returned)) { /* one may have come before the call */
        pthread_kill(*thread, SIGUSR1);
        poll(NULL, 0, 1);
    }
    return NULL;
}

static void check_interrupted(const char *when, int flags)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };
    pthread_t self = pthread_self(), thread;
    char c;

    sigaction(SIGUSR1, &action, NULL);
    atomic_store(&returned, false);
    pthread_create(&thread, NULL, interrupt, &self);
    errno = 0;
    /* Restarted, it reads what the handler wrote. */
    long r = read(from_handler[0], &c, 1);
    int e = errno;
    atomic_store(&returned, true);
    pthread_join(thread, NULL);
    if (flags & SA_RESTART)
        CHECK(r == 1, "%s: the kernel has gone on reading: %ld", when, r);
    else
        CHECK(r == 1 || (r == -1 && e == EINTR), "%s: EINTR is the program's: %ld %d", when, r, e);
    atomic_store(&returned, false);
    pthread_create(&thread, NULL, interrupt, &self);
    r = poll(NULL, 0, 10000);
    e = errno;
    atomic_store(&returned, true);
    CHECK(r == -1 && e == EINTR, "%s: a wait is not begun again: %ld %d", when, r, e);
    pthread_join(thread, NULL);
    while (recv(from_handler[0], &c, 1, MSG_DONTWAIT) == 1)
        ;
}

/* --- cancellation ----------------------------------------------------------------------------- */

static int silent[2]; /* nobody writes to it */
static atomic_int cleaned;

static void clean(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void in_read(void)
{
    char c;

    (void)!read(silent[0], &c, 1);
}

static void in_recvmsg(void)
{
    recvmsg(silent[0], &message, 0);
}

static void in_poll(void)
{
    poll(NULL, 0, -1);
}

static void in_ppoll(void)
{
    ppoll(NULL, 0, NULL, NULL);
}

static void in_select(void)
{
    select(0, NULL, NULL, NULL, NULL);
}

static void in_epoll(void)
{
    struct epoll_event e;

    epoll_wait(epoll_fd, &e, 1, -1);
}

static void in_accept(void)
{
    accept(listening, NULL, NULL);
}

static void in_sleep(void)
{
    sleep(1000);
}

static void in_nanosleep(void)
{
    nanosleep(&(struct timespec) { 1000, 0 }, NULL);
}

struct cancelled {
    void (*wait)(void);
    pid_t tid;
};

static void *be_cancelled(void *arg)
{
    struct cancelled *c = arg;

    pthread_cleanup_push(clean, &cleaned);
    c->wait();
    pthread_cleanup_pop(0);
    return NULL;
}

static void check_cancelled(const char *when)
{
    static void (*const waits[])(void) = { in_read,  in_recvmsg, in_poll,  in_ppoll,    in_select,
                                           in_epoll, in_accept,  in_sleep, in_nanosleep };
    enum { N = sizeof(waits) / sizeof(waits[0]) };

    for (int asleep = 0; asleep < 2; asleep++) {
        atomic_store(&cleaned, 0);
        for (int i = 0; i < N; i++) {
            struct cancelled c = { waits[i], 0 };
            pthread_t thread;
            void *result = NULL;

            pthread_create(&thread, NULL, be_cancelled, &c);
            if (asleep) /* most likely it waits by then; else it is cancelled when it begins to */
                poll(NULL, 0, 10);
            pthread_cancel(thread);
            pthread_join(thread, &result);
            CHECK(result == PTHREAD_CANCELED, "%s: wait %d is a point of cancellation", when, i);
        }
        CHECK(atomic_load(&cleaned) <= N && (!asleep || atomic_load(&cleaned) == N),
              "%s: %d cleanups", when, atomic_load(&cleaned));
    }
}

/* --- children --------------------------------------------------------------------------------- */

static void check_children(const char *when)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        refill();
        _exit(read(pair[0], buf, 3) == 3 && usleep(1) == 0 ? 0 : 1);
    }
    waitpid(child, &status, 0);
    CHECK_INT(status, 0, when);
    child = vfork();
    if (child == 0) { /* in our memory, with our ring */
        long r = write(pair[1], "abc", 3);

        execl("/bin/sh", "sh", "-c", r == 3 ? "exit 0" : "exit 1", (char *)NULL);
        _exit(2);
    }
    waitpid(child, &status, 0);
    CHECK_INT(status, 0, when);
}

static void check_all(const char *when)
{
    check_calls(when);
    check_interrupted(when, SA_RESTART);
    check_interrupted(when, 0);
    check_cancelled(when);
    check_children(when);
}

/* --- what a trace has of it ------------------------------------------------------------------- */

static void *sit_in_poll(void *arg)
{
    poll(NULL, 0, *(int *)arg);
    return NULL;
}

static void test_one_that_is_under_way_is_told(void)
{
    int for_ever = -1;
    pthread_t thread;
    struct prof_trace *t = trace_io(0);

    pthread_create(&thread, NULL, sit_in_poll, &for_ever);
    for (int i = 0; i < 1000; i++) { /* it has got there, sooner or later */
        struct prof_trace *look = t;

        text_profile_free(&got);
        prof_trace_write(look, text_profile_sink, &got);
        if (told("\"name\":\"poll\",\"args\":{\"descriptor\":-1,\"goes on\":true}"))
            break;
        usleep(1000);
    }
    CHECK_INT(told("\"name\":\"poll\",\"args\":{\"descriptor\":-1,\"goes on\":true}"), 1,
              "a call that is not over");
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    end(t);
    CHECK(told("\"result\":\"cancelled\"") == 1, "and then it was cancelled");
}

static void test_short_ones_are_left_out(void)
{
    struct prof_trace *t = trace_io((int64_t)1000000000 * 3600);

    check_calls("an hour and more");
    end(t);
    CHECK_INT(told("\"descriptor\""), 0, "no call took an hour");
}

static void test_who_does_not_ask_is_not_told(void)
{
    struct prof_trace_options o = PROF_TRACE_OPTIONS_INIT;
    struct prof_trace *with = trace_io(-1), *without = NULL;

    o.format = "json";
    o.no_cpu = 1;
    CHECK_INT(prof_trace_start(&o, &without), 0, prof_last_error());
    check_calls("two traces");
    end(without);
    CHECK_INT(told("\"descriptor\""), 0, "not in the one");
    end(with);
    CHECK(told("\"descriptor\"") > 30, "but in the other");
}

static void set_up(void)
{
    char path[] = "/tmp/io_callsXXXXXX";

    file = mkstemp(path);
    unlink(path);
    socklen_t room = sizeof(address);
    if (file < 0 || write(file, "0123456789", 10) != 10 ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || socketpair(AF_UNIX, SOCK_STREAM, 0, silent) ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, from_handler) || pipe2(empty, O_NONBLOCK) ||
        (epoll_fd = epoll_create1(0)) < 0 || (listening = socket(AF_UNIX, SOCK_STREAM, 0)) < 0 ||
        bind(listening, (struct sockaddr *)&address, sizeof(sa_family_t)) ||
        listen(listening, 10) || getsockname(listening, (struct sockaddr *)&address, &room))
        abort();
    address_size = room;
}

int main(void)
{
    set_up();
    check_all("before");
    struct prof_trace *t = trace_io(-1);
    check_all("traced");
    end(t);
    check_told();
    check_all("after");
    test_one_that_is_under_way_is_told();
    test_short_ones_are_left_out();
    test_who_does_not_ask_is_not_told();
    text_profile_free(&got);
    return check_report();
}
