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
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "perfetto.pb-c.h"
#include "profile/lockstate.h"
#include "trace/encode.h"

enum { CHUNK_SIZE = 32 * 1024, FLOWS_AT_ONCE = 256 };
enum { SEQUENCE = 1, STATE_CLEARED = 1, NEEDS_STATE = 2 };
enum { CLOCK_REALTIME_ID = 1, CLOCK_MONOTONIC_ID = 3, CLOCK_BOOTTIME_ID = 6 };

/* uuids: of the process, of track i, of counter i. They are of this file only. */
#define PROCESS_UUID    ((uint64_t)1)
#define TRACK_UUID(i)   (((uint64_t)1 << 32) + (i))
#define COUNTER_UUID(i) (((uint64_t)2 << 32) + (i))

/* Names of annotations, by iid. */
enum note {
    NOTE_OBJECT = 1,
    NOTE_ENDED,
    NOTE_WOKEN_BY,
    NOTE_OTHERS_WAITED,
    NOTE_ID,
    NOTE_BEGUN_BY,
    NOTE_ENDED_BY,
    NOTE_UNSEEN_BEGIN,
    NOTE_UNFINISHED,
    NOTE_EVENTS,
    NOTE_CPU_NS,
    NOTES,
};
static const char *const note_names[NOTES] = {
    [NOTE_OBJECT] = "object",
    [NOTE_ENDED] = "ended",
    [NOTE_WOKEN_BY] = "woken by",
    [NOTE_OTHERS_WAITED] = "others have waited, ns",
    [NOTE_ID] = "id",
    [NOTE_BEGUN_BY] = "begun by",
    [NOTE_ENDED_BY] = "ended by",
    [NOTE_UNSEEN_BEGIN] = "began earlier",
    [NOTE_UNFINISHED] = "goes on",
    [NOTE_EVENTS] = "events",
    [NOTE_CPU_NS] = "CPU time, ns",
};

static const char *const categories[] = {
    [PROF__ITEM_WAIT] = "wait",     [PROF__ITEM_REGION] = "region", [PROF__ITEM_TASK] = "task",
    [PROF__ITEM_LABELS] = "labels", [PROF__ITEM_LOST] = "lost",     [PROF__ITEM_RELEASE] = "wake",
    [PROF__ITEM_WAKE] = "wake",     [PROF__ITEM_CREATE] = "thread", [PROF__ITEM_START] = "thread",
    [PROF__ITEM_END] = "thread",    [PROF__ITEM_LOG] = "log",       [PROF__ITEM_CPU] = "cpu",
};

struct name {
    const char *text; /* NULL: free */
    uint64_t iid;
};

struct encoder {
    const struct prof__timeline *timeline;
    const struct prof__trace_stacks *stacks;
    struct prof__arena *arena;
    prof_sink_fn *sink;
    void *arg;
    uint8_t *chunk;
    size_t used;
    int error;
    bool begun;

    struct name *name; /* open addressing */
    size_t n_names, name_slots;
    uint32_t *first_frame; /* of each location; iids begin at 1 */
};

/* --- out ------------------------------------------------------------------------------------- */

static void fail(struct encoder *e, int error)
{
    if (!e->error)
        e->error = error;
}

static void flush(struct encoder *e)
{
    if (!e->error && e->used) {
        int r = e->sink(e->arg, e->chunk, e->used);

        if (r < 0)
            fail(e, r);
    }
    e->used = 0;
}

