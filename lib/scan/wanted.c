/*
 * wanted.c - building the map, and taking bits out of it.
 */
#include "scan/wanted.h"

#include <errno.h>

/* The map of bits is 128 KiB then, which a processor's second cache holds beside the words. */
enum { MAX_GRANULES = 1 << 20, PAGE_SHIFT = 12 };

static uint64_t granules(const struct prof__wanted *w, unsigned span)
{
    return w->size[span] ? ((w->size[span] - 1) >> w->shift) + 1 : 0;
}

int prof__wanted_build(struct prof__wanted *w, const struct prof__ranges *r, struct prof__arena *a)
{
    *w = (struct prof__wanted) { .shift = PAGE_SHIFT };
    for (unsigned i = 0; i < 2; i++) {
        w->low[i] = r->low[i];
        w->size[i] = r->size[i];
    }
    while (granules(w, 0) + granules(w, 1) >= MAX_GRANULES)
        w->shift++;
    size_t n = 1 + granules(w, 0) + granules(w, 1);
    w->base[0] = 1;
    w->base[1] = (uint32_t)(1 + granules(w, 0));
    w->bits = prof__arena_array(a, n / 64 + 1, sizeof(*w->bits));
    w->left = prof__arena_array(a, n, sizeof(*w->left));
    return w->bits && w->left ? 0 : -ENOMEM;
}

void prof__wanted_add(struct prof__wanted *w, uint64_t start, uint64_t end)
{
    for (uint64_t g = prof__wanted_granule(w, start); g <= prof__wanted_granule(w, end - 1); g++) {
        w->left[g]++;
        w->bits[g / 64] |= (uint64_t)1 << g % 64;
    }
}

void prof__wanted_drop(struct prof__wanted *w, uint64_t start, uint64_t end)
{
    for (uint64_t g = prof__wanted_granule(w, start); g <= prof__wanted_granule(w, end - 1); g++)
        if (--w->left[g] == 0)
            w->bits[g / 64] &= ~((uint64_t)1 << g % 64);
}
