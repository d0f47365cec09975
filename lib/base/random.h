/*
 * random.h - a fast generator for sampling; not for secrets.
 *
 * splitmix64 (Steele, Lea, Flood 2014): one addition and a mixing function, full period 2^64, and
 * any seed is a good one. State is 8 bytes a thread. Context: signal.
 */
#ifndef PROF_BASE_RANDOM_H
#define PROF_BASE_RANDOM_H

#include "base/compiler.h"

static inline uint64_t prof__mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t prof__random(uint64_t *state)
{
    return prof__mix64(*state += 0x9e3779b97f4a7c15u);
}

/* Uniform in (0, 1], so that its logarithm is finite. */
static inline double prof__random_unit(uint64_t *state)
{
    return (double)((prof__random(state) >> 11) + 1) * 0x1p-53;
}

#endif
