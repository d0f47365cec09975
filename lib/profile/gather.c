/*
 * gather.c - rows, kinds and ages, found by hash.
 */
#include "profile/gather.h"

#include <errno.h>

#include "base/clock.h"
#include "base/hash.h"
#include "unwind/stack.h"

int prof__gather_start(struct prof__gather *g, struct prof__snapshot *to, size_t room)
{
    prof__stack_code_loaded();
    *to = (struct prof__snapshot) { .arena = to->arena };
    to->wall_ns = prof__wall_ns();
    to->monotonic_ns = prof__monotonic_ns();
    *g = (struct prof__gather) { .to = to, .room = room, .n_slots = 64 };
    while (g->n_slots < room * 2)
        g->n_slots *= 2;
    to->sample = prof__arena_array(&to->arena, room + 1, sizeof(*to->sample));
    g->slot = prof__arena_array(&to->arena, g->n_slots, sizeof(*g->slot));
    return to->sample && g->slot ? 0 : -ENOMEM;
}

bool prof__gather_add(struct prof__gather *g, uint32_t row, const char *kind, int64_t age_s,
                      int64_t objects, int64_t bytes)
{
    int64_t age = prof__age_class(age_s);
    uint64_t hash = prof__hash_more(prof__hash(row ^ (uint64_t)age << 32), (uintptr_t)kind);
    size_t at = hash & (g->n_slots - 1);

    for (; g->slot[at]; at = (at + 1) & (g->n_slots - 1)) {
        struct prof__sample *s = &g->to->sample[g->slot[at] - 1];

        if (s->row == row && s->kind == kind && s->age_s == age) {
            s->raw.value[0] += (uint64_t)objects;
            s->raw.value[1] += (uint64_t)bytes;
            return true;
        }
    }
    if (g->to->n == g->room)
        return false;
    const struct prof__row *r = prof__rows_at(row);
    g->to->sample[g->to->n] = (struct prof__sample) {
        .row = row,
        .stack = atomic_load_explicit(&r->stack, memory_order_relaxed),
        .labels = r->labels,
        .size = r->size,
        .kind = kind,
        .has_age = true,
        .age_s = age,
        .raw.value = { (uint64_t)objects, (uint64_t)bytes },
    };
    g->slot[at] = (uint32_t)++g->to->n;
    return true;
}
