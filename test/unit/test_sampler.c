/*
 * test_sampler.c - the estimator is unbiased, for every size and interval, and exact at 1.
 */
#include "base/sampler.h"

#include <math.h>

#include "base/random.h"
#include "check.h"

static void test_mean_gap_is_the_interval(void)
{
    static const struct {
        const char *name;
        uint64_t interval;
        double min, max; /* mean of 100 000 draws from seed 1, 4 sigma, rounding up added */
    } cases[] = {
        { "every block", 1, 0, 0 },
        { "small", 100, 99.2, 101.8 },
        { "default", 512 * 1024, 517656, 530920 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t rng = 1;
        double sum = 0;

        for (int n = 0; n < 100000; n++)
            sum += (double)prof__sampler_gap(cases[i].interval, &rng);
        CHECK_BETWEEN(sum / 100000, cases[i].min, cases[i].max, cases[i].name);
    }
}

/* Allocate n blocks of `size` through a countdown as collect_heap.h has it; returns estimate /
 * truth. */
static double estimate(uint64_t size, uint64_t interval, int n, uint64_t seed, int bytes)
{
    uint64_t rng = seed, left = prof__sampler_gap(interval, &rng);
    double total = 0;

    for (int i = 0; i < n; i++) {
        int64_t o, b;
        uint64_t charge = size ? size : 1;

        if (left > charge) {
            left -= charge;
            continue;
        }
        prof__sampler_weight(size, interval, &o, &b);
        total += bytes ? ldexp((double)b, -PROF__BYTE_SHIFT) / (double)size
                       : ldexp((double)o, -PROF__OBJECT_SHIFT);
        left = prof__sampler_gap(interval, &rng);
    }
    return total / n;
}

static void test_estimate_is_unbiased(void)
{
    static const struct {
        const char *name;
        uint64_t size, interval;
        int n;
        double tolerance; /* 4 sigma or more: samples ~ n (1 - exp(-size/interval)) */
    } cases[] = {
        { "0 B at 512 KiB", 0, 512 * 1024, 40000000, 0.47 },
        { "16 B at 512 KiB", 16, 512 * 1024, 40000000, 0.12 },
        { "1 KiB at 512 KiB", 1024, 512 * 1024, 4000000, 0.046 },
        { "512 KiB at 512 KiB", 512 * 1024, 512 * 1024, 40000, 0.02 },
        { "4 MiB at 512 KiB", 4 << 20, 512 * 1024, 10000, 0.01 },
        { "7 B at 64 B", 7, 64, 1000000, 0.012 },
        { "1 B at 32 B", 1, 32, 1000000, 0.02 },
        { "16 B at 1 B", 16, 1, 1000, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double e = estimate(cases[i].size, cases[i].interval, cases[i].n, 42, 0);
        CHECK_BETWEEN(e, 1 - cases[i].tolerance, 1 + cases[i].tolerance, cases[i].name);
        if (cases[i].size) {
            e = estimate(cases[i].size, cases[i].interval, cases[i].n, 43, 1);
            CHECK_BETWEEN(e, 1 - cases[i].tolerance - 0.002, 1 + cases[i].tolerance + 0.002,
                          cases[i].name);
        }
    }
}

static void test_known_weights(void)
{
    static const struct {
        uint64_t size;
        double weight; /* 1 / (1 - exp(-size / 524288)) */
    } cases[] = { { 128, 4096.50002 }, { 1 << 20, 1.156518 }, { 512 * 1024, 1.581977 } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t o, b;

        prof__sampler_weight(cases[i].size, 524288, &o, &b);
        CHECK_BETWEEN(ldexp((double)o, -PROF__OBJECT_SHIFT), cases[i].weight - 0.001,
                      cases[i].weight + 0.001, "objects");
        CHECK_BETWEEN(ldexp((double)b, -PROF__BYTE_SHIFT),
                      (double)cases[i].size * cases[i].weight - 8,
                      (double)cases[i].size * cases[i].weight + 8, "bytes");
    }
}

/* What a reader of the text format makes of raw values: google/pprof's scaling. */
static void rescale(int64_t objects, int64_t bytes, double *ret_objects, double *ret_bytes)
{
    double w = 1 / (1 - exp(-((double)bytes / (double)objects) / 524288));

    *ret_objects = (double)objects * w;
    *ret_bytes = (double)bytes * w;
}

static void test_unscale_inverts(void)
{
    for (uint64_t size = 1; size < (1 << 28); size = size * 3 + 1)
        for (int samples = 1; samples <= 1000; samples *= 10) {
            int64_t o, b, ro, rb;
            double o2, b2;

            prof__sampler_weight(size, 524288, &o, &b);
            o = o * samples >> PROF__OBJECT_SHIFT;
            b = b * samples >> PROF__BYTE_SHIFT;
            prof__sampler_unscale(o, b, 524288, &ro, &rb);
            CHECK_BETWEEN(ro, samples * 0.999, samples * 1.001, "samples");
            rescale(ro, rb, &o2, &b2);
            CHECK_BETWEEN(b2, (double)b * 0.995 - 1, (double)b * 1.005 + 1, "bytes read back");
            CHECK_BETWEEN(o2, (double)o * 0.98 - 1, (double)o * 1.02 + 1, "objects read back");
        }
    int64_t o, b;
    prof__sampler_unscale(0, 0, 524288, &o, &b);
    CHECK(o == 0 && b == 0, "nothing stays nothing");
    prof__sampler_unscale(7, 7000, 1, &o, &b);
    CHECK(o == 7 && b == 7000, "exact at rate 1");
}

static void test_the_weight_tells_the_size(void)
{
    static const uint64_t intervals[] = { 1, 1000, 65536, 524288, 1 << 30 };

    for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++)
        for (uint64_t size = 1; size < (1 << 28); size = size * 5 / 4 + 1) {
            int64_t objects, bytes;

            prof__sampler_weight(size, intervals[i], &objects, &bytes);
            CHECK_INT(prof__sampler_size(objects, bytes, intervals[i]), size, "size");
        }
    CHECK_INT(prof__sampler_size(5000, 12345, 524288), 0, "no size weighs so much");
}

int main(void)
{
    test_the_weight_tells_the_size();
    test_mean_gap_is_the_interval();
    test_estimate_is_unbiased();
    test_known_weights();
    test_unscale_inverts();
    return check_report();
}
