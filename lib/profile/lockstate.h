/*
 * lockstate.h - which threads wait for which locks, who holds them, and who waits for whom in a
 * circle.
 *
 * Two sources: what the hooks have seen begin (wait_table.h), when a rate is on; and what the
 * kernel tells of any thread that sleeps on a futex, always. Context of all of it: normal.
 */
#ifndef PROF_PROFILE_LOCKSTATE_H
#define PROF_PROFILE_LOCKSTATE_H

#include <sys/types.h>

#include "table/wait_table.h"

/* What one thread waits for. */
struct prof__waiting {
    pid_t tid;
    enum prof__wait_kind kind;
    bool timed;       /* it gives up by itself */
    uintptr_t object; /* the lock, or the futex of an unknown one; 0: it waits for none */
    int64_t since_ns; /* CLOCK_MONOTONIC; 0: not known */

    pid_t holder;          /* the thread that it waits for; 0: none, or not known */
    int64_t held_since_ns; /* CLOCK_MONOTONIC; 0: not known */

    unsigned cycle; /* threads with the same number here wait for each other for ever; 0: none */

    /* For telling whether this is still the same wait. */
    uintptr_t futex;
    uint64_t switches;
    unsigned mark; /* scratch */
};

/*
 * What each of the threads tid[0..n) waits for, into ret[0..n), with ret[i].cycle set. Returns the
 * number of cycles, 0 in a sound program. A thread that waits for no lock has object 0.
 *
 * A cycle is only reported if all of its threads sleep on the very futex of their lock, without a
 * time-out, and none of them has run between two looks with all of the first before all of the
 * second: so there was a moment at which all of them waited, and none of them can ever end.
 */
unsigned prof__lockstate_read(const pid_t *tid, size_t n, struct prof__waiting *ret);

/* Only the arithmetic of it: number the cycles that lead from waiter to holder; *w are all those
 * that wait. Timed waits are no part of one. */
unsigned prof__lockstate_cycles(struct prof__waiting *w, size_t n);

/* "mutex", "read lock", ... */
const char *prof__wait_kind_name(enum prof__wait_kind kind);

#endif
