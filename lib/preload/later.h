/*
 * later.h - something that a thread of ours does later.
 *
 * Until then it sleeps, and makes room for calls that are for processes of one thread. A forked
 * child has none of its parent's.
 */
#ifndef PROF_PRELOAD_LATER_H
#define PROF_PRELOAD_LATER_H

#include "base/compiler.h"

struct prof__later {
    const char *name;     /* the thread's */
    int64_t (*run)(void); /* does it. Nanoseconds until it is called again; < 0: it is done */

    /* later.c's own. */
    _Atomic uint32_t state;
    int64_t at_ns;
    struct prof__later *next;
};

/* Have it run in `wait_ns`, unless it is under way already. It lives for ever. 0, or a negative
 * errno with the sentence of prof_last_error(). */
int prof__later(struct prof__later *l, int64_t wait_ns);

/* Run it now, not later. False: no thread is there for it. Context: signal. */
bool prof__later_now(struct prof__later *l);

#endif
