/*
 * clock.h - time in nanoseconds. Context: signal (the vDSO makes no system call).
 */
#ifndef PROF_BASE_CLOCK_H
#define PROF_BASE_CLOCK_H

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"

static inline int64_t prof__clock_ns(clockid_t clock)
{
    struct timespec ts;

    if (clock_gettime(clock, &ts) != 0)
        return 0;
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline int64_t prof__monotonic_ns(void)
{
    return prof__clock_ns(CLOCK_MONOTONIC);
}

/* The system call, as the function is a point of cancellation. 0, or -1 and errno. */
static inline int prof__sleep_ns(int64_t ns)
{
    struct timespec ts = { ns / 1000000000, ns % 1000000000 };

    return (int)syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, NULL);
}

/* After a system call that waits has failed: was it refused, as by a filter? A loop around it would
 * never sleep then. */
static inline bool prof__wait_is_refused(void)
{
    return errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT;
}

/* Since 1970. */
static inline int64_t prof__wall_ns(void)
{
    return prof__clock_ns(CLOCK_REALTIME);
}

#endif
