/*
 * encode_perfetto.c - a timeline as packets of Perfetto's Trace message.
 *
 *   clocks, process, tracks -> notes -> stacks, interned -> events in the order of time
 *
 * One sequence, whose state is set in the first packet: the clock, and what is interned from there
 * on. Names are interned with the first event that has them. Each packet is packed as a Trace that
 * holds nothing else, which is how protobuf joins repeated fields (encode_pprof.c does the same).
 *
 * What the readers want: slices of a track nest strictly and end in the order of their nesting
 * (timeline.c sees to that); a flow has one begin and one end; numbers are interned before use;
 * text is valid UTF-8.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "trace/encode.h"
#include "trace/perfetto.h"

enum { CLOCK_REALTIME_ID = 1, CLOCK_MONOTONIC_ID = 3, CLOCK_BOOTTIME_ID = 6 };

static uint64_t clock_now(clockid_t clock)
{
    struct timespec t = { 0, 0 };

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The clock of all that follows, how it stands to others, and the names that are always the same.
 */
static void emit_head(struct prof__perfetto *e)
{
    Prof__Perfetto__ClockSnapshot__Clock clock[3], *clocks[3];
    Prof__Perfetto__ClockSnapshot snapshot = PROF__PERFETTO__CLOCK_SNAPSHOT__INIT;
    Prof__Perfetto__TracePacketDefaults defaults = PROF__PERFETTO__TRACE_PACKET_DEFAULTS__INIT;
    Prof__Perfetto__InternedData interned = PROF__PERFETTO__INTERNED_DATA__INIT;
    Prof__Perfetto__TracePacket packet = PROF__PERFETTO__TRACE_PACKET__INIT;
    static const struct {
        uint32_t id;
        clockid_t clock;
    } ids[] = { { CLOCK_REALTIME_ID, CLOCK_REALTIME },
                { CLOCK_MONOTONIC_ID, CLOCK_MONOTONIC },
                { CLOCK_BOOTTIME_ID, CLOCK_BOOTTIME } };

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        prof__perfetto__clock_snapshot__clock__init(&clock[i]);
        clock[i].has_clock_id = clock[i].has_timestamp = 1;
        clock[i].clock_id = ids[i].id;
        clock[i].timestamp = clock_now(ids[i].clock);
        clocks[i] = &clock[i];
    }
    snapshot.n_clocks = ARRAY_LEN(ids);
    snapshot.clocks = clocks;
    snapshot.has_primary_trace_clock = 1;
    snapshot.primary_trace_clock = CLOCK_MONOTONIC_ID;
    defaults.has_timestamp_clock_id = 1;
    defaults.timestamp_clock_id = CLOCK_MONOTONIC_ID;
    prof__perfetto_event_names(e, &interned);
    packet.has_timestamp = 1;
    packet.timestamp = clock[1].timestamp;
    packet.data_case = PROF__PERFETTO__TRACE_PACKET__DATA_CLOCK_SNAPSHOT;
    packet.clock_snapshot = &snapshot;
    packet.trace_packet_defaults = &defaults;
    packet.interned_data = &interned;
    prof__perfetto_emit(e, &packet);
}

static void emit_track(struct prof__perfetto *e, Prof__Perfetto__TrackDescriptor *track,
                       uint64_t uuid, uint64_t parent)
{
    Prof__Perfetto__TracePacket packet = PROF__PERFETTO__TRACE_PACKET__INIT;

    track->has_uuid = 1;
    track->uuid = uuid;
    track->has_parent_uuid = parent != 0;
    track->parent_uuid = parent;
    packet.data_case = PROF__PERFETTO__TRACE_PACKET__DATA_TRACK_DESCRIPTOR;
    packet.track_descriptor = track;
    prof__perfetto_emit(e, &packet);
}

/* The notes are shown beside the process's name. */
static void emit_process(struct prof__perfetto *e)
{
    const struct prof__timeline *t = e->timeline;
    Prof__Perfetto__TrackDescriptor track = PROF__PERFETTO__TRACK_DESCRIPTOR__INIT;
    Prof__Perfetto__ProcessDescriptor process = PROF__PERFETTO__PROCESS_DESCRIPTOR__INIT;
    char **labels = prof__arena_array(e->arena, t->n_notes + 1, sizeof(*labels));

    if (!labels) {
        prof__perfetto_fail(e, -ENOMEM);
        return;
    }
    for (size_t i = 0; i < t->n_notes; i++)
        labels[i] = prof__perfetto_text(e, t->note[i]);
    process.has_pid = 1;
    process.pid = getpid();
    process.process_name = prof__perfetto_text(e, program_invocation_short_name);
    process.n_process_labels = t->n_notes;
    process.process_labels = labels;
    track.process = &process;
    emit_track(e, &track, PROCESS_UUID, 0);
}

