/*
 * charge.h - recording of a block that a real function has returned.
 *
 * An allocator may implement one door by another, and reach that through us: then the inner hook
 * has already charged the block, and the outer one must leave it at that. So charges() is noted
 * before the call, and compared after it. Context: hook.
 */
#ifndef PROF_HOOKS_CHARGE_H
#define PROF_HOOKS_CHARGE_H

#include "hooks/handed_out.h"
#include "hooks/real.h"
#include "record/collect_heap.h"

/* A block that is due: prof__heap_claim(). No block is larger than PTRDIFF_MAX, but some allocators
 * forget to check what rounding up does to such a size, and return a small one. */
static inline uint64_t prof__charge_claim(size_t size)
{
    if (PROF_LIKELY(!prof__hooks_aside && size <= PTRDIFF_MAX))
        return prof__heap_claim(size);
    prof__heap_undo(size);
    return 0;
}

/* Changes with every charge, that of an inner hook included. */
static inline uint64_t prof__charges(void)
{
    return prof__self.bytes_left + prof__self.samples;
}

/* `p`, from a real function, with prof__charges() from before the call. In line, as the frame that
 * prof__site() asks is to be the hook's. */
static inline __attribute__((always_inline)) void *prof__charge(void *p, size_t size,
                                                                uint64_t before, const void *caller)
{
    if (PROF_LIKELY(p && prof__charges() == before) && prof__heap_due(size)) {
        struct prof__site site = prof__site(caller);
        uint64_t interval = prof__charge_claim(size);

        if (interval)
            prof__heap_sample(p, size, interval, &site);
    }
    return p;
}

/* The same, for a block at an address of its own: not one that has been resized where it is. */
static inline __attribute__((always_inline)) void *
prof__charge_new(void *p, size_t size, uint64_t before, const void *caller)
{
    /* Relaxed: any number of threads may be in here when it begins. */
    if (PROF_UNLIKELY(atomic_load_explicit(&prof__handed_out_watched, memory_order_relaxed)) && p &&
        prof__charges() == before)
        prof__heap_handed_out(p, size);
    return prof__charge(p, size, before, caller);
}

#endif
