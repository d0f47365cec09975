/*
 * wait_sampler.c - the arithmetic of sampling waits, in whole numbers.
 *
 * A hook may run where the program has unmasked floating-point exceptions, so none is used.
 */
#include "record/wait_sampler.h"

#include "base/random.h"

/* Uniform in [0, n). 2^-64 of bias is not worth a division. */
static uint64_t random_below(uint64_t n, uint64_t *rng)
{
    __extension__ unsigned __int128 product = (unsigned __int128)prof__random(rng) * n;

    return (uint64_t)(product >> 64);
}

int64_t prof__wait_scale(int64_t a, int64_t b)
{
    const int64_t most = (int64_t)1 << 56;
    int64_t product;

    return __builtin_mul_overflow(a, b, &product) ? most : PROF_MIN(product, most);
}

bool prof__wait_sample(int64_t wait_ns, uint64_t rate, uint64_t *rng, int64_t *ret_events,
                       int64_t *ret_ns)
{
    uint64_t ns = wait_ns > 0 ? (uint64_t)wait_ns : 1;

    if (ns >= rate) {
        *ret_events = (int64_t)1 << PROF__EVENT_SHIFT;
        *ret_ns = (int64_t)ns;
        return true;
    }
    if (random_below(rate, rng) >= ns)
        return false;
    *ret_events = (int64_t)(((rate << PROF__EVENT_SHIFT) + ns / 2) / ns);
    *ret_ns = (int64_t)rate;
    return true;
}

bool prof__release_sample(int64_t wait_ns, uint32_t waiters, uint32_t fraction, uint64_t *rng,
                          int64_t *ret_events, int64_t *ret_ns)
{
    if (fraction > 1 && random_below(fraction, rng) != 0)
        return false;
    *ret_events = prof__wait_scale((int64_t)waiters << PROF__EVENT_SHIFT, fraction);
    *ret_ns = prof__wait_scale(wait_ns, fraction);
    return true;
}
