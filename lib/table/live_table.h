/*
 * live_table.h - sampled blocks by address, and the page filter that every free asks first.
 */
#ifndef PROF_TABLE_LIVE_TABLE_H
#define PROF_TABLE_LIVE_TABLE_H

#include "base/compiler.h"

/* What was added to a row for one block, so that freeing it takes back exactly that. */
struct prof__live {
    uint32_t row;     /* rows.h */
    uint32_t birth_s; /* monotonic clock, seconds */
    int64_t objects;  /* fixed point, as in the row */
    int64_t bytes;
};

/* A key is an address, or one with this bit set for a block fed through prof_heap_alloc(), which
 * may lie at the start of a malloced one. */
#define PROF__LIVE_FED ((uintptr_t)1 << 62)

/*
 * One byte for each 4 KiB page (address bits 12 to 31): how many sampled blocks start there. A
 * byte, not a bit, because then it is flag and counter in one and there is no moment between the
 * two; it sticks at 255. 64 bytes cover 256 KiB of heap.
 */
extern PROF_SHARED _Atomic uint8_t prof__page_filter[1 << 20];

static inline bool prof__live_maybe(uintptr_t address)
{
    bool set;

    /* A relaxed load: whoever frees a block got it from somebody who saw malloc() return. Spelled
     * out, because gcc does not compare an atomic in memory but loads it first. */
    __asm__ volatile("cmpb $0, %[page]"
                     : "=@ccne"(set)
                     : [page] "m"(prof__page_filter[(uint32_t)address >> 12]));
    return set;
}

/* Remember a block. An entry left under the same key, whose free was not seen, is moved to
 * *ret_stale and 1 is returned. Else 0, or -ENOMEM. Takes no lock. Context: hook, signal. */
int prof__live_add(uintptr_t key, const struct prof__live *live, struct prof__live *ret_stale);

/* Take a block out. False: it was not there. Takes no lock. Context: hook, signal. */
bool prof__live_remove(uintptr_t key, struct prof__live *ret_live);

/* Call `each` for every live block, in no order; what comes or goes meanwhile may be missed. */
int prof__live_each(int (*each)(uintptr_t key, const struct prof__live *live, void *arg),
                    void *arg);

size_t prof__live_count(void);

#endif
