/*
 * timeline.c - from records to items of tracks, and the order in which they happen.
 *
 * Ring by ring: records belong to its present owner, up to one that says that the owner has
 * changed. Each record gives an item, but for regions, whose two ends make one; so as many items as
 * records are enough, and some for what is still under way. Flows are found in timeline_flows.c.
 */
#include "trace/timeline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/slot.h"
#include "base/task.h"
#include "record/collect_lock.h"
#include "table/io_calls.h"
#include "table/trace_names.h"
#include "table/trace_ring.h"
#include "table/wait_table.h"
#include "trace/timeline_parts.h"

enum { OPEN_MAX = 64 };

/* A thread, while its records are gone through. */
struct thread {
    struct prof__timeline_thread who;
    uint32_t open[OPEN_MAX]; /* items of regions under way, outermost first */
    unsigned depth;
    uint64_t now_since, now_what; /* the call that it is in; 0: none is known */
    uint32_t labels;              /* item of the set that it has now, plus 1; 0: none */
};

struct builder {
    const struct prof__timeline_source *source;
    struct prof__arena *arena;
    struct prof__timeline *timeline;
    struct prof__trace_ring_copy *copy;
    struct thread *thread;
    size_t n_threads, threads_cap;
    struct prof__item *item;
    uint32_t *owner; /* of each item: its thread; PROF__TIMELINE_TASKS: none's */
    size_t n, cap;
};

static int64_t ns_of(const struct prof__timeline_source *s, uint64_t time)
{
    return prof__trace_ns(&s->begin, &s->now, time);
}

static uint32_t thread_of(struct builder *b, uint32_t tid)
{
    for (size_t i = b->n_threads; i-- > 0;)
        if (b->thread[i].who.tid == tid)
            return (uint32_t)i;
    if (b->n_threads == b->threads_cap) {
        size_t cap = b->threads_cap ? b->threads_cap * 2 : 64;
        struct thread *more = prof__arena_array(b->arena, cap, sizeof(*more));

        if (!more)
            return UINT32_MAX;
        if (b->n_threads)
            memcpy(more, b->thread, b->n_threads * sizeof(*more));
        b->thread = more;
        b->threads_cap = cap;
    }
    b->thread[b->n_threads] = (struct thread) { .who = { .tid = tid } };
    return (uint32_t)b->n_threads++;
}

static struct prof__item *add(struct builder *b, uint32_t owner, enum prof__item_kind kind,
                              int64_t begin_ns, int64_t end_ns)
{
    if (b->n == b->cap)
        return NULL; /* cannot be: there is room for each record */
    b->owner[b->n] = owner;
    b->item[b->n] =
        (struct prof__item) { .kind = (uint8_t)kind, .begin_ns = begin_ns, .end_ns = end_ns };
    return &b->item[b->n++];
}

/* A slice that may have begun before the time that is wanted. */
static struct prof__item *add_since(struct builder *b, uint32_t owner, enum prof__item_kind kind,
                                    int64_t begin_ns, int64_t end_ns)
{
    int64_t from_ns = b->source->from_ns;
    struct prof__item *i = add(b, owner, kind, PROF_MAX(begin_ns, from_ns), end_ns);

    if (i)
        i->open_begin = begin_ns < from_ns;
    return i;
}

/* --- regions, labels, tasks ------------------------------------------------------------------- */

static void region_end(struct builder *b, uint32_t owner, int64_t ns, const char *name)
{
    struct thread *t = &b->thread[owner];
    unsigned depth = t->depth;

    while (depth > 0 && b->item[t->open[depth - 1]].text != name)
        depth--;
    if (depth > 0) {
        while (t->depth >= depth)
            b->item[t->open[--t->depth]].end_ns = ns;
        return;
    }
    struct prof__item *i = add(b, owner, PROF__ITEM_REGION, b->source->from_ns, ns);
    if (i) {
        i->text = name;
        i->open_begin = true;
    }
}

static void region_begin(struct builder *b, uint32_t owner, int64_t ns, const char *name)
{
    struct thread *t = &b->thread[owner];
    struct prof__item *i = add(b, owner, PROF__ITEM_REGION, ns, b->timeline->to_ns);

    if (!i)
        return;
    i->text = name;
    if (t->depth < OPEN_MAX)
        t->open[t->depth++] = (uint32_t)(i - b->item);
    else
        i->end_ns = ns; /* too deep to be followed: a moment */
}

static void labels_are(struct builder *b, uint32_t owner, int64_t ns, uint64_t set)
{
    struct thread *t = &b->thread[owner];

    if (t->labels) {
        b->item[t->labels - 1].end_ns = ns;
        b->item[t->labels - 1].open_end = false;
    }
    t->labels = 0;
    struct prof__item *i = set ? add(b, owner, PROF__ITEM_LABELS, ns, b->timeline->to_ns) : NULL;
    if (i) {
        i->object = set;
        i->open_end = true;
        t->labels = (uint32_t)(i - b->item) + 1;
    }
}

