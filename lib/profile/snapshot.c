/*
 * snapshot.c - copying rows while they are being added to.
 *
 * Nothing stops the writers, so each row is a moment of its own. The values of one row are read
 * last to first: writers of the heap profile add in the order that makes this come out consistent
 * (collect_heap.c).
 */
#include "profile/snapshot.h"

#include <errno.h>

#include "base/clock.h"
#include "unwind/stack.h"

struct copy {
    struct prof__snapshot *to;
    size_t room;
};

static int copy_row(uint32_t ref, const struct prof__row *row, void *arg)
{
    static const unsigned order[PROF__ROW_VALUES] = { 2, 3, 1, 0 };
    struct copy *c = arg;

    /* One made after we counted: the next snapshot has it. The last place is for the lost. */
    if (c->to->n + 1 >= c->room && !prof__rows_is_lost(ref))
        return 0;
    struct prof__sample *s = &c->to->sample[c->to->n++];
    s->row = ref;
    s->stack = atomic_load_explicit(&row->stack, memory_order_relaxed);
    s->labels = row->labels;
    s->size = row->size;
    for (size_t i = 0; i < PROF__ROW_VALUES; i++) /* acquire: in this order */
        s->raw.value[order[i]] = atomic_load_explicit(&row->value[order[i]], memory_order_acquire);
    s->raw.full = atomic_load_explicit(&row->full, memory_order_relaxed);
    return 0;
}

int prof__snapshot_take(unsigned table, struct prof__snapshot *ret)
{
    size_t room = prof__rows_count(table) + 64; /* those being made, and the row of the lost */

    prof__stack_code_loaded();
    *ret = (struct prof__snapshot) { .arena = ret->arena };
    ret->wall_ns = prof__wall_ns();
    ret->monotonic_ns = prof__monotonic_ns();
    ret->sample = prof__arena_array(&ret->arena, room, sizeof(*ret->sample));
    if (!ret->sample)
        return -ENOMEM;
    prof__rows_each(table, copy_row, &(struct copy) { ret, room });
    return 0;
}

/* now - before; a row that is only in one of the two is zero in the other. False: no change. */
static bool difference(const struct prof__sample *now, const struct prof__sample *before,
                       struct prof__sample *ret)
{
    uint64_t changed = 0;

    *ret = now ? *now : *before;
    ret->raw.full = 0; /* of a difference all is there, though of the whole it be not */
    for (size_t v = 0; v < PROF__ROW_VALUES; v++) {
        ret->raw.value[v] = (now ? now->raw.value[v] : 0) - (before ? before->raw.value[v] : 0);
        changed |= ret->raw.value[v];
    }
    return changed != 0;
}

int prof__snapshot_subtract(struct prof__snapshot *now, const struct prof__snapshot *before)
{
    struct prof__sample *out = prof__arena_array(&now->arena, now->n + before->n, sizeof(*out));
    size_t i = 0, k = 0, kept = 0;

    if (!out)
        return -ENOMEM;
    while (i < now->n || k < before->n) {
        const struct prof__sample *a = i < now->n ? &now->sample[i] : NULL;
        const struct prof__sample *b = k < before->n ? &before->sample[k] : NULL;

        if (a && b && a->row != b->row) {
            a = a->row < b->row ? a : NULL;
            b = a ? NULL : b;
        }
        kept += difference(a, b, &out[kept]);
        i += a != NULL;
        k += b != NULL;
    }
    now->sample = out;
    now->n = kept;
    return 0;
}

int64_t prof__age_class(int64_t age_s)
{
    static const int64_t bound[] = {
        0,         1,         2,          5,          10,         30,          60,        2 * 60,
        5 * 60,    10 * 60,   30 * 60,    3600,       2 * 3600,   6 * 3600,    12 * 3600, 86400,
        2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400, 90 * 86400, 365 * 86400,
    };
    size_t i = ARRAY_LEN(bound) - 1;

    while (i > 0 && bound[i] > age_s)
        i--;
    return bound[i];
}

void prof__snapshot_free(struct prof__snapshot *s)
{
    struct prof__arena arena = s->arena; /* which may own *s */

    prof__arena_free(&arena);
}
