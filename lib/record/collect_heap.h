/*
 * collect_heap.h - what hooks and the feeding API tell of the heap, and what is asked about it.
 *
 * The inline parts are the hot path: a few instructions, no call. Everything rare is behind one
 * branch. Context: hook; of what reading asks, signal.
 */
#ifndef PROF_RECORD_COLLECT_HEAP_H
#define PROF_RECORD_COLLECT_HEAP_H

#include "arch/instructions.h"
#include "arch/site.h"
#include "base/compiler.h"
#include "base/thread.h"
#include "table/live_table.h"

/* What an allocation counts for: 0 bytes as 1. */
static inline uint64_t prof__heap_charge(size_t size)
{
    return size ? size : 1;
}

/*
 * Charge an allocation of `size` bytes to this thread. True: it is due, and prof__heap_claim() or
 * prof__heap_undo() must be called.
 *
 * "Due" is charge >= bytes_left, so a new thread, a rate change and a due sample are one branch.
 */
static inline bool prof__heap_due(size_t size)
{
    return PROF_UNLIKELY(prof__take_charge(&prof__self.bytes_left, size));
}

/* Take off the charge of a block that was due. The handler of a signal may have charged more than
 * was left meanwhile: then some block is due since, and that will be the next one. */
static inline void prof__heap_undo(size_t size)
{
    prof__self.bytes_left += prof__heap_charge(size);
    if (PROF_UNLIKELY(prof__self.bytes_left > INT64_MAX))
        prof__self.bytes_left = 0;
}

/*
 * Is a block that was due sampled? Then the rate at which it is, else 0. Once the block is there
 * prof__heap_sample() is called with that; not if the allocation failed. In between others may be
 * charged and sampled, of which an allocator makes this one. errno, MXCSR and x87 state are kept.
 */
PROF_SHARED PROF_COLD uint64_t prof__heap_claim(size_t size);

/* The block `p`, for which prof__heap_claim() gave `interval`, exists. `site` is where the hook was
 * called. errno, MXCSR and x87 state are kept. */
PROF_SHARED PROF_COLD void prof__heap_sample(const void *p, size_t size, uint64_t interval,
                                             const struct prof__site *site);

/* Ask before freeing: might this be a sampled block, or one beside it? */
static inline bool prof__heap_is_marked(const void *p)
{
    return PROF_UNLIKELY(prof__live_maybe((uintptr_t)p));
}

/* And if so: might it be that block? */
static inline bool prof__heap_is_sampled(const void *p)
{
    return prof__live_maybe_here((uintptr_t)p);
}

/* Forget `p`, before the real free: once libc has it back, another thread may be given the same
 * address. */
PROF_SHARED PROF_COLD void prof__heap_forget(const void *p);

/* For realloc: take the record of `p` out before the call; put it back if the call failed, else
 * count it as freed. ret_live->row is 0 when there was none. */
PROF_SHARED PROF_COLD void prof__heap_take(const void *p, struct prof__live *ret_live);
PROF_SHARED PROF_COLD void prof__heap_put_back(const void *p, const struct prof__live *live);
PROF_SHARED PROF_COLD void prof__heap_count_free(const struct prof__live *live);

/* Have `fn` called, once, when sampled blocks in use have grown by so many bytes from now on; NULL:
 * not any more. By whoever allocates, so in a hook, where it may do little. There is one such.
 * Context: signal. */
void prof__heap_set_alarm(uint64_t bytes, void (*fn)(void));

/*
 * Some of a program's frees may go by the hooks: those of a library loaded with RTLD_DEEPBIND, or
 * through an allocator's own door. When it has been seen that one did, by a sampled block at an
 * address that has a record, the hooks are told to begin looking at every block that they hand out.
 */
typedef void prof__heap_watch_fn(void);
PROF_SHARED void prof__heap_can_watch(prof__heap_watch_fn *begin);

PROF_SHARED PROF_COLD void prof__heap_handed_out_slow(const void *p, size_t size);

/* The allocator has handed out this block: what was recorded of that memory is over. */
static inline void prof__heap_handed_out(const void *p, size_t size)
{
    /* Most blocks lie on one page or two; larger ones are rare enough to be looked through. */
    if (PROF_UNLIKELY(prof__live_maybe((uintptr_t)p) || size > 4096 ||
                      prof__live_maybe((uintptr_t)p + size)))
        prof__heap_handed_out_slow(p, size);
}

/* --- what reading asks ---------------------------------------------------------------------- */

/* The heap interval now in force; 0 is off. */
uint64_t prof__heap_rate(void);
extern _Atomic uint64_t prof__heap_interval; /* for root.h */

/* Set it; returns the previous one. */
uint64_t prof__heap_rate_set(uint64_t interval);

/* Live blocks not remembered for want of memory; sampled blocks freed where no hook saw it; and
 * prof_heap_free() of blocks that were not there, which only shows at rate 1. */
uint64_t prof__heap_lost(void);
uint64_t prof__heap_unseen_frees(void);
uint64_t prof__heap_foreign_frees(void);

#endif
