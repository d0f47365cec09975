/*
 * timeline_tracks.c - items sorted into tracks, and the order in which they begin and end.
 *
 * A track's slices nest: they come by their begin, the longer one first, and one that would reach
 * over the end of the slice around it is cut there. Tasks overlap as they like, so each goes to the
 * first lane where no other is under way.
 */
#include "trace/timeline_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LANES_MAX = 64 };

/* --- tasks ------------------------------------------------------------------------------------ */

/* By name and id, then by time, an end before a begin. */
static int by_task(const void *a, const void *b)
{
    const struct prof__item *x = a, *y = b;

    if (x->text != y->text)
        return (uintptr_t)x->text < (uintptr_t)y->text ? -1 : 1;
    if (x->object != y->object)
        return x->object < y->object ? -1 : 1;
    if (x->begin_ns != y->begin_ns)
        return x->begin_ns < y->begin_ns ? -1 : 1;
    return (int)y->open_begin - (int)x->open_begin;
}

static int by_begin(const void *a, const void *b)
{
    const struct prof__item *x = a, *y = b;

    return x->begin_ns < y->begin_ns ? -1 : x->begin_ns > y->begin_ns;
}

/* Marks of begins and ends, by_task(), become tasks in the same place. How many. */
static size_t join_marks(struct prof__item *mark, size_t n, int64_t from_ns, int64_t to_ns)
{
    size_t made = 0;

    qsort(mark, n, sizeof(*mark), by_task);
    for (size_t i = 0; i < n; i++) {
        struct prof__item task = mark[i];
        bool begins = task.open_end;

        if (begins && i + 1 < n && mark[i + 1].text == task.text &&
            mark[i + 1].object == task.object && mark[i + 1].open_begin) {
            task.end_ns = mark[++i].end_ns;
            task.ended_by = mark[i].waker;
            task.open_end = false;
        } else if (begins) {
            task.end_ns = to_ns;
        } else {
            task.begin_ns = from_ns;
            task.ended_by = task.waker;
            task.waker = 0;
        }
        mark[made++] = task;
    }
    qsort(mark, made, sizeof(*mark), by_begin);
    return made;
}

/* --- tracks ----------------------------------------------------------------------------------- */

struct order {
    uint32_t track;
    uint32_t item;
    int64_t begin_ns, end_ns;
};

static int by_nesting(const void *a, const void *b)
{
    const struct order *x = a, *y = b;

    if (x->track != y->track)
        return x->track < y->track ? -1 : 1;
    if (x->begin_ns != y->begin_ns)
        return x->begin_ns < y->begin_ns ? -1 : 1;
    if (x->end_ns != y->end_ns)
        return x->end_ns > y->end_ns ? -1 : 1;
    return x->item < y->item ? -1 : 1;
}

/* A lane for each task in which no other is under way. */
static uint32_t lane_of(int64_t *lane_end, unsigned *lanes, const struct prof__item *task)
{
    unsigned i = 0;

    while (i < *lanes && lane_end[i] > task->begin_ns)
        i++;
    if (i == *lanes && *lanes < LANES_MAX)
        ++*lanes;
    i = PROF_MIN(i, LANES_MAX - 1u);
    lane_end[i] = PROF_MAX(task->end_ns, lane_end[i]);
    return i;
}

/* The track of that kind that a thread has beside its own; of[thread] is 0 before it has one. */
static uint32_t beside(struct prof__timeline *t, struct prof__track *track,
                       enum prof__track_kind kind, uint32_t *of, uint32_t thread)
{
    if (!of[thread]) {
        of[thread] = (uint32_t)t->n_tracks;
        track[t->n_tracks++] =
            (struct prof__track) { .kind = kind, .tid = track[thread].tid, .parent = thread };
    }
    return of[thread];
}

int prof__timeline_make_tracks(const struct prof__timeline_threads *b, struct prof__arena *a,
                               struct prof__timeline *t)
{
    size_t n_threads = b->n, n_tasks = 0, kept = 0;
    struct prof__track *track = prof__arena_array(a, 3 * n_threads + LANES_MAX, sizeof(*track));
    struct order *order = prof__arena_array(a, t->n_items + 1, sizeof(*order));
    struct prof__item *item = prof__arena_array(a, t->n_items + 1, sizeof(*item));
    struct prof__item *task = prof__arena_array(a, t->n_items + 1, sizeof(*task));
    uint32_t *labels = prof__arena_array(a, n_threads + 1, sizeof(*labels));
    uint32_t *states = prof__arena_array(a, n_threads + 1, sizeof(*states));
    int64_t lane_end[LANES_MAX] = { 0 };
    unsigned lanes = 0;

