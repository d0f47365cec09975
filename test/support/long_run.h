/*
 * long_run.h - how much a test does: what fits into test/run, or, with PROF_TEST_LONG=1, the full
 * numbers of test/hazards/run --long.
 *
 * What a test measured it says in lines of MEASURED(), which test/hazards/run shows.
 */
#ifndef TEST_LONG_RUN_H
#define TEST_LONG_RUN_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline long long_run(long normally, long in_long_run)
{
    const char *v = getenv("PROF_TEST_LONG");

    return v && *v == '1' ? in_long_run : normally;
}

/* Is there time for another round of a long run that began then? On a busy machine it has fewer. */
static inline int long_run_goes_on(time_t begin)
{
    return time(NULL) - begin < 300;
}

#define MEASURED(...)         \
    do {                      \
        printf("measured: "); \
        printf(__VA_ARGS__);  \
        printf("\n");         \
    } while (0)

#endif
