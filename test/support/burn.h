/*
 * burn.h - work for the processor, by the thread's own CPU clock.
 */
#ifndef TEST_BURN_H
#define TEST_BURN_H

#include <time.h>

static volatile long burn_sink;

__attribute__((noinline)) static void burn(double seconds)
{
    struct timespec t;
    double end;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    end = (double)t.tv_sec + (double)t.tv_nsec / 1e9 + seconds;
    do {
        for (int i = 0; i < 1000; i++)
            burn_sink += i;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    } while ((double)t.tv_sec + (double)t.tv_nsec / 1e9 < end);
}

#endif
