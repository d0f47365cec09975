/*
 * perfetto_events.c - an event of the timeline as a packet, with its annotations, flows and stack.
 */
#include <errno.h>

#include "base/hash.h"
#include "profile/lockstate.h"
#include "table/io_calls.h"
#include "trace/encode.h"
#include "trace/perfetto.h"

enum { FLOWS_AT_ONCE = 256 };

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
    NOTE_FD,
    NOTE_RESULT,
    NOTE_CPU,
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
    [NOTE_FD] = "descriptor",
    [NOTE_RESULT] = "result",
    [NOTE_CPU] = "processor",
};

static const char *const categories[] = {
    [PROF__ITEM_WAIT] = "wait",     [PROF__ITEM_REGION] = "region", [PROF__ITEM_TASK] = "task",
    [PROF__ITEM_LABELS] = "labels", [PROF__ITEM_LOST] = "lost",     [PROF__ITEM_RELEASE] = "wake",
    [PROF__ITEM_WAKE] = "wake",     [PROF__ITEM_CREATE] = "thread", [PROF__ITEM_START] = "thread",
    [PROF__ITEM_END] = "thread",    [PROF__ITEM_LOG] = "log",       [PROF__ITEM_CPU] = "cpu",
    [PROF__ITEM_IO] = "io",         [PROF__ITEM_STATE] = "state",
};

void prof__perfetto_event_names(struct prof__perfetto *e, Prof__Perfetto__InternedData *interned)
{
    enum { N = ARRAY_LEN(categories) };
    Prof__Perfetto__DebugAnnotationName *note = prof__arena_array(e->arena, NOTES, sizeof(*note));
    Prof__Perfetto__DebugAnnotationName **notes =
        prof__arena_array(e->arena, NOTES, sizeof(*notes));
    Prof__Perfetto__EventCategory *category = prof__arena_array(e->arena, N, sizeof(*category));
    Prof__Perfetto__EventCategory **all = prof__arena_array(e->arena, N, sizeof(*all));

    if (!note || !notes || !category || !all) {
        prof__perfetto_fail(e, -ENOMEM);
        return;
    }
    for (size_t i = 1; i < NOTES; i++) {
        prof__perfetto__debug_annotation_name__init(&note[i]);
        note[i].has_iid = 1;
        note[i].iid = i;
        note[i].name = (char *)(uintptr_t)note_names[i];
        notes[i - 1] = &note[i];
    }
    interned->n_debug_annotation_names = NOTES - 1;
    interned->debug_annotation_names = notes;
    for (size_t i = 0; i < N; i++) {
        prof__perfetto__event_category__init(&category[i]);
        category[i].has_iid = 1;
        category[i].iid = i + 1;
        category[i].name = (char *)(uintptr_t)categories[i];
        all[i] = &category[i];
    }
    interned->n_event_categories = N;
    interned->event_categories = all;
}

static struct prof__perfetto_name *name_slot(const struct prof__perfetto *e, const char *key)
{
    size_t at = prof__hash((uintptr_t)key) & (e->name_slots - 1);

    while (e->name[at].text && e->name[at].text != key)
        at = (at + 1) & (e->name_slots - 1);
    return &e->name[at];
}

static bool names_grow(struct prof__perfetto *e)
{
    struct prof__perfetto_name *old = e->name;
    size_t n_old = e->name_slots;

    e->name_slots = n_old ? n_old * 2 : 256;
    e->name = prof__arena_array(e->arena, e->name_slots, sizeof(*e->name));
    if (!e->name) {
        prof__perfetto_fail(e, -ENOMEM);
        return false;
    }
    for (size_t i = 0; i < n_old; i++)
        if (old[i].text)
            *name_slot(e, old[i].text) = old[i];
    return true;
}

/* The iid of an event's name, by what stands for it for ever; *ret_fresh: it is to be interned. */
static uint64_t name_iid(struct prof__perfetto *e, const char *key, bool *ret_fresh)
{
    if (e->n_names * 2 >= e->name_slots && !names_grow(e))
        return 0;
    struct prof__perfetto_name *n = name_slot(e, key);
    *ret_fresh = !n->text;
    if (!n->text)
        *n = (struct prof__perfetto_name) { key, ++e->n_names };
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

static void note_text(struct prof__perfetto *e, struct notes *n, enum note name, const char *s)
{
    add_note(n, name)->string_value = prof__perfetto_text(e, s);
}

static void note_flag(struct notes *n, enum note name)
{
    Prof__Perfetto__DebugAnnotation *a = add_note(n, name);

    a->has_bool_value = a->bool_value = 1;
}

static void note_track(struct prof__perfetto *e, struct notes *n, enum note name,
                       uint32_t track_plus_1, char buf[PROF__TRACK_NAME_SIZE])
{
    if (track_plus_1)
        note_text(e, n, name, prof__track_who(e->timeline, track_plus_1 - 1, buf));
}

static void note_item(struct prof__perfetto *e, const struct prof__item *i, struct notes *n,
                      char who[2][PROF__TRACK_NAME_SIZE])
{
    bool thread = i->kind == PROF__ITEM_CREATE || i->kind == PROF__ITEM_START;

    switch (i->kind) {
    case PROF__ITEM_WAIT:
        note_text(e, n, NOTE_ENDED, prof__wait_end_name(i));
        note_track(e, n, NOTE_WOKEN_BY, i->waker, who[0]);
        break;
    case PROF__ITEM_IO:
        if (PROF__IO_FD(i->object) >= 0)
            note_number(n, NOTE_FD, PROF__IO_FD(i->object));
        if (!i->open_end)
            note_text(e, n, NOTE_RESULT, prof__io_result(i, who[0]));
        break;
    case PROF__ITEM_STATE:
        note_number(n, NOTE_CPU, (int64_t)i->object);
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

void prof__perfetto_event(struct prof__perfetto *e, const struct prof__event *event)
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
        prof__perfetto_emit(e, &packet);
        return;
    }
    const char *key = name_key(i);
    bool fresh = false;
    if (key) {
        to.has_name_iid = 1;
        to.name_iid = name_iid(e, key, &fresh);
    } else {
        to.name = prof__perfetto_text(e, prof__item_name(i, buf));
    }
    if (fresh) {
        name.has_iid = 1;
        name.iid = to.name_iid;
        name.name = prof__perfetto_text(e, prof__item_name(i, buf));
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
        prof__perfetto_emit(e, &packet);
        packet.interned_data = NULL;
        done += PROF_MAX(n, 1u);
    }
}
