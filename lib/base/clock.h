/*
 * clock.h - time in nanoseconds. Context: signal (the vDSO makes no system call).
 */
#ifndef PROF_BASE_CLOCK_H
#define PROF_BASE_CLOCK_H

#include <time.h>

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

/* Since 1970. */
static inline int64_t prof__wall_ns(void)
{
    return prof__clock_ns(CLOCK_REALTIME);
}

#endif
