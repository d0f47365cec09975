/*
 * wanted.h - where is there still something that nobody has pointed to yet?
 *
 * A pass asks of every word whether it points to a block that it looks for, and a block that has
 * been reached is looked for no more: the second pointer to it says nothing new. So the question
 * is put to a map of bits, one for each page or some of them, that loses its bits as the pass goes
 * on. It stays in the nearest cache, where the tree of ranges.h, which says which block it is, does
 * not: with 100,000 blocks and a quarter of all words pointing among them a pass takes a fourth of
 * the time. The map is too coarse by a page at most: what it lets through the tree decides.
 */
#ifndef PROF_SCAN_WANTED_H
#define PROF_SCAN_WANTED_H

#include "scan/ranges.h"

struct prof__wanted {
    uint64_t low[2], size[2]; /* the spans of the ranges */
    uint32_t base[2];         /* the numbers of their first granules; granule 0 is always empty */
    unsigned shift;           /* a granule has so many bits of the address */
    uint64_t *bits;           /* of each granule: is any range left in it? */
    uint32_t *left;           /* and how many are */
};

/* For the ranges of *r, none of them wanted yet. Memory from `a`: 4.1 bytes for each page that the
 * ranges span, and no more than 4.2 MiB. 0 or -ENOMEM. */
int prof__wanted_build(struct prof__wanted *w, const struct prof__ranges *r, struct prof__arena *a);

/* [start, end), a range or the beginning of one, is wanted; is wanted no more. What was added twice
 * has to be dropped twice. */
void prof__wanted_add(struct prof__wanted *w, uint64_t start, uint64_t end);
void prof__wanted_drop(struct prof__wanted *w, uint64_t start, uint64_t end);

/* The granule that an address is in; 0: it is in neither span. */
static inline uint64_t prof__wanted_granule(const struct prof__wanted *w, uint64_t address)
{
    uint64_t in0 = address - w->low[0], in1 = address - w->low[1];
    uint64_t second = in1 < w->size[1] ? w->base[1] + (in1 >> w->shift) : 0;

    return in0 < w->size[0] ? w->base[0] + (in0 >> w->shift) : second;
}

/* Could this address be in one that is wanted? */
static inline bool prof__wanted_maybe(const struct prof__wanted *w, uint64_t address)
{
    uint64_t granule = prof__wanted_granule(w, address);

    return w->bits[granule / 64] >> granule % 64 & 1;
}

#endif
