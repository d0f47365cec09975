/*
 * timeline_flows.c - from who wakes to who is woken.
 *
 * A wait that has got what it waited for, for this object, was ended by something that somebody did
 * with the object after it had begun:
 *
 *   mutex, read/write lock   the last release before it ended
 *   barrier                  the one that came last
 *   condition, semaphore     of those that wake one: the first that has woken nobody yet; else
 *                            the last that wakes all
 *   thread                   its end
 *
 * All that a thread does is timed by one clock, so before and after are facts. Waits are gone
 * through in the order in which they ended. Where nobody is found there is no flow: the release was
 * of a lock that was not yet known to be waited for, or the program uses a futex of its own.
 */
#include "trace/timeline_parts.h"

#include <errno.h>
#include <stdlib.h>

#include "record/collect_lock.h"
#include "table/wait_table.h"

/* What wakes, by object and time. */
struct act {
    uint64_t object;
    int64_t ns;
    uint32_t item, track;
    bool used; /* it has woken the one that it wakes */
};

struct woken {
    int64_t end_ns;
    uint32_t item, track;
};

struct flow {
    uint32_t from, to; /* items */
};

static int by_object(const void *a, const void *b)
{
    const struct act *x = a, *y = b;

    if (x->object != y->object)
        return x->object < y->object ? -1 : 1;
    if (x->ns != y->ns)
        return x->ns < y->ns ? -1 : 1;
    return x->item < y->item ? -1 : 1;
}

static int by_end(const void *a, const void *b)
{
    const struct woken *x = a, *y = b;

    if (x->end_ns != y->end_ns)
        return x->end_ns < y->end_ns ? -1 : 1;
    return x->item < y->item ? -1 : 1;
}

static int by_from(const void *a, const void *b)
{
    const struct flow *x = a, *y = b;

    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : 1;
}

/* The kind of item that ends a wait of that kind. */
static enum prof__item_kind waker_of(unsigned wait_kind)
{
    switch (wait_kind) {
    case PROF__WAIT_MUTEX:
    case PROF__WAIT_READ:
    case PROF__WAIT_WRITE:
        return PROF__ITEM_RELEASE;
    case PROF__WAIT_JOIN:
        return PROF__ITEM_END;
    default:
        return PROF__ITEM_WAKE;
    }
}

/* The first act on that object after `ns`. */
static size_t first_after(const struct act *act, size_t n, uint64_t object, int64_t ns)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (act[middle].object < object || (act[middle].object == object && act[middle].ns < ns))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct act *find(struct act *act, size_t n, const struct prof__timeline *t,
                        const struct woken *w)
{
    const struct prof__item *i = &t->item[w->item];
    enum prof__item_kind kind =
        i->kind == PROF__ITEM_START ? PROF__ITEM_CREATE : waker_of(i->wait_kind);
    int64_t from = i->kind == PROF__ITEM_START ? INT64_MIN : i->begin_ns;
    struct act *found = NULL;

    for (size_t k = first_after(act, n, i->object, from);
         k < n && act[k].object == i->object && act[k].ns <= i->end_ns; k++) {
        const struct prof__item *by = &t->item[act[k].item];
        bool one = kind == PROF__ITEM_WAKE && by->value == 0;

        if (by->kind != (uint8_t)kind || act[k].track == w->track || (one && act[k].used))
            continue;
        found = &act[k];
        if (one) {
            found->used = true;
            break;
        }
    }
    return found;
}

static bool is_woken(const struct prof__item *i)
{
    return (i->kind == PROF__ITEM_WAIT && i->wait_end == PROF__WAIT_GOT && !i->open_end) ||
           (i->kind == PROF__ITEM_START && i->object != 0);
}

static bool is_act(const struct prof__item *i)
{
    return i->kind == PROF__ITEM_RELEASE || i->kind == PROF__ITEM_WAKE ||
           i->kind == PROF__ITEM_CREATE || i->kind == PROF__ITEM_END;
}

int prof__timeline_find_flows(struct prof__timeline *t, struct prof__arena *a)
{
    struct act *act = prof__arena_array(a, t->n_items + 1, sizeof(*act));
    struct woken *woken = prof__arena_array(a, t->n_items + 1, sizeof(*woken));
    struct flow *flow = prof__arena_array(a, t->n_items + 1, sizeof(*flow));
    size_t n_acts = 0, n_woken = 0, n = 0;

    if (!act || !woken || !flow)
        return -ENOMEM;
    for (uint32_t k = 0; k < t->n_tracks; k++)
        for (size_t i = t->track[k].first; i < t->track[k].first + t->track[k].n; i++) {
            const struct prof__item *item = &t->item[i];

            if (is_act(item))
                act[n_acts++] =
                    (struct act) { item->object, item->begin_ns, (uint32_t)i, k, false };
            else if (is_woken(item))
                woken[n_woken++] = (struct woken) { item->end_ns, (uint32_t)i, k };
        }
    qsort(act, n_acts, sizeof(*act), by_object);
    qsort(woken, n_woken, sizeof(*woken), by_end);
    for (size_t i = 0; i < n_woken; i++) {
        const struct act *by = find(act, n_acts, t, &woken[i]);

        if (by) {
            flow[n++] = (struct flow) { by->item, woken[i].item };
            t->item[woken[i].item].waker = by->track + 1;
        }
    }
    qsort(flow, n, sizeof(*flow), by_from);
    for (size_t i = 0; i < n; i++) {
        struct prof__item *from = &t->item[flow[i].from];

        if (from->out_flows++ == 0)
            from->first_flow = (uint32_t)i + 1;
        t->item[flow[i].to].flow_in = i + 1;
    }
    t->flows = n;
    return 0;
}
