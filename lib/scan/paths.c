/*
 * paths.c - a tree in an array, its nodes found by hash of parent and kind.
 */
#include "scan/paths.h"

#include <errno.h>

#include "base/hash.h"

static bool same_kind(const struct prof__kind *a, const struct prof__kind *b)
{
    return a->of == b->of && a->extra == b->extra && a->who == b->who && a->detail == b->detail;
}

int prof__paths_init(struct prof__paths *p, struct prof__arena *a, uint32_t room,
                     uint32_t depth_max)
{
    *p = (struct prof__paths) { .n = 1, .room = room, .depth_max = depth_max, .n_slots = 64 };
    while (p->n_slots < room * 2)
        p->n_slots *= 2;
    p->path = prof__arena_array(a, room, sizeof(*p->path));
    p->slot = prof__arena_array(a, p->n_slots, sizeof(*p->slot));
    return p->path && p->slot ? 0 : -ENOMEM;
}

uint32_t prof__paths_add(struct prof__paths *p, uint32_t parent, const struct prof__kind *kind)
{
    /* On the way already? */
    for (uint32_t i = parent; i; i = p->path[i].parent)
        if (same_kind(&p->path[i].kind, kind)) {
            p->path[i].blocks++;
            return i;
        }
    uint64_t hash = prof__hash(kind->detail ^ (uint64_t)kind->who << 32 ^ (uint64_t)kind->of << 60 ^
                               (uint64_t)kind->extra << 52);
    hash = prof__hash_more(hash, parent);
    for (uint32_t at = (uint32_t)hash & (p->n_slots - 1);; at = (at + 1) & (p->n_slots - 1)) {
        uint32_t i = p->slot[at];

        if (i && p->path[i].parent == parent && same_kind(&p->path[i].kind, kind)) {
            p->path[i].blocks++;
            return i;
        }
        if (i)
            continue;
        if (p->n == p->room || (parent && p->path[parent].depth >= p->depth_max)) {
            p->lost++;
            return parent;
        }
        p->slot[at] = p->n;
        p->path[p->n] = (struct prof__path) {
            .parent = parent,
            .depth = parent ? p->path[parent].depth + 1 : 1,
            .kind = *kind,
            .blocks = 1,
        };
        return p->n++;
    }
}

uint32_t prof__paths_common(const struct prof__paths *p, uint32_t a, uint32_t b)
{
    while (a != b) {
        if (a == 0 || b == 0)
            return 0;
        if (p->path[a].depth >= p->path[b].depth)
            a = p->path[a].parent;
        else
            b = p->path[b].parent;
    }
    return a;
}
