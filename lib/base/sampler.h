/*
 * sampler.h - which allocations are sampled, and for how much each stands.
 *
 * A Poisson process over allocated bytes with mean interval R: a block of s bytes is sampled with
 * probability 1 - exp(-s/R), whatever came before, and then stands for 1/(1 - exp(-s/R)) blocks.
 * So the expected total is the true one, for every size and every R. Same estimator as Go's
 * runtime/mprof.go, but computed when the sample is taken, with the R that was in force.
 */
#ifndef PROF_BASE_SAMPLER_H
#define PROF_BASE_SAMPLER_H

#include "base/compiler.h"

#define PROF__RATE_DEFAULT ((uint64_t)512 * 1024)
#define PROF__RATE_MAX     ((uint64_t)1 << 40)

/* Fixed point of the values in rows: 2^-12 object, 2^-4 byte. */
enum { PROF__OBJECT_SHIFT = 12, PROF__BYTE_SHIFT = 4 };

/* Bytes to the next sample: exponential with mean `interval`, at least 1; 0 for interval 1, since
 * then every block is one. Context: hook. */
uint64_t prof__sampler_gap(uint64_t interval, uint64_t *rng);

/* What a sampled block of `size` bytes stands for; exact for interval 1. No address space holds a
 * block of 2^56 bytes, so larger ones, which only the feeding API knows, count as that.
 * Context: hook. */
void prof__sampler_weight(uint64_t size, uint64_t interval, int64_t *ret_objects,
                          int64_t *ret_bytes);

/* The size of a block that weighs so much at this interval; 0: none does. */
uint64_t prof__sampler_size(int64_t objects, int64_t bytes, uint64_t interval);

/* Samples taken to give `objects` blocks of `bytes` in all, at `interval`: the inverse, for the
 * text format, whose readers scale up themselves. */
void prof__sampler_unscale(int64_t objects, int64_t bytes, uint64_t interval, int64_t *ret_objects,
                           int64_t *ret_bytes);

#endif