static void emit_tracks(struct prof__perfetto *e)
{
    const struct prof__timeline *t = e->timeline;

    for (uint32_t i = 0; i < t->n_tracks; i++) {
        Prof__Perfetto__TrackDescriptor track = PROF__PERFETTO__TRACK_DESCRIPTOR__INIT;
        Prof__Perfetto__ThreadDescriptor thread = PROF__PERFETTO__THREAD_DESCRIPTOR__INIT;
        char name[PROF__TRACK_NAME_SIZE];
        uint64_t parent = PROCESS_UUID;

        if (t->track[i].kind == PROF__TRACK_THREAD) {
            thread.has_pid = thread.has_tid = 1;
            thread.pid = getpid();
            thread.tid = t->track[i].tid;
            thread.thread_name = prof__perfetto_text(e, prof__track_name(t, i, name));
            track.thread = &thread;
        } else {
            track.name = prof__perfetto_text(e, prof__track_name(t, i, name));
            if (t->track[i].kind != PROF__TRACK_TASKS)
                parent = TRACK_UUID(t->track[i].parent);
        }
        emit_track(e, &track, TRACK_UUID(i), parent);
    }
    for (uint32_t i = 0; i < t->n_counters; i++) {
        Prof__Perfetto__TrackDescriptor track = PROF__PERFETTO__TRACK_DESCRIPTOR__INIT;
        Prof__Perfetto__CounterDescriptor counter = PROF__PERFETTO__COUNTER_DESCRIPTOR__INIT;
        const char *unit = t->counter[i].unit;

        counter.has_unit = 1;
        counter.unit = strcmp(unit, "bytes") == 0
                           ? PROF__PERFETTO__COUNTER_DESCRIPTOR__UNIT__UNIT_SIZE_BYTES
                       : strcmp(unit, "count") == 0
                           ? PROF__PERFETTO__COUNTER_DESCRIPTOR__UNIT__UNIT_COUNT
                           : PROF__PERFETTO__COUNTER_DESCRIPTOR__UNIT__UNIT_UNSPECIFIED;
        counter.unit_name = (char *)(uintptr_t)unit;
        track.name = (char *)(uintptr_t)t->counter[i].name;
        track.counter = &counter;
        emit_track(e, &track, COUNTER_UUID(i), PROCESS_UUID);
    }
}

static void emit_point(struct prof__perfetto *e, size_t counter,
                       const struct prof__counter_point *p)
{
    Prof__Perfetto__TrackEvent to = PROF__PERFETTO__TRACK_EVENT__INIT;
    Prof__Perfetto__TracePacket packet = PROF__PERFETTO__TRACE_PACKET__INIT;

    to.has_type = to.has_track_uuid = to.has_counter_value = 1;
    to.type = PROF__PERFETTO__TRACK_EVENT__TYPE__TYPE_COUNTER;
    to.track_uuid = COUNTER_UUID(counter);
    to.counter_value = (int64_t)p->value;
    packet.has_timestamp = 1;
    packet.timestamp = (uint64_t)p->ns;
    packet.data_case = PROF__PERFETTO__TRACE_PACKET__DATA_TRACK_EVENT;
    packet.track_event = &to;
    prof__perfetto_emit(e, &packet);
}

/* Counters have the time of their own points, so they go out between the events; next[] is where
 * each of them is. */
static void emit_counters_until(struct prof__perfetto *e, size_t *next, int64_t ns)
{
    const struct prof__timeline *t = e->timeline;

    for (;;) {
        const struct prof__counter_point *first = NULL;
        size_t of = 0;

        for (size_t c = 0; c < t->n_counters; c++) {
            const struct prof__counter_point *p = &t->counter[c].point[next[c]];

            if (next[c] < t->counter[c].n && p->ns <= ns && (!first || p->ns < first->ns)) {
                first = p;
                of = c;
            }
        }
        if (!first)
            return;
        emit_point(e, of, first);
        next[of]++;
    }
}

int prof__encode_perfetto(const struct prof__timeline *t, const struct prof__trace_stacks *s,
                          struct prof__arena *a, prof_sink_fn *sink, void *arg)
{
    struct prof__perfetto e = { .timeline = t, .stacks = s, .arena = a, .sink = sink, .arg = arg };
    size_t *next = prof__arena_array(a, t->n_counters + 1, sizeof(*next));

    e.chunk = prof__arena_alloc(a, PROF__PERFETTO_CHUNK);
    if (!e.chunk || !next)
        return -ENOMEM;
    emit_head(&e);
    emit_process(&e);
    emit_tracks(&e);
    prof__perfetto_stacks(&e);
    for (size_t i = 0; i < t->n_events && !e.error; i++) {
        emit_counters_until(&e, next, t->event[i].ns - 1);
        prof__perfetto_event(&e, &t->event[i]);
    }
    emit_counters_until(&e, next, INT64_MAX);
    prof__perfetto_flush(&e);
    return e.error;
}
