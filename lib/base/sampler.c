/*
 * sampler.c - the arithmetic of Poisson sampling.
 *
 * All in double: 53 bits are more than a gap or a weight needs. Callers in hooks keep MXCSR.
 */
#include "base/sampler.h"

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

#define BLOCK_MAX ((uint64_t)1 << 56) /* no address space holds a larger one */

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
    size = PROF_MIN(size, BLOCK_MAX);
    double w = weight(size ? (double)size : 1, interval);

    *ret_objects = (int64_t)(w * (1 << PROF__OBJECT_SHIFT) + 0.5);
    *ret_bytes = (int64_t)(w * (double)size * (1 << PROF__BYTE_SHIFT) + 0.5);
}

uint64_t prof__sampler_size(int64_t objects, int64_t bytes, uint64_t interval)
{
    uint64_t low = 1, high = (uint64_t)bytes >> PROF__BYTE_SHIFT;

    while (low <= high) { /* the bytes rise by eight at least with each byte of size */
        uint64_t middle = low + (high - low) / 2;
        int64_t o, b;

        prof__sampler_weight(middle, interval, &o, &b);
        if (b == bytes)
            return o == objects ? middle : 0;
        if (b < bytes)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return 0;
}

/*
 * Whole numbers are all that the reader gets, so the two cannot both come out exactly. The number
 * of samples is the scaled count divided by the weight. For small blocks the ratio of the two
 * values is what matters, as the weight follows from it; for large ones the count is so small that
 * the ratio is spoilt, but then the sampled bytes follow from the scaled ones alone.
 */
void prof__sampler_unscale(int64_t objects, int64_t bytes, uint64_t interval, int64_t *ret_objects,
                           int64_t *ret_bytes)
{
    *ret_objects = objects;
    *ret_bytes = bytes;
    if (interval <= 1 || objects <= 0 || bytes <= 0)
        return;
    double r = (double)interval, size = (double)bytes / (double)objects;
    double n = fmax(round((double)objects / weight(size, interval)), 1);
    double raw = size * n;

    /* A unit lost from either value costs about one in the result at size^2 = 2r; below, the ratio
     * is the better guide, above, the bytes. */
    if (size * size > 2 * r) { /* by bisection: scaled(raw) rises with raw, and lies above it */
        double low = 1, high = (double)bytes;

        for (int i = 0; i < 64 && high - low > 0.25; i++) {
            raw = (low + high) / 2;
            if (raw * weight(raw / n, interval) < (double)bytes)
                low = raw;
            else
                high = raw;
        }
    }
    *ret_objects = (int64_t)n;
    *ret_bytes = PROF_MAX((int64_t)(raw + 0.5), 1);
}
