/*
 * ranges.c - building the tree.
 */
#include "scan/ranges.h"

#include <errno.h>

static uint32_t *leaf_of(struct prof__ranges *r, struct prof__arena *a, uint64_t address)
{
    uint32_t ***middle = &r->root[address >> 36];

    if (!*middle && !(*middle = prof__arena_array(a, 4096, sizeof(**middle))))
        return NULL;
    uint32_t **leaf = &(*middle)[address >> 24 & 4095];
    if (!*leaf)
        *leaf = prof__arena_array(a, 4096, sizeof(**leaf));
    return *leaf;
}

/* The two spans are what is on either side of the widest gap. */
static void make_spans(struct prof__ranges *r)
{
    size_t split = 0;
    uint64_t widest = 0;

    for (size_t i = 1; i < r->n; i++)
        if (r->start[i] - r->end[i - 1] > widest) {
            widest = r->start[i] - r->end[i - 1];
            split = i;
        }
    r->low[0] = r->start[0];
    r->size[0] = r->end[split ? split - 1 : r->n - 1] - r->start[0];
    if (split) {
        r->low[1] = r->start[split];
        r->size[1] = r->end[r->n - 1] - r->start[split];
    }
}

int prof__ranges_build(struct prof__ranges *r, struct prof__arena *a, uint64_t *start,
                       const uint64_t *end, size_t n)
{
    *r = (struct prof__ranges) { .start = start, .end = end, .n = n };
    start[n] = UINT64_MAX;
    if (n == 0)
        return 0;
    if (!(r->root = prof__arena_array(a, 4096, sizeof(*r->root))))
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        for (uint64_t at = start[i] & ~(uint64_t)4095; at < end[i]; at += 4096) {
            uint32_t *leaf = leaf_of(r, a, at & PROF__ADDRESS_MASK);

            if (!leaf)
                return -ENOMEM;
            uint32_t *entry = &leaf[at >> 12 & 4095];
            if (*entry == 0)
                *entry = (uint32_t)i + 1;
        }
    make_spans(r);
    return 0;
}