static void emit(struct encoder *e, Prof__Perfetto__TracePacket *packet)
{
    Prof__Perfetto__TracePacket *packets[] = { packet };
    Prof__Perfetto__Trace trace = PROF__PERFETTO__TRACE__INIT;

    if (e->error)
        return;
    packet->has_trusted_packet_sequence_id = 1;
    packet->trusted_packet_sequence_id = SEQUENCE;
    packet->has_sequence_flags = 1;
    packet->sequence_flags = e->begun ? NEEDS_STATE : STATE_CLEARED;
    packet->has_first_packet_on_sequence = packet->first_packet_on_sequence = !e->begun;
    e->begun = true;
    trace.n_packet = 1;
    trace.packet = packets;
    size_t size = prof__perfetto__trace__get_packed_size(&trace);
    if (size > CHUNK_SIZE - e->used)
        flush(e);
    if (size <= CHUNK_SIZE) {
        e->used += prof__perfetto__trace__pack(&trace, e->chunk + e->used);
        return;
    }
    uint8_t *large = prof__arena_alloc(e->arena, size); /* a name of many KiB */
    if (!large) {
        fail(e, -ENOMEM);
        return;
    }
    prof__perfetto__trace__pack(&trace, large);
    int r = e->error ? 0 : e->sink(e->arg, large, size);
    if (r < 0)
        fail(e, r);
}

/* protobuf-c takes strings as not const, and does not write to them. */
static char *text(struct encoder *e, const char *s)
{
    const char *clean = prof__utf8_clean(e->arena, s);

    if (!clean)
        fail(e, -ENOMEM);
    return (char *)(uintptr_t)(clean ? clean : "");
}

/* --- the head --------------------------------------------------------------------------------- */