/* Begun, and not ended as far as has been seen; from the latest on. Ends are matched when all
 * begins are known, as another thread's ring may come later. */
static void task_mark(struct builder *b, uint32_t owner, int64_t ns,
                      const struct prof__trace_record *r)
{
    bool begins = r->kind == PROF__TRACE_TASK_BEGIN;
    struct prof__item *i = add(b, PROF__TIMELINE_TASKS, PROF__ITEM_TASK, ns, ns);

    if (!i)
        return;
    i->object = r->object;
    i->text = prof__trace_name_text((uint32_t)r->value);
    i->waker = owner + 1; /* the thread's track has the thread's number */
    i->open_end = begins;
    i->open_begin = !begins;
}

/* --- records ---------------------------------------------------------------------------------- */

/* Log lines take up the records that follow. */
static const char *text_at(struct builder *b, size_t at)
{
    const struct prof__trace_record *r = &b->copy->record[at];
    char text[PROF__TRACE_TEXT_MAX + 24] = "";

    memcpy(text, &r->object, 16);
    for (unsigned i = 0; i < r->detail && 16 + (i + 1) * 24 < sizeof(text); i++) {
        const struct prof__trace_record *more = r + 1 + i;

        if (at + 1 + i >= b->copy->n || more->kind != PROF__TRACE_MORE)
            break;
        uint64_t word[3] = { more->time, more->object, more->value };
        memcpy(text + 16 + (size_t)i * 24, word, sizeof(word));
    }
    const char *copy = prof__arena_strdup(b->arena, text);
    return copy ? copy : "";
}

static void take_record(struct builder *b, uint32_t owner, size_t at, int64_t ns)
{
    const struct prof__trace_record *r = &b->copy->record[at];
    struct prof__item *i = NULL;

    switch (r->kind) {
    case PROF__TRACE_WAIT:
        if ((i = add_since(b, owner, PROF__ITEM_WAIT, ns_of(b->source, r->value), ns))) {
            i->wait_kind = r->detail & 15;
            i->wait_end = r->detail >> 4;
        }
        break;
    case PROF__TRACE_IO:
        if (b->source->calls &&
            (i = add_since(b, owner, PROF__ITEM_IO, ns_of(b->source, r->value), ns)))
            i->wait_kind = r->detail;
        break;
    case PROF__TRACE_RELEASE:
        if ((i = add(b, owner, PROF__ITEM_RELEASE, ns, ns)))
            i->value = (int64_t)r->value;
        break;
    case PROF__TRACE_WAKE:
        if ((i = add(b, owner, PROF__ITEM_WAKE, ns, ns)))
            i->value = r->detail;
        break;
    case PROF__TRACE_CREATE:
        i = add(b, owner, PROF__ITEM_CREATE, ns, ns);
        break;
    case PROF__TRACE_START:
        i = add(b, owner, PROF__ITEM_START, ns, ns);
        b->thread[owner].depth = 0;
        break;
    case PROF__TRACE_END:
        i = add(b, owner, PROF__ITEM_END, ns, ns);
        while (b->thread[owner].depth > 0)
            b->item[b->thread[owner].open[--b->thread[owner].depth]].end_ns = ns;
        labels_are(b, owner, ns, 0);
        break;
    case PROF__TRACE_NAME:
        memcpy(b->thread[owner].who.name, &r->object, 16);
        break;
    case PROF__TRACE_LABELS:
        labels_are(b, owner, ns, r->object);
        break;
    case PROF__TRACE_REGION_BEGIN:
        region_begin(b, owner, ns, prof__trace_name_text((uint32_t)r->object));
        break;
    case PROF__TRACE_REGION_END:
        region_end(b, owner, ns, prof__trace_name_text((uint32_t)r->object));
        break;
    case PROF__TRACE_TASK_BEGIN:
    case PROF__TRACE_TASK_END:
        task_mark(b, owner, ns, r);
        break;
    case PROF__TRACE_LOG:
        if ((i = add(b, owner, PROF__ITEM_LOG, ns, ns)))
            i->text = text_at(b, at);
        break;
    case PROF__TRACE_CPU:
        if (b->source->samples_from && (int64_t)(r->time - b->source->samples_from) >= 0 &&
            (i = add(b, owner, PROF__ITEM_CPU, ns, ns)))
            i->value = (int64_t)r->value;
        break;
    default:
        break;
    }
    if (i) {
        i->object = r->object;
        i->stack = r->stack;
    }
}

