/*
 * wait_sampler.h - which waits are recorded, and for how much each stands.
 *
 * As in Go's runtime/mprof.go, but computed when the event is recorded, with the rate that is in
 * force then; so a change of rate moves nothing that has been counted.
 */
#ifndef PROF_RECORD_WAIT_SAMPLER_H
#define PROF_RECORD_WAIT_SAMPLER_H

#include "base/compiler.h"

#define PROF__BLOCK_RATE_MAX     ((int64_t)1 << 40) /* ns: 18 minutes */
#define PROF__MUTEX_FRACTION_MAX INT32_MAX

/* Fixed point of the number of events in rows: 2^-12. */
enum { PROF__EVENT_SHIFT = 12 };

/*
 * One blocking event of `wait_ns`, at `rate` >= 1. It is recorded with probability wait_ns / rate,
 * but at most 1, and then stands for max(1, rate / wait_ns) events of that length: so the expected
 * number of events and the expected time are the true ones. False: not recorded. Context: signal.
 */
bool prof__wait_sample(int64_t wait_ns, uint64_t rate, uint64_t *rng, int64_t *ret_events,
                       int64_t *ret_ns);

/* One release that `waiters` threads waited for, `wait_ns` together: recorded one time in
 * `fraction` >= 1, and then standing for so many. Context: signal. */
bool prof__release_sample(int64_t wait_ns, uint32_t waiters, uint32_t fraction, uint64_t *rng,
                          int64_t *ret_events, int64_t *ret_ns);

/* a * b, but at most what a row can take many times. */
int64_t prof__wait_scale(int64_t a, int64_t b);

#endif
