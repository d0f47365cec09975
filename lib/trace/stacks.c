/*
 * stacks.c - each distinct stack once, through the same look-up as every profile's.
 */
#include "trace/stacks.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "profile/report.h"

static const struct prof_profile trace_profile = {
    .name = "trace",
    .n_values = 1,
    .value_type = { { "events", "count" } },
    .period_type = { "events", "count" },
};

static bool has_stack(const struct prof__item *i)
{
    return i->stack && (i->kind == PROF__ITEM_WAIT || i->kind == PROF__ITEM_RELEASE ||
                        i->kind == PROF__ITEM_CPU || i->kind == PROF__ITEM_IO);
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

int prof__trace_stacks_load(const struct prof__timeline *t, bool no_symbols, struct prof__arena *a,
                            struct prof__trace_stacks *ret)
{
    struct prof__report_options options = { .no_symbols = no_symbols, .one_by_one = true };
    uint32_t *id = prof__arena_array(a, t->n_items + 1, sizeof(*id));
    struct prof__snapshot s = { .wall_ns = prof__wall_ns() };
    size_t n = 0, distinct = 0;

    if (!id)
        return -ENOMEM;
    for (size_t i = 0; i < t->n_items; i++)
        if (has_stack(&t->item[i]))
            id[n++] = t->item[i].stack;
    qsort(id, n, sizeof(*id), by_id);
    for (size_t i = 0; i < n; i++)
        if (distinct == 0 || id[distinct - 1] != id[i])
            id[distinct++] = id[i];
    s.sample = prof__arena_array(a, distinct + 1, sizeof(*s.sample));
    if (!s.sample)
        return -ENOMEM;
    s.n = distinct;
    for (size_t i = 0; i < distinct; i++) {
        s.sample[i].stack = id[i];
        s.sample[i].raw.value[0] = 1;
    }
    ret->id = id;
    ret->n = distinct;
    return prof__report_build(&trace_profile, &s, &options, a, &ret->report);
}

size_t prof__trace_stacks_find(const struct prof__trace_stacks *s, uint32_t id)
{
    const uint32_t *at = id ? bsearch(&id, s->id, s->n, sizeof(*s->id), by_id) : NULL;

    return at ? (size_t)(at - s->id) : s->n;
}