/* What of a ring was overwritten, or was being written, before it could be copied. */
static uint64_t lost_of(const struct builder *b, unsigned ring)
{
    uint64_t since = b->source->written[ring];
    uint64_t lost = b->copy->first > since ? b->copy->first - since : 0;

    for (size_t i = since > b->copy->first ? since - b->copy->first : 0; i < b->copy->n; i++)
        lost += b->copy->record[i].kind == PROF__TRACE_NOTHING;
    return lost;
}

/* What was overwritten, up to `until_ns`. Where it is not known how much of it is of this time, it
 * is known that the ring goes back no further. */
static void note_lost(struct builder *b, unsigned ring, uint32_t owner, int64_t until_ns)
{
    uint64_t lost = b->source->counts_lost ? lost_of(b, ring) : 0;
    bool short_of = !b->source->counts_lost && b->copy->first > b->source->written[ring];
    struct prof__item *i;

    b->timeline->lost += lost;
    if ((lost || short_of) && (i = add(b, owner, PROF__ITEM_LOST, b->source->from_ns,
                                       PROF_MAX(until_ns, b->source->from_ns + 1))))
        i->value = (int64_t)lost;
}

static int take_ring(struct builder *b, unsigned ring)
{
    uint32_t tid = b->copy->tid, owner;
    bool told = false; /* of what is lost */
    size_t i = 0;

    for (size_t k = 0; k < b->copy->n; k++)
        if (b->copy->record[k].kind == PROF__TRACE_OWNER) {
            tid = (uint32_t)b->copy->record[k].value;
            break;
        }
    /* What came before is another trace's, but not who was there. */
    for (; b->copy->first + i < b->source->written[ring] && i < b->copy->n; i++)
        if (b->copy->record[i].kind == PROF__TRACE_OWNER)
            tid = (uint32_t)b->copy->record[i].object;
    owner = UINT32_MAX;
    for (; i < b->copy->n; i++) {
        const struct prof__trace_record *r = &b->copy->record[i];

        if (r->kind == PROF__TRACE_OWNER) {
            tid = (uint32_t)r->object;
            owner = UINT32_MAX;
            continue;
        }
        if (r->kind == PROF__TRACE_NOTHING || r->kind == PROF__TRACE_MORE || tid == 0)
            continue;
        int64_t ns = ns_of(b->source, r->time);
        if (ns < b->source->from_ns && !b->source->counts_lost)
            told = true; /* the ring goes back far enough */
        if (ns < b->source->from_ns || ns > b->timeline->to_ns)
            continue;
        if (owner == UINT32_MAX && (owner = thread_of(b, tid)) == UINT32_MAX)
            return -ENOMEM;
        if (!told)
            note_lost(b, ring, owner, ns);
        told = true;
        take_record(b, owner, i, ns);
    }
    if (!told && b->source->counts_lost)
        b->timeline->lost += lost_of(b, ring);
    if (b->source->calls && b->copy->now_since && b->copy->tid) {
        if ((owner = thread_of(b, b->copy->tid)) == UINT32_MAX)
            return -ENOMEM;
        b->thread[owner].now_since = b->copy->now_since;
        b->thread[owner].now_what = b->copy->now_what;
    }
    return 0;
}

/* --- what is under way, and who is here ------------------------------------------------------- */

static void add_call_under_way(struct builder *b, uint32_t owner)
{
    const struct thread *t = &b->thread[owner];
    int64_t since_ns = t->now_since ? ns_of(b->source, t->now_since) : INT64_MAX;
    struct prof__item *i = since_ns < b->timeline->to_ns
                               ? add_since(b, owner, PROF__ITEM_IO, since_ns, b->timeline->to_ns)
                               : NULL;

    if (i) {
        i->wait_kind = (uint8_t)(t->now_what >> 32);
        i->object = PROF__IO_OBJECT(t->now_what, 0);
        i->open_end = true;
    }
}

static int take_living(pid_t tid, void *arg)
{
    struct builder *b = arg;
    struct prof__task_state state;
    struct prof__wait_entry wait;
    const struct prof__slot *slot = prof__slot_of(tid);

    if (prof__slot_hidden(slot) || prof__slot_helper(slot))
        return 0;
    uint32_t owner = thread_of(b, (uint32_t)tid);
    if (owner == UINT32_MAX)
        return -ENOMEM;
    if (prof__task_state(tid, &state) == 0)
        snprintf(b->thread[owner].who.name, sizeof(b->thread[owner].who.name), "%.16s", state.name);
    add_call_under_way(b, owner);
    if (!prof__wait_table_find((uint32_t)tid, &wait) || wait.since_ns >= b->timeline->to_ns)
        return 0;
    struct prof__item *i = add_since(b, owner, PROF__ITEM_WAIT, wait.since_ns, b->timeline->to_ns);
    if (i) {
        i->wait_kind = (uint8_t)wait.kind;
        i->object = wait.object;
        i->open_end = true;
    }
    return 0;
}

