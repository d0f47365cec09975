/*
 * lock.h - locks of normal context, in one order.
 *
 * Signal handlers take none of these, and of hooks those of mmap() only, which wait no longer than
 * a millisecond.
 * Three words of state and a futex: no pthread call, since our own pthread hooks would see it.
 */
#ifndef PROF_BASE_LOCK_H
#define PROF_BASE_LOCK_H

#include "base/signals.h"

/* Outermost first: a thread takes locks in increasing rank. Debug builds abort on a slip. None is
 * held while calling a sink or a real function of libc that may wait. */
enum prof__rank {
    PROF__RANK_FORK = 1,  /* one fork at a time */
    PROF__RANK_SERVER,    /* start and stop of what runs threads */
    PROF__RANK_VARS,      /* start and stop of the record; taken with signals masked */
    PROF__RANK_RECORDER,  /* whether the flight recorder is on; taken with signals masked */
    PROF__RANK_TRACE,     /* whether a trace is on; taken with signals masked */
    PROF__RANK_CAPTURE,   /* start and stop of the watch for captures; taken with signals masked */
    PROF__RANK_REGISTRY,  /* name -> profile */
    PROF__RANK_THREADS,   /* one dump of all threads at a time */
    PROF__RANK_ASK,       /* the timers of its questions; taken with signals masked */
    PROF__RANK_CPU,       /* readers of the CPU profile and its timers; taken with signals masked */
    PROF__RANK_CUSTOM,    /* the sets behind the program's own profiles */
    PROF__RANK_SYMBOLIZE, /* what is kept of files' symbols */
    PROF__RANK_MODULES,   /* the list of loaded objects, past and present */
    PROF__RANK_NAMED,     /* roots that the program has named; taken with signals masked */
    PROF__RANK_WATCH,     /* what rules have seen; leaf */
    PROF__RANK_MAPPINGS,  /* what the program has mapped; by its hooks, with signals masked */
    PROF__RANK_LOG,       /* leaf */
    PROF__RANKS,
};

struct prof__lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held and waited for */
    uint32_t rank;          /* enum prof__rank */
};

#define PROF__LOCK_INIT(rank) \
    {                         \
        0, rank               \
    }

void prof__lock(struct prof__lock *l);

/* False: it could not be had until `until_ns` of prof__monotonic_ns(). */
bool prof__lock_until(struct prof__lock *l, int64_t until_ns);
void prof__unlock(struct prof__lock *l);

/* Context: signal, if every holder masks signals. */
bool prof__trylock(struct prof__lock *l);

/*
 * The same with signals blocked for as long as it is held: for a lock that fork() takes too, since
 * a handler of the program's may fork, or that threads take when they end. Returns what was blocked
 * before (signals.h says what that is).
 */
uint64_t prof__lock_masked(struct prof__lock *l);
void prof__unlock_masked(struct prof__lock *l, uint64_t mask);

/* In a forked child, where the holder may be gone: make it free. */
void prof__lock_reset(struct prof__lock *l);

#endif