static uint64_t clock_now(clockid_t clock)
{
    struct timespec t = { 0, 0 };

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The clock of all that follows, how it stands to others, and the names that are always the same.
 */
static void emit_head(struct encoder *e)
{
    Prof__Perfetto__ClockSnapshot__Clock clock[3], *clocks[3];
    Prof__Perfetto__ClockSnapshot snapshot = PROF__PERFETTO__CLOCK_SNAPSHOT__INIT;
    Prof__Perfetto__TracePacketDefaults defaults = PROF__PERFETTO__TRACE_PACKET_DEFAULTS__INIT;
    Prof__Perfetto__DebugAnnotationName note[NOTES], *notes[NOTES];
    Prof__Perfetto__EventCategory category[ARRAY_LEN(categories)], *all[ARRAY_LEN(categories)];
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
    for (size_t i = 1; i < NOTES; i++) {
        prof__perfetto__debug_annotation_name__init(&note[i]);
        note[i].has_iid = 1;
        note[i].iid = i;
        note[i].name = (char *)(uintptr_t)note_names[i];
        notes[i - 1] = &note[i];
    }
    interned.n_debug_annotation_names = NOTES - 1;
    interned.debug_annotation_names = notes;
    for (size_t i = 0; i < ARRAY_LEN(categories); i++) {
        prof__perfetto__event_category__init(&category[i]);
        category[i].has_iid = 1;
        category[i].iid = i + 1;
        category[i].name = (char *)(uintptr_t)categories[i];
        all[i] = &category[i];
    }
    interned.n_event_categories = ARRAY_LEN(categories);
    interned.event_categories = all;
    packet.has_timestamp = 1;
    packet.timestamp = clock[1].timestamp;
    packet.data_case = PROF__PERFETTO__TRACE_PACKET__DATA_CLOCK_SNAPSHOT;
    packet.clock_snapshot = &snapshot;
    packet.trace_packet_defaults = &defaults;
    packet.interned_data = &interned;
    emit(e, &packet);
}

static void emit_track(struct encoder *e, Prof__Perfetto__TrackDescriptor *track, uint64_t uuid,
                       uint64_t parent)
{
    Prof__Perfetto__TracePacket packet = PROF__PERFETTO__TRACE_PACKET__INIT;

    track->has_uuid = 1;
    track->uuid = uuid;
    track->has_parent_uuid = parent != 0;
    track->parent_uuid = parent;
    packet.data_case = PROF__PERFETTO__TRACE_PACKET__DATA_TRACK_DESCRIPTOR;
    packet.track_descriptor = track;
    emit(e, &packet);
}

/* The notes are shown beside the process's name. */
static void emit_process(struct encoder *e)
{
    const struct prof__timeline *t = e->timeline;
    Prof__Perfetto__TrackDescriptor track = PROF__PERFETTO__TRACK_DESCRIPTOR__INIT;
    Prof__Perfetto__ProcessDescriptor process = PROF__PERFETTO__PROCESS_DESCRIPTOR__INIT;
    char **labels = prof__arena_array(e->arena, t->n_notes + 1, sizeof(*labels));

    if (!labels) {
        fail(e, -ENOMEM);
        return;
    }
    for (size_t i = 0; i < t->n_notes; i++)
        labels[i] = text(e, t->note[i]);
    process.has_pid = 1;
    process.pid = getpid();
    process.process_name = text(e, program_invocation_short_name);
    process.n_process_labels = t->n_notes;
    process.process_labels = labels;
    track.process = &process;
    emit_track(e, &track, PROCESS_UUID, 0);
}

static void emit_tracks(struct encoder *e)
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
            thread.thread_name = text(e, prof__track_name(t, i, name));
            track.thread = &thread;
        } else {
            track.name = text(e, prof__track_name(t, i, name));
            if (t->track[i].kind == PROF__TRACK_LABELS)
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

/* --- stacks ----------------------------------------------------------------------------------- */

static void emit_interned(struct encoder *e, Prof__Perfetto__InternedData *interned)
{
    Prof__Perfetto__TracePacket packet = PROF__PERFETTO__TRACE_PACKET__INIT;

    packet.interned_data = interned;
    emit(e, &packet);
}

static void set_string(struct encoder *e, Prof__Perfetto__InternedString *to, uint64_t iid,
                       const char *s)
{
    const char *clean = text(e, s);

    prof__perfetto__interned_string__init(to);
    to->has_iid = to->has_str = 1;
    to->iid = iid;
    to->str.data = (uint8_t *)(uintptr_t)clean;
    to->str.len = strlen(clean);
}

/* Path and build id of mapping i have its iid, i + 1. */
static void emit_mappings(struct encoder *e)
{
    const struct prof__report *r = &e->stacks->report;

    for (size_t i = 0; i < r->n_mappings; i++) {
        const struct prof__report_mapping *m = &r->mapping[i];
        Prof__Perfetto__InternedString path, id, *paths[] = { &path }, *ids[] = { &id };
        Prof__Perfetto__Mapping mapping = PROF__PERFETTO__MAPPING__INIT, *mappings[] = { &mapping };
        Prof__Perfetto__InternedData interned = PROF__PERFETTO__INTERNED_DATA__INIT;
        uint64_t iid = i + 1;

        set_string(e, &path, iid, m->file);
        set_string(e, &id, iid, m->build_id);
        mapping.has_iid = mapping.has_start = mapping.has_end = mapping.has_start_offset = 1;
        mapping.iid = iid;
        mapping.start = m->start;
        mapping.end = m->limit;
        mapping.start_offset = m->offset;
        mapping.has_load_bias = m->is_elf;
        mapping.load_bias = m->bias;
        mapping.n_path_string_ids = 1;
        mapping.path_string_ids = &iid;
        mapping.has_build_id = *m->build_id != '\0';
        mapping.build_id = iid;
        interned.n_mapping_paths = interned.n_mappings = 1;
        interned.mapping_paths = paths;
        interned.mappings = mappings;
        interned.n_build_ids = *m->build_id != '\0';
        interned.build_ids = ids;
        emit_interned(e, &interned);
    }
}

/* A frame for each line of each location: those inlined have the same address. The function and
 * source of a frame have its iid. */
static void emit_frames(struct encoder *e)
{
    const struct prof__report *r = &e->stacks->report;
    uint32_t next = 1;

    e->first_frame = prof__arena_array(e->arena, r->n_locations + 1, sizeof(*e->first_frame));
    if (!e->first_frame) {
        fail(e, -ENOMEM);
        return;
    }
    for (size_t i = 0; i < r->n_locations; i++) {
        const struct prof__location *l = &r->location[i];
        const struct prof__report_mapping *m = &r->mapping[l->mapping];
        uint32_t lines = PROF_MAX(l->n_lines, 1u);

        e->first_frame[i] = next;
        for (uint32_t k = 0; k < lines; k++, next++) {
            const struct prof__line *line = l->n_lines ? &l->line[k] : NULL;
            Prof__Perfetto__InternedString name, source, *names[] = { &name },
                                                         *sources[] = { &source };
            Prof__Perfetto__Frame frame = PROF__PERFETTO__FRAME__INIT, *frames[] = { &frame };
            Prof__Perfetto__InternedData interned = PROF__PERFETTO__INTERNED_DATA__INIT;

            frame.has_iid = frame.has_mapping_id = frame.has_rel_pc = 1;
            frame.iid = next;
            frame.mapping_id = l->mapping + 1;
            frame.rel_pc = m->is_elf ? l->address - m->bias : l->address - m->start + m->offset;
            if (line) {
                set_string(e, &name, next, line->name ? line->name : line->function);
                frame.has_function_name_id = 1;
                frame.function_name_id = next;
                interned.n_function_names = 1;
                interned.function_names = names;
            }
            if (line && line->file) {
                set_string(e, &source, next, line->file);
                frame.has_source_path_iid = 1;
                frame.source_path_iid = next;
                frame.has_line_number = 1;
                frame.line_number = line->line;
                interned.n_source_paths = 1;
                interned.source_paths = sources;
            }
            interned.n_frames = 1;
            interned.frames = frames;
            emit_interned(e, &interned);
        }
    }
}

static void emit_callstacks(struct encoder *e)
{
    const struct prof__report *r = &e->stacks->report;

    for (size_t i = 0; i < r->n_samples && !e->error; i++) {
        const struct prof__report_sample *s = &r->sample[i];
        Prof__Perfetto__Callstack stack = PROF__PERFETTO__CALLSTACK__INIT, *stacks[] = { &stack };
        Prof__Perfetto__InternedData interned = PROF__PERFETTO__INTERNED_DATA__INIT;
        size_t n = 0;

        for (uint32_t k = 0; k < s->n_locations; k++)
            n += PROF_MAX(r->location[s->location[k]].n_lines, 1u);
        uint64_t *ids = prof__arena_array(e->arena, n, sizeof(*ids));
        if (!ids) {
            fail(e, -ENOMEM);
            return;
        }
        size_t at = n;
        for (uint32_t k = 0; k < s->n_locations; k++) {
            uint32_t lines = PROF_MAX(r->location[s->location[k]].n_lines, 1u);

            for (uint32_t line = 0; line < lines; line++)
                ids[--at] = e->first_frame[s->location[k]] + line;
        }
        stack.has_iid = 1;
        stack.iid = i + 1;
        stack.n_frame_ids = n;
        stack.frame_ids = ids;
        interned.n_callstacks = 1;
        interned.callstacks = stacks;
        emit_interned(e, &interned);
    }
}

/* --- events ----------------------------------------------------------------------------------- */

static struct name *name_slot(const struct encoder *e, const char *key)
{
    size_t at = prof__hash((uintptr_t)key) & (e->name_slots - 1);

    while (e->name[at].text && e->name[at].text != key)
        at = (at + 1) & (e->name_slots - 1);
    return &e->name[at];
}

static bool names_grow(struct encoder *e)
{
    struct name *old = e->name;
    size_t n_old = e->name_slots;

    e->name_slots = n_old ? n_old * 2 : 256;
    e->name = prof__arena_array(e->arena, e->name_slots, sizeof(*e->name));
    if (!e->name) {
        fail(e, -ENOMEM);
        return false;
    }
    for (size_t i = 0; i < n_old; i++)
        if (old[i].text)
            *name_slot(e, old[i].text) = old[i];
    return true;
}

/* The iid of an event's name, by what stands for it for ever; *ret_fresh: it is to be interned. */
static uint64_t name_iid(struct encoder *e, const char *key, bool *ret_fresh)
{
    if (e->n_names * 2 >= e->name_slots && !names_grow(e))
        return 0;
    struct name *n = name_slot(e, key);
    *ret_fresh = !n->text;
    if (!n->text)
        *n = (struct name) { key, ++e->n_names };
    return n->iid;
}

struct notes {
    Prof__Perfetto__DebugAnnotation note[6], *list[6];
    size_t n;
};

static Prof__Perfetto__DebugAnnotation *add_note(struct notes *n, enum note name)
{
    Prof__Perfetto__DebugAnnotation *a = &n->note[n->n];

    prof__perfetto__debug_annotation__init(a);
    a->has_name_iid = 1;
    a->name_iid = name;
    n->list[n->n++] = a;
    return a;
}

static void note_number(struct notes *n, enum note name, int64_t value)
{
    Prof__Perfetto__DebugAnnotation *a = add_note(n, name);

    a->has_int_value = 1;
    a->int_value = value;
}

static void note_text(struct encoder *e, struct notes *n, enum note name, const char *s)
{
    add_note(n, name)->string_value = text(e, s);
}

static void note_flag(struct notes *n, enum note name)
{
    Prof__Perfetto__DebugAnnotation *a = add_note(n, name);

    a->has_bool_value = a->bool_value = 1;
}

static void note_track(struct encoder *e, struct notes *n, enum note name, uint32_t track_plus_1,
                       char buf[PROF__TRACK_NAME_SIZE])
{
    if (track_plus_1)
        note_text(e, n, name, prof__track_who(e->timeline, track_plus_1 - 1, buf));
}

static void note_item(struct encoder *e, const struct prof__item *i, struct notes *n,
                      char who[2][PROF__TRACK_NAME_SIZE])
{
    bool thread = i->kind == PROF__ITEM_CREATE || i->kind == PROF__ITEM_START;

    switch (i->kind) {
    case PROF__ITEM_WAIT:
        note_text(e, n, NOTE_ENDED, prof__wait_end_name(i));
        note_track(e, n, NOTE_WOKEN_BY, i->waker, who[0]);
        break;
    case PROF__ITEM_RELEASE:
        note_number(n, NOTE_OTHERS_WAITED, i->value);
        break;
    case PROF__ITEM_TASK:
        note_number(n, NOTE_ID, (int64_t)i->object);
        note_track(e, n, NOTE_BEGUN_BY, i->waker, who[0]);
        note_track(e, n, NOTE_ENDED_BY, i->ended_by, who[1]);
        break;
    case PROF__ITEM_LOST:
        note_number(n, NOTE_EVENTS, i->value);
        break;
    case PROF__ITEM_CPU:
        note_number(n, NOTE_CPU_NS, i->value);
        break;
    default:
        break;
    }
    if (i->kind == PROF__ITEM_WAIT || i->kind == PROF__ITEM_RELEASE || i->kind == PROF__ITEM_WAKE) {
        Prof__Perfetto__DebugAnnotation *a = add_note(n, NOTE_OBJECT);

        a->has_pointer_value = 1;
        a->pointer_value = i->object;
    } else if (thread) {
        note_number(n, NOTE_ID, (int64_t)i->object);
    }
    if (i->open_begin)
        note_flag(n, NOTE_UNSEEN_BEGIN);
    if (i->open_end)
        note_flag(n, NOTE_UNFINISHED);
}

/* What a name is known by: text that stays as long as the encoder, and the same for the same name;
 * NULL: it is one of its own. */
static const char *name_key(const struct prof__item *i)
{
    switch (i->kind) {
    case PROF__ITEM_WAIT:
        return prof__wait_kind_name((enum prof__wait_kind)i->wait_kind);
    case PROF__ITEM_LOG:
    case PROF__ITEM_LABELS:
        return NULL;
    case PROF__ITEM_LOST:
        return i->value ? NULL : categories[PROF__ITEM_LOST];
    case PROF__ITEM_REGION:
    case PROF__ITEM_TASK:
        return i->text;
    default:
        return prof__item_name(i, NULL);
    }
}

static void emit_event(struct encoder *e, const struct prof__event *event)
{
    const struct prof__item *i = &e->timeline->item[event->item];
    Prof__Perfetto__TrackEvent to = PROF__PERFETTO__TRACK_EVENT__INIT;
    Prof__Perfetto__TracePacket packet = PROF__PERFETTO__TRACE_PACKET__INIT;
    Prof__Perfetto__InternedData interned = PROF__PERFETTO__INTERNED_DATA__INIT;
    Prof__Perfetto__EventName name = PROF__PERFETTO__EVENT_NAME__INIT, *names[] = { &name };
    uint64_t category = i->kind + 1u, flow_in = i->flow_in, flows[FLOWS_AT_ONCE];
    char buf[PROF__ITEM_NAME_SIZE], who[2][PROF__TRACK_NAME_SIZE];
    struct notes notes;

    notes.n = 0;
    to.has_type = to.has_track_uuid = 1;
    to.track_uuid = TRACK_UUID(event->track);
    to.type = event->kind == PROF__EVENT_BEGIN ? PROF__PERFETTO__TRACK_EVENT__TYPE__TYPE_SLICE_BEGIN
              : event->kind == PROF__EVENT_END ? PROF__PERFETTO__TRACK_EVENT__TYPE__TYPE_SLICE_END
                                               : PROF__PERFETTO__TRACK_EVENT__TYPE__TYPE_INSTANT;
    packet.has_timestamp = 1;
    packet.timestamp = (uint64_t)event->ns;
    packet.data_case = PROF__PERFETTO__TRACE_PACKET__DATA_TRACK_EVENT;
    packet.track_event = &to;
    if (event->kind == PROF__EVENT_END) {
        emit(e, &packet);
        return;
    }
    const char *key = name_key(i);
    bool fresh = false;
    if (key) {
        to.has_name_iid = 1;
        to.name_iid = name_iid(e, key, &fresh);
    } else {
        to.name = text(e, prof__item_name(i, buf));
    }
    if (fresh) {
        name.has_iid = 1;
        name.iid = to.name_iid;
        name.name = text(e, prof__item_name(i, buf));
        interned.n_event_names = 1;
        interned.event_names = names;
        packet.interned_data = &interned;
    }
    to.n_category_iids = 1;
    to.category_iids = &category;
    note_item(e, i, &notes, who);
    to.n_debug_annotations = notes.n;
    to.debug_annotations = notes.list;
    if (flow_in) {
        to.n_terminating_flow_ids = 1;
        to.terminating_flow_ids = &flow_in;
    }
    /* More than can be told at once are told by another moment of the same name. */
    for (uint32_t done = 0; done < i->out_flows || done == 0;) {
        uint32_t n = PROF_MIN(i->out_flows - done, (uint32_t)FLOWS_AT_ONCE);

        for (uint32_t k = 0; k < n; k++)
            flows[k] = i->first_flow + done + k;
        to.n_flow_ids = n;
        to.flow_ids = flows;
        size_t stack = prof__trace_stacks_find(e->stacks, i->stack);
        to.has_callstack_iid = i->kind != PROF__ITEM_TASK && stack < e->stacks->n;
        to.callstack_iid = stack + 1;
        emit(e, &packet);
        packet.interned_data = NULL;
        done += PROF_MAX(n, 1u);
    }
}

static void emit_point(struct encoder *e, size_t counter, const struct prof__counter_point *p)
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
    emit(e, &packet);
}

/* Counters have the time of their own points, so they go out between the events; next[] is where
 * each of them is. */
static void emit_counters_until(struct encoder *e, size_t *next, int64_t ns)
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
    struct encoder e = { .timeline = t, .stacks = s, .arena = a, .sink = sink, .arg = arg };
    size_t *next = prof__arena_array(a, t->n_counters + 1, sizeof(*next));

    e.chunk = prof__arena_alloc(a, CHUNK_SIZE);
    if (!e.chunk || !next)
        return -ENOMEM;
    emit_head(&e);
    emit_process(&e);
    emit_tracks(&e);
    emit_mappings(&e);
    emit_frames(&e);
    if (!e.error)
        emit_callstacks(&e);
    for (size_t i = 0; i < t->n_events && !e.error; i++) {
        emit_counters_until(&e, next, t->event[i].ns - 1);
        emit_event(&e, &t->event[i]);
    }
    emit_counters_until(&e, next, INT64_MAX);
    flush(&e);
    return e.error;
}
