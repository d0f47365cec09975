/*
 * perfetto.h - what the files that write a Perfetto trace share.
 */
#ifndef PROF_TRACE_PERFETTO_H
#define PROF_TRACE_PERFETTO_H

#include "perfetto.pb-c.h"
#include "trace/stacks.h"
#include "trace/timeline.h"

enum { PROF__PERFETTO_CHUNK = 32 * 1024 };

/* uuids: of the process, of track i, of counter i. They are of this encoder only. */
#define PROCESS_UUID    ((uint64_t)1)
#define TRACK_UUID(i)   (((uint64_t)1 << 32) + (i))
#define COUNTER_UUID(i) (((uint64_t)2 << 32) + (i))

struct prof__perfetto_name {
    const char *text; /* NULL: free */
    uint64_t iid;
};

struct prof__perfetto {
    const struct prof__timeline *timeline;
    const struct prof__trace_stacks *stacks;
    struct prof__arena *arena;
    prof_sink_fn *sink;
    void *arg;
    uint8_t *chunk;
    size_t used;
    int error;
    bool begun;

    struct prof__perfetto_name *name; /* open addressing */
    size_t n_names, name_slots;
    uint32_t *first_frame; /* of each location; iids begin at 1 */
};

/* The first error stays; after one, nothing more is written. */
void prof__perfetto_fail(struct prof__perfetto *e, int error);

/* Pack one packet; what has been packed goes to the sink when a chunk is full, or is flushed. */
void prof__perfetto_emit(struct prof__perfetto *e, Prof__Perfetto__TracePacket *packet);
void prof__perfetto_flush(struct prof__perfetto *e);

/* Valid UTF-8, never NULL. protobuf-c takes strings as not const, and does not write to them. */
char *prof__perfetto_text(struct prof__perfetto *e, const char *s);

/* The stacks of the timeline, interned; before the events that name them. */
void prof__perfetto_stacks(struct prof__perfetto *e);

/* Names that events have by number whatever the trace: of annotations, of categories. */
void prof__perfetto_event_names(struct prof__perfetto *e, Prof__Perfetto__InternedData *interned);

void prof__perfetto_event(struct prof__perfetto *e, const struct prof__event *event);

#endif
