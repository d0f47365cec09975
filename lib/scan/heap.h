/*
 * heap.h - every block of glibc's heap, found by the headers of its chunks.
 *
 * No symbol of libc's is needed, and no layout but that of a chunk and the first words of a heap:
 * two words before each block, its size and three flags, as in glibc's malloc.c ("A chunk of
 * memory"). The walk checks itself: it must end where the heap does, and it must come by all the
 * sampled blocks, whose addresses are known, if there are any.
 *
 *   region   the main heap, a heap of another arena, or one mmapped chunk
 *   unit     16 bytes of a region
 *
 * Two bits are kept for each unit, in two maps. `starts` has the first unit of each chunk. A chunk
 * has two units at least, and `marks` of these two say
 *
 *   0 0   in use, not reached
 *   1 0   reached, and still to be read
 *   1 1   reached and read
 *   0 1   free
 */
#ifndef PROF_SCAN_HEAP_H
#define PROF_SCAN_HEAP_H

#include "scan/plan.h"
#include "scan/ranges.h"
#include "scan/sweep.h"
#include "scan/targets.h"

enum { PROF__UNIT = 16, PROF__CHUNK_HEADER = 16, PROF__WINDOW = 64 * 1024 };

struct prof__heap_region {
    uint64_t start, end; /* of chunks: the first begins at start; multiples of 16. The end is as
                            far as the heap may grow meanwhile; what is there now is the top */
    uint64_t walk_end;   /* where it ended when the mappings were taken */
    uint64_t head;       /* before them is what describes the heap, from here on; 0: nothing is */
    bool big;            /* one mmapped chunk, no bits */
    bool certain;        /* big: a sampled block, or may be memory that the program has mapped */
    bool marked, read;   /* big: as the bits */
    bool other_arena;
    uint32_t first_window;
    uint64_t *starts, *marks;
};

struct prof__heap {
    struct prof__heap_region *region; /* by rising address */
    size_t n;
    struct prof__ranges ranges; /* of the same order */
    uint32_t n_windows;

    size_t chunks, free_chunks;
    uint64_t bytes, garbled_bytes; /* of all regions; of those, that made no sense */
    size_t resyncs, missed;        /* sampled blocks that the walk did not come by */
    struct prof__image_span *garbled;
    size_t n_garbled;
    const char *why; /* it is of no use; NULL: it is */
};

/*
 * Find and walk all heaps. Targets that a chunk begins for get PROF__TARGET_WALKED. Regions are
 * excluded from `plan`, whose second half comes after this. heap->why tells if the walk has failed,
 * and then nothing is excluded and the engine must not be used. Memory from `a`: a thirtieth of the
 * heap, with what the flood takes. 0, -ECANCELED or -ENOMEM.
 */
int prof__heap_walk(struct prof__heap *h, struct prof__plan *plan, struct prof__targets *t,
                    struct prof__sweep *s, struct prof__arena *a);

/* The two words before a block: false if no chunk begins so. */
enum { PROF__PREV_INUSE = 1 };
bool prof__chunk_parse(const uint64_t word[2], bool other_arena, uint64_t *ret_size,
                       unsigned *ret_flags);

static inline bool prof__bit(const uint64_t *bits, uint64_t i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static inline void prof__bit_set(uint64_t *bits, uint64_t i)
{
    bits[i / 64] |= (uint64_t)1 << (i % 64);
}

static inline void prof__bit_clear(uint64_t *bits, uint64_t i)
{
    bits[i / 64] &= ~((uint64_t)1 << (i % 64));
}

/* The last chunk that begins at or before that unit; UINT64_MAX: none does. */
static inline uint64_t prof__chunk_of(const struct prof__heap_region *r, uint64_t unit)
{
    uint64_t i = unit / 64;
    uint64_t word = r->starts[i] & (~(uint64_t)0 >> (63 - unit % 64));

    while (word == 0) {
        if (i == 0)
            return UINT64_MAX;
        word = r->starts[--i];
    }
    return i * 64 + 63 - (uint64_t)__builtin_clzll(word);
}

/* The first that begins after that unit; the region's end if none does. */
static inline uint64_t prof__chunk_after(const struct prof__heap_region *r, uint64_t unit)
{
    uint64_t n = (r->end - r->start) / PROF__UNIT;

    if (++unit >= n)
        return n;
    uint64_t i = unit / 64, last = (n - 1) / 64;
    uint64_t word = r->starts[i] & ~(uint64_t)0 << unit % 64;
    while (word == 0) {
        if (i == last)
            return n;
        word = r->starts[++i];
    }
    return PROF_MIN(n, i * 64 + (uint64_t)__builtin_ctzll(word));
}

#endif
