/*
 * sampler.c - the arithmetic of Poisson sampling.
 *
 * All in double: 53 bits are more than a gap or a weight needs. Callers in hooks keep MXCSR.
 */
#include "sampler.h"

#include <math.h>

#include "base/random.h"

uint64_t prof__sampler_gap(uint64_t interval, uint64_t *rng)
{
    if (interval <= 1)
        return 0;
    /* Rounding up keeps P(size >= gap) exactly 1 - exp(-size/interval) for whole sizes. */
    double gap = ceil(-log(prof__random_unit(rng)) * (double)interval);
    return gap < 1 ? 1 : (uint64_t)gap;
}

/* Blocks that one sample stands for. */
static double weight(double size, uint64_t interval)
{
    if (interval <= 1)
        return 1;
    /* expm1: 1 - exp(-x) would lose all its digits for small blocks. */
    return -1 / expm1(-size / (double)interval);
}

void prof__sampler_weight(uint64_t size, uint64_t interval, int64_t *ret_objects,
                          int64_t *ret_bytes)
{
    double w = weight(size ? (double)size : 1, interval);

    *ret_objects = (int64_t)(w * (1 << PROF__OBJECT_SHIFT) + 0.5);
    *ret_bytes = (int64_t)(w * (double)size * (1 << PROF__BYTE_SHIFT) + 0.5);
}

void prof__sampler_unscale(int64_t objects, int64_t bytes, uint64_t interval,
                           int64_t *ret_objects, int64_t *ret_bytes)
{
    *ret_objects = objects;
    *ret_bytes = bytes;
    if (interval <= 1 || objects <= 0 || bytes <= 0)
        return;
    double w = weight((double)bytes / (double)objects, interval);
    /* At least one sample, or the row would be lost to a reader. */
    *ret_objects = PROF_MAX(llround((double)objects / w), 1);
    *ret_bytes = PROF_MAX(llround((double)bytes / w), 1);
}
