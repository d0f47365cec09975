/*
 * trace_clock.h - how events of a timeline are timed, and what that is in nanoseconds.
 *
 * In ticks of the processor's counter where they are steady, else in nanoseconds. A rate is not
 * asked of anybody: two moments at which both clocks were read give it.
 */
#ifndef PROF_TABLE_TRACE_CLOCK_H
#define PROF_TABLE_TRACE_CLOCK_H

#include "arch/ticks.h"
#include "base/clock.h"
#include "base/compiler.h"

/* Set by prof__trace_clock_begin(), to the same each time. */
extern PROF_HIDDEN _Atomic bool prof__trace_by_ticks;

/* Once, before anything is timed; again does no harm. */
void prof__trace_clock_begin(void);

/* Where ticks are not steady. Context: signal. */
PROF_COLD uint64_t prof__trace_time_by_clock(void);

/* Context: signal. */
static inline uint64_t prof__trace_time(void)
{
    return PROF_LIKELY(atomic_load_explicit(&prof__trace_by_ticks, memory_order_relaxed))
               ? prof__ticks()
               : prof__trace_time_by_clock();
}

/* prof__trace_time() and CLOCK_MONOTONIC at one moment. */
struct prof__trace_moment {
    uint64_t time;
    int64_t ns;
};
void prof__trace_moment(struct prof__trace_moment *ret);

/* CLOCK_MONOTONIC at `time`: between the two moments at one rate, and at the same before and after
 * them. */
int64_t prof__trace_ns(const struct prof__trace_moment *begin, const struct prof__trace_moment *now,
                       uint64_t time);

/* So many nanoseconds in units of prof__trace_time(), to a percent. Takes 50 us. */
uint64_t prof__trace_ticks(int64_t ns);

#endif
