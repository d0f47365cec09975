/*
 * slot.h - what other threads may have to know of a thread: its labels, and that it is hidden.
 *
 * prof__self is the thread's own; nobody else can find it. The few threads that have something to
 * tell take a slot in a table, by thread id, and give it back when they end, whichever way.
 */
#ifndef PROF_BASE_SLOT_H
#define PROF_BASE_SLOT_H

#include <sys/types.h>

#include "base/compiler.h"

/* Most labels pushed one upon the other. */
enum { PROF__SLOT_LEVELS = 32 };

struct prof__slot;

struct prof__slot {
    _Atomic uint32_t tid;       /* 0: free */
    _Atomic uint32_t labels;    /* as prof__self.labels */
    _Atomic bool hidden;        /* prof_thread_hide() */
    _Atomic bool helper;        /* prof_thread_helper() */
    _Atomic uintptr_t function; /* where it started; 0: not known */

    /* The rest is touched by the thread itself only. */
    uint32_t depth, skipped;           /* levels in use, and levels above them that were not kept */
    uint32_t level[PROF__SLOT_LEVELS]; /* the labels before each push */
};

/* The calling thread's slot, taken if need be. NULL when there are no more. Context: normal. */
struct prof__slot *prof__slot_mine(void);

/* The same, but NULL if it has none. */
struct prof__slot *prof__slot_mine_if_any(void);

/* The slot of that thread, or NULL. */
const struct prof__slot *prof__slot_of(pid_t tid);

/* Who is told when a thread ends that has a slot, in this order. That is every one, since what is
 * recorded of it may have begun after the thread. */
enum prof__slot_exit { PROF__SLOT_EXIT_TRACE, PROF__SLOT_EXIT_CPU, PROF__SLOT_EXITS };
typedef void prof__slot_exit_fn(const struct prof__slot *s);

/* Have `fn` called by each such thread, for good. Context: a constructor. */
void prof__slot_at_exit(enum prof__slot_exit who, prof__slot_exit_fn *fn);

/* Is that thread hidden? */
static inline bool prof__slot_hidden(const struct prof__slot *s)
{
    return s && atomic_load_explicit(&s->hidden, memory_order_relaxed);
}

/* Is that thread one of the profiler's? */
static inline bool prof__slot_helper(const struct prof__slot *s)
{
    return s && atomic_load_explicit(&s->helper, memory_order_relaxed);
}

/* Is any? */
bool prof__slots_any_helper(void);

#endif
