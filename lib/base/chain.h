/*
 * chain.h - hash tables of which nothing is taken out, but for all at once: chains of entries in a
 * slab.
 *
 *   head[hash mod heads] -> entry -> entry ...
 *
 * Looked up and added to without a lock. An entry is made complete, then put in front of its chain
 * by compare-and-swap; who is too late looks at what has come meanwhile, and if that is the same
 * takes it, and leaves its own unused. What is published is never changed, so a reader needs
 * nothing but the head.
 *
 * An entry begins with the reference of the next one in its chain; its user says with `is` whether
 * it is the wanted one. All inlined, with `is`. Context of all of it: signal.
 */
#ifndef PROF_BASE_CHAIN_H
#define PROF_BASE_CHAIN_H

#include "base/arena.h"

struct prof__chains {
    _Atomic uint32_t *head;
    uint32_t heads; /* a power of two */
    struct prof__slab slab;
};

typedef bool prof__chain_is(const void *entry, const void *want);

#define PROF__CHAIN_INLINE static inline __attribute__((always_inline))

/* Take all of it back; as prof__slab_empty(). */
static inline void prof__chains_empty(struct prof__chains *c)
{
    for (uint32_t i = 0; i < c->heads; i++)
        atomic_store_explicit(&c->head[i], 0, memory_order_relaxed);
    prof__slab_empty(&c->slab);
}

/* From `ref` down to `end`, which is what comes back when it is not found. */
PROF__CHAIN_INLINE uint32_t prof__chain_search(struct prof__chains *c, uint32_t ref, uint32_t end,
                                               prof__chain_is *is, const void *want)
{
    while (ref != end) {
        const uint32_t *entry = prof__slab_at(&c->slab, ref);

        if (is(entry, want))
            break;
        ref = *entry;
    }
    return ref;
}

/* The reference of the wanted one, or 0; then *ret_first is what prof__chain_add() wants. */
PROF__CHAIN_INLINE uint32_t prof__chain_find(struct prof__chains *c, uint32_t hash,
                                             prof__chain_is *is, const void *want,
                                             uint32_t *ret_first)
{
    /* Acquire: what is on the chain is seen whole; pairs with the release below. */
    *ret_first = atomic_load_explicit(&c->head[hash & (c->heads - 1)], memory_order_acquire);
    return prof__chain_search(c, *ret_first, 0, is, want);
}

/* Add the complete entry `ref`, which was not in the chain as far as `first`. Returns its
 * reference, or that of another thread's that is the same and came first. */
PROF__CHAIN_INLINE uint32_t prof__chain_add(struct prof__chains *c, uint32_t hash, uint32_t first,
                                            uint32_t ref, prof__chain_is *is, const void *want)
{
    _Atomic uint32_t *head = &c->head[hash & (c->heads - 1)];
    uint32_t *next = prof__slab_at(&c->slab, ref);

    for (;;) {
        uint32_t seen = first;

        *next = first;
        if (atomic_compare_exchange_strong_explicit(head, &seen, ref, memory_order_release,
                                                    memory_order_acquire))
            return ref;
        uint32_t twin = prof__chain_search(c, seen, first, is, want);
        if (twin != first)
            return twin;
        first = seen;
    }
}

#endif
