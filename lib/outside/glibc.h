/*
 * glibc.h - what glibc's malloc knows of its heap, found without any symbol of libc's.
 *
 * The walk (scan/heap.h) tells chunks that are in use from those that are free by their headers
 * alone. Some that are free look as if they were in use: those that threads and arenas keep at
 * hand. And whether a walk has seen everything only the arenas' own numbers tell. All of that is
 * known by its shape, and each shape is checked: lists must lead over chunks of the right size.
 *
 *   struct malloc_state   of glibc 2.26 and later: 127 pairs of words, nearly all of which point to
 *                         themselves (empty bins); before them `top` and ten fastbins, behind them
 *                         the next arena, and how much the arena has from the system
 *   struct malloc_par     ..., n_mmaps_max = 65536, ..., mmapped_mem, max_mmapped_mem, sbrk_base,
 *                         tcache_bins = 64, ...
 *   tcache                a chunk of 0x290 bytes: 64 counts of 16 bits and 64 lists
 *
 * Lists are "protected" since 2.32: a link at address p is stored xor p >> 12.
 */
#ifndef PROF_OUTSIDE_GLIBC_H
#define PROF_OUTSIDE_GLIBC_H

#include "scan/heap.h"

/* An arena: numbers as malloc_info(3) has them. */
struct prof__glibc_arena {
    uint64_t at;     /* of its malloc_state; 0: not found */
    uint64_t system; /* bytes that it has from the kernel, by its own account; 0: not known */
    /* By the walk, in bytes of chunks, headers included: */
    uint64_t used_bytes, used_blocks;
    uint64_t cached_bytes, cached_blocks; /* kept by threads for the next malloc(): tcache */
    uint64_t fast_bytes, fast_blocks;     /* kept by the arena for that: fastbins */
    uint64_t free_bytes, free_blocks;     /* in its bins */
    uint64_t top_bytes;                   /* never given out, or given back at the end */
    uint64_t trim_bytes;                  /* whole pages in memory of all that is free */
    uint64_t largest_free;
};

struct prof__glibc {
    struct prof__glibc_arena *arena; /* the main one first */
    size_t n_arenas;
    uint32_t *arena_of;                   /* of each region of the heap; UINT32_MAX: mmapped */
    uint64_t mapped_blocks, mapped_bytes; /* mmapped chunks, by the walk */
    bool has_state;                       /* the arenas' own numbers were found */
    bool has_par;                         /* and malloc_par: */
    uint64_t told_mapped_blocks, told_mapped_bytes;
    unsigned caches; /* of threads */
    bool safe_links;
};

/*
 * Look at a heap that was walked: chunks that are kept at hand become free in h's bits. Memory from
 * `a`. 0, -ENOMEM, -ECANCELED.
 */
int prof__glibc_look(struct prof__glibc *g, struct prof__heap *h, const struct prof__plan *plan,
                     struct prof__sweep *s, struct prof__arena *a);

/* Every chunk of a region, by rising address. */
struct prof__chunk {
    uint64_t start, end;
    bool used, top;
};
bool prof__chunk_next(const struct prof__heap_region *g, struct prof__chunk *c);

/* The chunk whose block begins at `address`, in use or not; false: none does. */
bool prof__chunk_at(const struct prof__heap *h, uint64_t address, uint32_t *ret_region,
                    struct prof__chunk *ret);

#endif
