/*
 * signals.c - holding signals off, and writing without raising any.
 *
 * A write that fails raises its signal in the very thread that writes. So it is blocked meanwhile,
 * and taken back if it was not there before. Should that not be possible, it stays blocked, which
 * is the lesser harm.
 */
#include "base/signals.h"

#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RAISED_BY_WRITES \
    (PROF__SIGNAL_BIT(SIGPIPE) | PROF__SIGNAL_BIT(SIGXFSZ) | PROF__SIGNAL_BIT(SIGTTOU))

uint64_t prof__signals_set(uint64_t mask)
{
    uint64_t before = 0;

    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before, sizeof(mask));
    return before;
}

uint64_t prof__signals_block(void)
{
    return prof__signals_set(PROF__SIGNALS_HELD);
}

void prof__signals_restore(uint64_t mask)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

/* Take the signals of `set` off the thread. False: they may be there still. */
static bool take_back(uint64_t set)
{
    const struct timespec now = { 0, 0 };
    long r;

    do
        r = syscall(SYS_rt_sigtimedwait, &set, NULL, &now, sizeof(set));
    while (r > 0 || (r < 0 && errno == EINTR));
    return errno == EAGAIN;
}

struct held {
    uint64_t mask, pending; /* before */
};

static struct held hold(void)
{
    struct held h = { 0, 0 };
    uint64_t set = RAISED_BY_WRITES;

    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, &h.mask, sizeof(set));
    syscall(SYS_rt_sigpending, &h.pending, sizeof(h.pending));
    return h;
}

/* With what has been raised since. */
static void let_go(const struct held *h, bool raised)
{
    uint64_t ours = (PROF__SIGNAL_BIT(SIGPIPE) | PROF__SIGNAL_BIT(SIGXFSZ)) & ~h->pending;

    if (!raised || !ours || take_back(ours))
        prof__signals_restore(h->mask);
}

ssize_t prof__write(int fd, const void *data, size_t size)
{
    struct held h = hold();
    ssize_t n = write(fd, data, size);
    int error = n < 0 ? errno : 0;

    /* A pipe whose reader leaves in the middle tells how much it took, and raises all the same. */
    let_go(&h, error == EPIPE || error == EFBIG || (n >= 0 && (size_t)n < size));
    if (error)
        errno = error;
    return n;
}

/* At once. Not libc's, which a program can be cancelled in. */
static long raw_poll(struct pollfd *p)
{
#ifdef SYS_poll /* a filter may know this one only */
    return syscall(SYS_poll, p, 1, 0);
#else
    struct timespec at_once = { 0, 0 };

    return syscall(SYS_ppoll, p, 1, &at_once, NULL, 0);
#endif
}

void prof__write_line(int fd, const char *line, size_t size)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int saved = errno;

    /* A pipe that says yes has a page to spare. What cannot be asked is written to. */
    if (raw_poll(&p) != 0) {
        ssize_t done = prof__write(fd, line, size);
        (void)done; /* who does not listen is not told */
    }
    errno = saved;
}