/* From each switch to the next. What came before the first is known where all of them are: nothing
 * has changed since the beginning. */
static int add_states(struct builder *b, size_t number)
{
    const struct prof__switch *s;
    uint32_t tid;
    bool whole;
    int64_t n = prof__switches_read(b->source->switches, number, b->arena, &tid, &s, &whole);
    uint32_t owner = n > 0 ? thread_of(b, tid) : 0;

    if (n < 0 || owner == UINT32_MAX)
        return -ENOMEM;
    for (int64_t k = whole ? -1 : 0; k < n; k++) {
        int64_t begin_ns = k < 0 ? b->source->from_ns : s[k].ns;
        int64_t end_ns = k + 1 < n ? s[k + 1].ns : b->timeline->to_ns;

        /* Put on a processor: from what, is not known. */
        if ((k < 0 && (n == 0 || s[0].state == PROF__STATE_RUNNING)) ||
            end_ns <= b->source->from_ns || begin_ns >= b->timeline->to_ns)
            continue;
        struct prof__item *i =
            add_since(b, owner, PROF__ITEM_STATE, begin_ns, PROF_MIN(end_ns, b->timeline->to_ns));
        if (i) {
            i->wait_kind = (uint8_t)(k < 0 ? PROF__STATE_RUNNING : s[k].state);
            i->object = s[PROF_MAX(k, 0)].cpu;
            i->open_begin |= k < 0;
            i->open_end = k + 1 == n;
        }
    }
    return 0;
}

static int count_living(pid_t tid, void *arg)
{
    (void)tid;
    ++*(size_t *)arg;
    return 0;
}

/* Regions that are still open when all has been read. */
static void close_regions(struct builder *b)
{
    for (size_t i = 0; i < b->n_threads; i++)
        while (b->thread[i].depth > 0)
            b->item[b->thread[i].open[--b->thread[i].depth]].open_end = true;
}

static int read_rings(struct builder *b)
{
    size_t living = 0, cap = 0;
    int r = 0;

    prof__tasks_each(count_living, &living);
    for (unsigned i = 0; i < prof__trace_rings(); i++)
        cap += 1 + (size_t)PROF_MIN(prof__trace_ring_written(i), PROF__TRACE_RING_RECORDS);
    /* Rings may be written to for the first time meanwhile: those are left. */
    size_t followed = 0, unseen;
    if (b->source->switches) {
        followed = prof__switches_threads(b->source->switches, &unseen);
        cap += prof__switches_most(b->source->switches) + followed;
    }
    b->cap = cap + 3 * living + 64;
    b->copy = prof__arena_alloc(b->arena, sizeof(*b->copy));
    b->item = prof__arena_array(b->arena, b->cap, sizeof(*b->item));
    b->owner = prof__arena_array(b->arena, b->cap, sizeof(*b->owner));
    if (!b->copy || !b->item || !b->owner)
        return -ENOMEM;
    for (unsigned i = 0; i < prof__trace_rings() && r == 0; i++)
        if (prof__trace_ring_read(i, b->copy))
            r = take_ring(b, i);
    if (r == 0)
        prof__tasks_each(take_living, b);
    close_regions(b);
    for (size_t i = 0; i < followed && r == 0; i++)
        r = add_states(b, i);
    return r;
}

int prof__timeline_build(const struct prof__timeline_source *s, struct prof__arena *a,
                         struct prof__timeline *ret)
{
    struct builder b = { .source = s, .arena = a, .timeline = ret };
    int r;

    *ret = (struct prof__timeline) {
        .from_ns = s->from_ns,
        .to_ns = s->now.ns,
        .lost_unkept = prof__trace_lost() - s->lost_unkept,
    };
    if ((r = read_rings(&b)) < 0)
        return r;
    struct prof__timeline_threads threads = { .n = b.n_threads, .owner = b.owner };
    threads.thread = prof__arena_array(a, b.n_threads + 1, sizeof(*threads.thread));
    if (!threads.thread)
        return -ENOMEM;
    for (size_t i = 0; i < b.n_threads; i++)
        threads.thread[i] = b.thread[i].who;
    ret->item = b.item;
    ret->n_items = b.n;
    if ((r = prof__timeline_make_tracks(&threads, a, ret)) < 0 ||
        (r = prof__timeline_make_events(ret, a)) < 0 || (r = prof__timeline_find_flows(ret, a)) < 0)
        return r;
    return prof__timeline_add_counters(ret, a);
}