    if (!track || !order || !item || !task || !labels || !states)
        return -ENOMEM;
    for (size_t i = 0; i < n_threads; i++) {
        track[i] = (struct prof__track) { .tid = b->thread[i].tid };
        memcpy(track[i].name, b->thread[i].name, sizeof(track[i].name));
    }
    t->n_tracks = n_threads;
    for (size_t i = 0; i < t->n_items; i++) {
        uint32_t owner = b->owner[i], at = owner;

        if (owner == PROF__TIMELINE_TASKS) {
            task[n_tasks++] = t->item[i];
            continue;
        }
        if (t->item[i].kind == PROF__ITEM_LABELS)
            at = beside(t, track, PROF__TRACK_LABELS, labels, owner);
        else if (t->item[i].kind == PROF__ITEM_STATE)
            at = beside(t, track, PROF__TRACK_STATE, states, owner);
        item[kept] = t->item[i];
        order[kept] = (struct order) { at, (uint32_t)kept, t->item[i].begin_ns, t->item[i].end_ns };
        kept++;
    }
    n_tasks = join_marks(task, n_tasks, t->from_ns, t->to_ns);
    uint32_t first_lane = (uint32_t)t->n_tracks;
    for (size_t i = 0; i < n_tasks; i++) {
        uint32_t lane = lane_of(lane_end, &lanes, &task[i]);

        item[kept] = task[i];
        order[kept] =
            (struct order) { first_lane + lane, (uint32_t)kept, task[i].begin_ns, task[i].end_ns };
        kept++;
    }
    for (unsigned i = 0; i < lanes; i++)
        track[t->n_tracks++] = (struct prof__track) { .kind = PROF__TRACK_TASKS };

    qsort(order, kept, sizeof(*order), by_nesting);
    for (size_t i = 0; i < kept; i++) {
        struct prof__track *of = &track[order[i].track];

        t->item[i] = item[order[i].item];
        if (of->n++ == 0)
            of->first = i;
    }
    t->track = track;
    t->n_items = kept;
    return 0;
}

/* --- the order of events ---------------------------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
    const struct prof__event *x = a, *y = b;

    if (x->ns != y->ns)
        return x->ns < y->ns ? -1 : 1;
    return 0;
}

/* Of one track, in the order of nesting: what does not fit into the slice around it is cut. */
static size_t order_track(struct prof__timeline *t, uint32_t number, struct prof__event *to,
                          uint32_t *open)
{
    const struct prof__track *track = &t->track[number];
    size_t n = 0, depth = 0;

    for (size_t k = 0; k < track->n; k++) {
        uint32_t at = (uint32_t)(track->first + k);
        struct prof__item *i = &t->item[at];

        while (depth > 0 && t->item[open[depth - 1]].end_ns <= i->begin_ns &&
               t->item[open[depth - 1]].begin_ns < i->begin_ns) {
            uint32_t over = open[--depth];

            to[n++] = (struct prof__event) { t->item[over].end_ns, over, number, PROF__EVENT_END };
        }
        if (depth > 0)
            i->end_ns = PROF_MIN(i->end_ns, t->item[open[depth - 1]].end_ns);
        if (i->kind >= PROF__ITEM_RELEASE) {
            to[n++] = (struct prof__event) { i->begin_ns, at, number, PROF__EVENT_MOMENT };
            continue;
        }
        to[n++] = (struct prof__event) { i->begin_ns, at, number, PROF__EVENT_BEGIN };
        open[depth++] = at;
    }
    while (depth > 0) {
        uint32_t over = open[--depth];

        to[n++] = (struct prof__event) { t->item[over].end_ns, over, number, PROF__EVENT_END };
    }
    return n;
}

/* Merge sort, which keeps the order of what is at one time. */
static void sort_events(struct prof__event *e, struct prof__event *room, size_t n)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t from = 0; from < n; from += 2 * width) {
            size_t a = from, middle = PROF_MIN(from + width, n), c = middle;
            size_t end = PROF_MIN(from + 2 * width, n), to = from;

            while (a < middle || c < end)
                room[to++] =
                    c >= end || (a < middle && by_time(&e[a], &e[c]) <= 0) ? e[a++] : e[c++];
        }
        memcpy(e, room, n * sizeof(*e));
    }
}

int prof__timeline_make_events(struct prof__timeline *t, struct prof__arena *a)
{
    struct prof__event *event = prof__arena_array(a, 2 * t->n_items + 1, sizeof(*event));
    struct prof__event *room = prof__arena_array(a, 2 * t->n_items + 1, sizeof(*event));
    uint32_t *open = prof__arena_array(a, t->n_items + 1, sizeof(*open));

    if (!event || !room || !open)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->n_tracks; i++)
        t->n_events += order_track(t, i, event + t->n_events, open);
    sort_events(event, room, t->n_events);
    t->event = event;
    return 0;
}
