/*
 * collect_trace.h - events for a timeline: what hooks tell, and what reading asks.
 *
 * Context: hook, signal; of what reading asks, normal.
 */
#ifndef PROF_RECORD_COLLECT_TRACE_H
#define PROF_RECORD_COLLECT_TRACE_H

#include "base/compiler.h"
#include "record/collect_lock.h"

struct prof__slot;

/* Now, for prof__wait.since, if the wait that may follow is traced; else 0. */
PROF_SHARED uint64_t prof__trace_try(void);

/* The caller is about to wake one that waits for `object`, or all. errno is kept. */
PROF_SHARED void prof__trace_wake(const void *object, bool all);

/* --- for the other sources of events, while prof__tracing() ----------------------------------- */

/* Shortest wait that is told with its stack. */
int64_t prof__trace_min_wait_ns(void);
uint64_t prof__trace_min_ticks(void); /* the same, while calls are wanted */

/* A number for a thread that is about to be made; and the calling thread is that one. */
uint32_t prof__trace_thread_created(void);
void prof__trace_thread_started(uint32_t number, uintptr_t function);

/* --- what reading asks ------------------------------------------------------------------------ */

/* A trace begins, and ends; with PROF__TRACE_SAMPLES and PROF__TRACE_CALLS in `wants`, or not. The
 * shortest `min_wait_ns` of those that are on is good for all. -ENOMEM. */
int prof__trace_open(int64_t min_wait_ns, uint32_t wants);
void prof__trace_close(uint32_t wants);

#endif
