/*
 * span.h - what a clock has counted between two acts that take a while themselves, a window's
 * opening and its reading. C and C++.
 *
 * At least from the end of the first to the beginning of the second, at most from beginning to end.
 * A thread that goes on meanwhile, beside one that waits for a processor, makes much of the
 * difference, and which side of an act it falls on nobody can say.
 */
#ifndef TEST_SPAN_H
#define TEST_SPAN_H

#include <time.h>

static inline double clock_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct span {
    double least, most;
};

static inline struct span span_before_opening(clockid_t clock)
{
    struct span s = { 0, -clock_of(clock) };

    return s;
}

static inline void span_opened(struct span *s, clockid_t clock)
{
    s->least = -clock_of(clock);
}

static inline void span_before_reading(struct span *s, clockid_t clock)
{
    s->least += clock_of(clock);
}

static inline void span_read(struct span *s, clockid_t clock)
{
    s->most += clock_of(clock);
}

#endif
