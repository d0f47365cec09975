/*
 * spans.h - regions and tasks that are under way, and the longest of those that are over.
 *
 * The rings tell when each began and ended, but only of the last records, and a busy thread has
 * written over them within a second. Who wants to act on what takes too long asks here instead:
 * nothing of it is overwritten, and asking costs a look at each thread, not at each record.
 *
 *   region begins -> the thread's own stack of open regions --ends--> longest that is over
 *   task begins   -> a table of all threads ------------------ends--'
 *
 * Kept while a trace or the flight recorder is on; each time that begins, it begins with nothing.
 * Of a thread that nests regions deeper than DEPTH the inner ones are left out, and tasks for which
 * there is no room.
 */
#ifndef PROF_TABLE_SPANS_H
#define PROF_TABLE_SPANS_H

#include "base/compiler.h"
#include "table/trace_ring.h"

enum { PROF__SPANS_DEPTH = 15 };

/* A region, or a task. */
struct prof__span {
    const char *name; /* never freed */
    int64_t ns;       /* how long it took, or has so far */
    bool is_task, under_way;
};

/* The longest that is under way, or that ended since the last call; of the two kinds alike. For one
 * who asks: what has been told is forgotten. False: there is none. */
bool prof__spans_longest(struct prof__span *ret);

/* --- what is told, while prof__tracing(); names as in trace_names.h, times trace_clock.h --- */

/* Once there are rings, before anybody traces. -ENOMEM. */
int prof__spans_begin(void);

/* Take no lock. Of a region the thread's record is written, too. Context: signal. */
void prof__span_region_begin(uint32_t name, uint64_t time);
void prof__span_region_end(uint32_t name, uint64_t time);
void prof__span_task_begin(uint64_t id, uint32_t name, uint64_t time);
void prof__span_task_end(uint64_t id, uint32_t name, uint64_t time);

#endif
