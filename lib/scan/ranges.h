/*
 * ranges.h - which of many stretches of memory does a word point into?
 *
 * Asked for every word of the process, so it has to be quick when the answer is none, and when it
 * is one of a hundred thousand. Pages of 4 KiB are looked up in a tree of three levels, 12 bits of
 * the address each, whose leaves name the first range that lies in the page:
 *
 *   root[bits 36..47] -> middle[bits 24..35] -> leaf[bits 12..23] -> range, and those that follow
 *
 * A leaf is 16 KiB and covers 16 MiB of address space, and there are leaves only where there are
 * ranges: a thousandth of what they span. Before the tree two comparisons turn away what is in
 * neither of the two spans that the ranges lie in: a program's heap is at one end of the address
 * space, and what it maps at the other.
 */
#ifndef PROF_SCAN_RANGES_H
#define PROF_SCAN_RANGES_H

#include "base/arena.h"
#include "base/compiler.h"

#define PROF__ADDRESS_MASK (((uint64_t)1 << 48) - 1)
#define PROF__NO_RANGE     UINT32_MAX

struct prof__ranges {
    const uint64_t *start; /* rising; start[n] is UINT64_MAX */
    const uint64_t *end;
    size_t n;
    uint64_t low[2], size[2]; /* the spans; the second may be empty */
    uint32_t ***root;         /* NULL: there are no ranges */
};

/* Index n ranges that do not overlap, by rising address. `start` has room for a sentinel at [n].
 * Both arrays are kept, not copied; the tree lives in `a`. 0 or -ENOMEM. */
int prof__ranges_build(struct prof__ranges *r, struct prof__arena *a, uint64_t *start,
                       const uint64_t *end, size_t n);

/* Could this address be in one of them? */
static inline bool prof__ranges_maybe(const struct prof__ranges *r, uint64_t address)
{
    return (address - r->low[0] < r->size[0]) | (address - r->low[1] < r->size[1]);
}

/* The range that `address` (48 bits) is in, or PROF__NO_RANGE. */
static inline uint32_t prof__ranges_find(const struct prof__ranges *r, uint64_t address)
{
    uint32_t *const *middle = r->root ? r->root[address >> 36] : NULL;
    const uint32_t *leaf = middle ? middle[address >> 24 & 4095] : NULL;
    uint32_t i = leaf ? leaf[address >> 12 & 4095] : 0;

    if (i == 0)
        return PROF__NO_RANGE;
    for (i--; r->start[i] <= address; i++)
        if (address < r->end[i])
            return i;
    return PROF__NO_RANGE;
}

/*
 * A word as an address: the low 48 bits, since programs keep tags above them. Words that are far
 * more often floating-point numbers than tagged pointers are not taken for such: 2^-8 to 2^16.
 */
static inline bool prof__word_is_number(uint64_t word)
{
    uint64_t exponent = word >> 52 & 0x7ff;

    return exponent >= 0x3f7 && exponent <= 0x40f;
}

#endif
