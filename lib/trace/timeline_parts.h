/*
 * timeline_parts.h - the steps of prof__timeline_build() that have files of their own.
 */
#ifndef PROF_TRACE_TIMELINE_PARTS_H
#define PROF_TRACE_TIMELINE_PARTS_H

#include "trace/timeline.h"

/* Whose items they are: item i is thread[owner[i]]'s, or a mark of a task. */
struct prof__timeline_thread {
    uint32_t tid;
    char name[17];
};
#define PROF__TIMELINE_TASKS UINT32_MAX
struct prof__timeline_threads {
    struct prof__timeline_thread *thread;
    size_t n;
    const uint32_t *owner;
};

/* Sorts the items into tracks, of which the first are the threads in their order; marks of tasks
 * are joined to tasks. -ENOMEM. */
int prof__timeline_make_tracks(const struct prof__timeline_threads *b, struct prof__arena *a,
                               struct prof__timeline *t);

/* In which order they begin and end. -ENOMEM. */
int prof__timeline_make_events(struct prof__timeline *t, struct prof__arena *a);

/* Who woke whom: fills in flows and wakers. -ENOMEM. */
int prof__timeline_find_flows(struct prof__timeline *t, struct prof__arena *a);

/* Numbers of the time: heap, memory, waiting. -ENOMEM. */
int prof__timeline_add_counters(struct prof__timeline *t, struct prof__arena *a);

#endif
