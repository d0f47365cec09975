/*
 * record.h - numbers over time, in memory of a fixed size: one of each second for ten minutes, one
 * of each minute for a day.
 *
 * One thread writes, any number read, and nobody waits: a reader copies, looks how far the writer
 * has come meanwhile, and drops what may have been written over. Times are those of
 * CLOCK_BOOTTIME, which goes on while the machine sleeps and is never set.
 */
#ifndef PROF_CAPTURE_RECORD_H
#define PROF_CAPTURE_RECORD_H

#include <prof/vars.h>

#include "base/compiler.h"

/* What is noted, in the order of struct prof_vars_point. */
enum prof__var {
    PROF__VAR_TIME_MS,
    PROF__VAR_RSS,
    PROF__VAR_SWAP,
    PROF__VAR_CGROUP,
    PROF__VAR_THREADS,
    PROF__VAR_CPU,
    PROF__VAR_HEAP,
    PROF__VAR_ALLOC,
    PROF__VAR_BLOCK_WAIT,
    PROF__VAR_MUTEX_WAIT,
    PROF__VAR_LOST,
    PROF__VARS,
};

struct prof__record_slot {
    _Atomic uint64_t value[PROF__VARS]; /* complete as far as `written` says */
};

struct prof__record_ring {
    _Atomic uint64_t written; /* points, ever */
    unsigned cap;
    struct prof__record_slot *slot;
};

struct prof__record {
    struct prof__record_ring seconds, minutes;
    uint64_t minute[PROF__VARS]; /* the one under way; the writer's */
    int64_t minute_from_ms;      /* 0: none is */
    struct prof__record_slot slots[PROF_VARS_SECONDS_MAX + PROF_VARS_MINUTES_MAX + 2];
};
static_assert(sizeof(struct prof__record) <= 180 * 1024, "what vars.h promises");

/* Of zeroed memory. Context: normal. */
void prof__record_init(struct prof__record *r);

/* Note one second's. One thread at a time. Context: signal. */
void prof__record_add(struct prof__record *r, const uint64_t value[PROF__VARS]);

/* Copy the latest points, at most `cap`, the oldest first. How many. Context: signal. */
size_t prof__record_read(const struct prof__record *r, int series, size_t cap,
                         uint64_t (*ret_value)[PROF__VARS]);

#endif
