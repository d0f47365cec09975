/*
 * live_table.h - sampled blocks by address, and the filters that every free asks first.
 */
#ifndef PROF_TABLE_LIVE_TABLE_H
#define PROF_TABLE_LIVE_TABLE_H

#include "arch/instructions.h"
#include "base/compiler.h"

/* What was added to a row for one block, so that freeing it takes back exactly that. */
struct prof__live {
    uint32_t row;     /* rows.h */
    uint32_t birth_s; /* monotonic clock, seconds */
    int64_t objects;  /* fixed point, as in the row */
    int64_t bytes;
};

/* The table is in segments of slots, the layout of which is live_table.c's. */
enum { PROF__LIVE_SEGMENTS = 12 };
struct prof__live_segment;
extern _Atomic(struct prof__live_segment *) prof__live_segments[PROF__LIVE_SEGMENTS];

/* A key is an address, or one with this bit set for a block fed through prof_heap_alloc(), which
 * may lie at the start of a malloced one. */
#define PROF__LIVE_FED ((uintptr_t)1 << 62)

/*
 * How many sampled blocks start in a page of 4 KiB (address bits 12 to 31), and how many in a place
 * of 16 bytes (bits 4 to 23). The first is asked by every free: 64 bytes of it cover 256 KiB of
 * heap. The second tells apart what is on one page, so that a block beside a sampled one for all
 * its life costs next to nothing. A byte, not a bit, because then it is flag and counter in one and
 * there is no moment between the two. At 255 it has lost count and stays, so that blocks which it
 * covers are looked up in vain: that takes 255 at once in one place.
 */
extern PROF_SHARED _Atomic uint8_t prof__page_filter[1 << 20], prof__place_filter[1 << 20];

static inline bool prof__live_maybe(uintptr_t address)
{
    /* Relaxed: whoever frees a block got it from somebody who saw malloc() return. */
    return prof__is_set_8(&prof__page_filter[(uint32_t)address >> 12]);
}

/* What to ask when that is so. */
static inline bool prof__live_maybe_here(uintptr_t address)
{
    return atomic_load_explicit(&prof__place_filter[(address >> 4) % (1 << 20)],
                                memory_order_relaxed) != 0;
}

/* Mark the place of an address for good. Context: hook. */
static inline void prof__live_mark(uintptr_t address)
{
    /* Relaxed: as above. */
    atomic_store_explicit(&prof__place_filter[(address >> 4) % (1 << 20)], 255,
                          memory_order_relaxed);
    atomic_store_explicit(&prof__page_filter[(uint32_t)address >> 12], 255, memory_order_relaxed);
}

/* Remember a block. One that was left under the same key, whose free was not seen, is moved to
 * *ret_stale; else its row becomes 0. 0 or -ENOMEM. Takes no lock. Context: hook, signal. */
int prof__live_add(uintptr_t key, const struct prof__live *live, struct prof__live *ret_stale);

/* Take a block out. False: it was not there. Takes no lock. Context: hook, signal. */
bool prof__live_remove(uintptr_t key, struct prof__live *ret_live);

/* Take out, and give to `ended`, every block that starts in [start, start + size), fed ones too:
 * that memory has been handed out anew. How many. Of more than 1 GiB only the first is looked
 * through. Context: hook. */
size_t prof__live_sweep(uintptr_t start, size_t size, void (*ended)(const struct prof__live *live));

/* Call `each` for every live block, in no order; what comes or goes meanwhile may be missed. */
int prof__live_each(int (*each)(uintptr_t key, const struct prof__live *live, void *arg),
                    void *arg);

size_t prof__live_count(void);

/* Call `each` for all memory of the table. Context: signal. */
void prof__live_memory(void (*each)(const void *start, size_t size, void *arg), void *arg);

/* The table of a process that has ended, for who has its memory. */
struct prof__live_elsewhere {
    size_t (*read)(void *arg, uint64_t from, void *to, size_t n); /* how many of the bytes */
    bool (*is_sane)(void *arg, uintptr_t key, const struct prof__live *live);
    void (*absent)(void *arg, uint64_t bytes); /* of the table, that are not there */
    void *arg;
};

/* Add the blocks of the table whose segments are named at `at`. 0 or -ENOMEM. */
int prof__live_adopt(uint64_t at, const struct prof__live_elsewhere *e);

#endif
