/*
 * timeline.h - what the rings hold of some time, put in order: slices that nest, moments, tasks,
 * and who woke whom.
 *
 * Nothing is guessed. What was overwritten is counted where that is known; a region whose begin is
 * gone begins with what is there, and says so; a wake-up that nobody can be found for has no flow.
 */
#ifndef PROF_TRACE_TIMELINE_H
#define PROF_TRACE_TIMELINE_H

#include "base/arena.h"
#include "base/compiler.h"
#include "table/trace_clock.h"
#include "trace/switches.h"

enum prof__item_kind {
    PROF__ITEM_WAIT,   /* for `object` */
    PROF__ITEM_REGION, /* `text` is its name */
    PROF__ITEM_TASK,   /* `text` is its name, `object` its id; on a lane of its own */
    PROF__ITEM_LABELS, /* `object` is the label set; on a lane of its own */
    PROF__ITEM_IO,     /* in a system call: `object` as io_calls.h has it, `wait_kind` the call */
    PROF__ITEM_STATE,  /* `wait_kind` is an enum prof__state, `object` the processor; on a lane of
                          its own */
    PROF__ITEM_LOST,   /* `value` records are gone; 0: it is not known how many */
    /* Moments: */
    PROF__ITEM_RELEASE, /* of lock `object`; others have waited `value` ns */
    PROF__ITEM_WAKE,    /* of those who wait for `object` */
    PROF__ITEM_CREATE,  /* of a thread */
    PROF__ITEM_START,
    PROF__ITEM_END,
    PROF__ITEM_LOG, /* `text` */
    PROF__ITEM_CPU, /* was running, for `value` ns */
};

struct prof__item {
    int64_t begin_ns, end_ns; /* CLOCK_MONOTONIC; equal: a moment */
    uint64_t object;
    int64_t value;
    const char *text;
    uint64_t flow_in;               /* number of the flow that ends here; 0: none */
    uint32_t first_flow, out_flows; /* those that begin here: flow numbers from first_flow */
    uint32_t stack;                 /* stack_table.h; 0: none */
    uint32_t waker;    /* the track of who woke it, or began the task, plus 1; 0: not known */
    uint32_t ended_by; /* of a task: the same, of who ended it */
    uint8_t kind;      /* enum prof__item_kind */
    uint8_t wait_kind, wait_end; /* enum prof__wait_kind, enum prof__wait_end */
    bool open_begin, open_end;   /* it began before, goes on after */
};

enum prof__track_kind {
    PROF__TRACK_THREAD,
    PROF__TRACK_STATE,
    PROF__TRACK_LABELS,
    PROF__TRACK_TASKS
};

struct prof__track {
    enum prof__track_kind kind;
    uint32_t tid;    /* of the thread that it is of; 0: no thread's */
    uint32_t parent; /* of states and labels: the thread's track */
    char name[17];   /* of a thread; "": not known */
    size_t first, n; /* items, by time, outer ones first */
};

/* A number at a moment. */
struct prof__counter_point {
    int64_t ns;
    uint64_t value;
};
struct prof__counter {
    const char *name, *unit; /* "bytes", "count", "ns/s" */
    const struct prof__counter_point *point;
    size_t n;
};

/* What happens next, in the order of time; of one track, in the order of nesting. */
enum prof__event_kind { PROF__EVENT_BEGIN, PROF__EVENT_END, PROF__EVENT_MOMENT };
struct prof__event {
    int64_t ns;
    uint32_t item, track;
    uint32_t kind; /* enum prof__event_kind */
};

struct prof__timeline {
    int64_t from_ns, to_ns; /* CLOCK_MONOTONIC */
    const struct prof__track *track;
    size_t n_tracks;
    struct prof__item *item;
    size_t n_items;
    const struct prof__event *event;
    size_t n_events;
    const struct prof__counter *counter;
    size_t n_counters;
    uint64_t flows;
    uint64_t lost;           /* records overwritten before they were read */
    uint64_t lost_unkept;    /* for which no ring was to be had */
    const char *const *note; /* sentences */
    size_t n_notes;
};

/* What a timeline is made of. */
struct prof__timeline_source {
    struct prof__trace_moment begin, now;
    int64_t from_ns;         /* not before `begin` */
    const uint64_t *written; /* prof__trace_ring_written() of each ring, at `begin` */
    bool counts_lost;        /* all that has been overwritten since then is of this time */
    uint64_t lost_unkept;    /* prof__trace_lost() then */
    const struct prof__switches *switches; /* NULL: not wanted, or not to be had */
    bool calls;                            /* system calls are wanted */
    uint64_t samples_from; /* prof__trace_time() from which on CPU samples have their stacks; 0:
                              they have none */
};

/* All in *ret lives in `a`. -ENOMEM. */
int prof__timeline_build(const struct prof__timeline_source *s, struct prof__arena *a,
                         struct prof__timeline *ret);

/* What a slice or moment is called. Into buf, where it is not the item's own text. */
enum { PROF__ITEM_NAME_SIZE = 96 };
const char *prof__item_name(const struct prof__item *i, char buf[PROF__ITEM_NAME_SIZE]);

#endif
