/*
 * test_wait_sampler.c - sampled waits stand for the true number and the true time.
 */
#include "record/wait_sampler.h"

#include <math.h>

#include "check.h"

enum { DRAWS = 200000 };

static double events_of(int64_t fixed)
{
    return (double)fixed / (1 << PROF__EVENT_SHIFT);
}

/* Recorded with probability p and then standing for 1/p: the mean over DRAWS has a relative
 * standard deviation of sqrt((1 - p) / p / DRAWS). */
static double bound(double p)
{
    return 5 * sqrt((1 - p) / p / DRAWS) + 1e-3; /* and what fixed point may take */
}

static void test_block_is_unbiased_at_any_rate(void)
{
    static const struct {
        int64_t wait_ns;
        uint64_t rate;
    } cases[] = {
        { 1, 1 },
        { 1, 100 },
        { 99, 100 },
        { 100, 100 },
        { 7, 1000 },
        { 5000, 10000 },
        { 3, 1000000 / 500 },
        { 1000000, 3000000000u },
        { 123456, 1000 },
        { 900000000, 1000000000 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double events = 0, ns = 0, wait = (double)cases[i].wait_ns;
        double p = fmin(wait / (double)cases[i].rate, 1);
        uint64_t rng = 1;

        for (int k = 0; k < DRAWS; k++) {
            int64_t e, t;

            if (prof__wait_sample(cases[i].wait_ns, cases[i].rate, &rng, &e, &t)) {
                events += events_of(e);
                ns += (double)t;
            }
        }
        CHECK_BETWEEN(events / DRAWS, 1 - bound(p), 1 + bound(p), "events");
        CHECK_BETWEEN(ns / DRAWS / wait, 1 - bound(p), 1 + bound(p), "time");
    }
}

static void test_long_waits_are_recorded_as_they_are(void)
{
    uint64_t rng = 1;
    int64_t events, ns;

    for (uint64_t rate = 1; rate <= 1000; rate++) {
        CHECK(prof__wait_sample(1000, rate, &rng, &events, &ns), "rate %d", (int)rate);
        CHECK_INT(events, 1 << PROF__EVENT_SHIFT, "events");
        CHECK_INT(ns, 1000, "time");
    }
}

static void test_no_time_counts_as_a_nanosecond(void)
{
    uint64_t rng = 1;
    int64_t events, ns;

    for (int64_t wait = -5; wait <= 0; wait++) {
        CHECK(prof__wait_sample(wait, 1, &rng, &events, &ns), "%d", (int)wait);
        CHECK_INT(ns, 1, "time");
    }
}

static void test_mutex_is_unbiased_at_any_fraction(void)
{
    static const uint32_t fractions[] = { 1, 2, 3, 10, 100, 1000 };

    for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++) {
        double events = 0, ns = 0, p = 1.0 / fractions[i];
        uint64_t rng = 1;

        for (int k = 0; k < DRAWS; k++) {
            int64_t e, t;

            if (prof__release_sample(1000, 3, fractions[i], &rng, &e, &t)) {
                events += events_of(e);
                ns += (double)t;
            }
        }
        CHECK_BETWEEN(events / DRAWS / 3, 1 - bound(p), 1 + bound(p), "waiters");
        CHECK_BETWEEN(ns / DRAWS / 1000, 1 - bound(p), 1 + bound(p), "time");
    }
}

static void test_nothing_overflows(void)
{
    uint64_t rng = 1;
    int64_t events, ns, most = (int64_t)1 << 56;

    CHECK_INT(prof__wait_scale(INT64_MAX, 2), most, "scaled");
    CHECK_INT(prof__wait_scale(INT64_MAX, 1), most, "as it is");
    CHECK(prof__wait_sample(INT64_MAX, 1, &rng, &events, &ns), "the longest wait");
    while (!prof__release_sample(INT64_MAX, UINT32_MAX, PROF__MUTEX_FRACTION_MAX / 2000000, &rng,
                                 &events, &ns))
        ;
    CHECK(events > 0 && events <= most && ns == most, "%lld %lld", (long long)events,
          (long long)ns);
    while (!prof__wait_sample(1 << 20, (uint64_t)PROF__BLOCK_RATE_MAX, &rng, &events, &ns))
        ;
    CHECK_BETWEEN(events_of(events), (1 << 20) * 0.999, (1 << 20) * 1.001, "events");
}

int main(void)
{
    test_block_is_unbiased_at_any_rate();
    test_long_waits_are_recorded_as_they_are();
    test_no_time_counts_as_a_nanosecond();
    test_mutex_is_unbiased_at_any_fraction();
    test_nothing_overflows();
    return check_report();
}
