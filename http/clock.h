/*
 * clock.h - the time that waits and deadlines are told in: nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef PROF_HTTP_CLOCK_H
#define PROF_HTTP_CLOCK_H

#include <stdint.h>
#include <time.h>

#define SECOND_NS UINT64_C(1000000000)

static inline uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

#endif
