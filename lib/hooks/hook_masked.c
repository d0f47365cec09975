/*
 * hook_masked.c - the calls that wait under another signal mask.
 *
 * A thread may block all signals while it works and let them in while it waits, since that is when
 * it wants to be interrupted. One of ours that has come meanwhile would end each such wait before
 * it has begun. So where the thread blocks one of ours, it does so while it waits, too. Nothing is
 * lost by that: a thread that sleeps uses no time, and is not asked for its stack.
 *
 * As a rule a hook jumps to libc's function, and leaves no frame of ours. Context: signal.
 */
#include <string.h>

#include "hooks/real.h"
#include "hooks/real_io.h"
#include "record/own_signal.h"

static const sigset_t *masked(const sigset_t *mask, uint64_t ours, sigset_t *buf)
{
    uint64_t blocks; /* what the kernel reads of a mask */

    memcpy(&blocks, mask, sizeof(blocks));
    blocks |= ours;
    memset(buf, 0, sizeof(*buf));
    memcpy(buf, &blocks, sizeof(blocks));
    return buf;
}

/* clang-format off */
#define LIST(...) __VA_ARGS__
#define WAIT(real, name, arguments, ...)                                   \
    PROF_APART static int masked_##name(uint64_t ours, __VA_ARGS__)        \
    {                                                                      \
        sigset_t own;                                                      \
                                                                           \
        mask = masked(mask, ours, &own);                                   \
        return real.name arguments;                                        \
    }                                                                      \
                                                                           \
    PROF_SHARED int name(__VA_ARGS__)                                      \
    {                                                                      \
        uint64_t ours = prof__signals_let_in(mask);                        \
                                                                           \
        return PROF_UNLIKELY(ours) ? masked_##name(ours, LIST arguments)   \
                                   : real.name arguments;                  \
    }
/* clang-format on */

WAIT(prof__real, sigsuspend, (mask), const sigset_t *mask)
WAIT(prof__io_door, ppoll, (fds, n, timeout, mask), struct pollfd *fds, nfds_t n,
     const struct timespec *timeout, const sigset_t *mask)
WAIT(prof__io_door, __ppoll_chk, (fds, n, timeout, mask, size), struct pollfd *fds, nfds_t n,
     const struct timespec *timeout, const sigset_t *mask, size_t size)
WAIT(prof__io_door, pselect, (n, readable, writable, exceptional, timeout, mask), int n,
     fd_set *restrict readable, fd_set *restrict writable, fd_set *restrict exceptional,
     const struct timespec *restrict timeout, const sigset_t *restrict mask)
WAIT(prof__io_door, epoll_pwait, (fd, events, n, timeout_ms, mask), int fd,
     struct epoll_event *events, int n, int timeout_ms, const sigset_t *mask)
WAIT(prof__io_door, epoll_pwait2, (fd, events, n, timeout, mask), int fd,
     struct epoll_event *events, int n, const struct timespec *timeout, const sigset_t *mask)
