/*
 * stack_table.c - each distinct call stack stored once and named by a 32-bit id.
 *
 * A sample carries an id, not 128 addresses, so rows are small and compare as integers.
 *
 *   head[hash mod 2^15] -> struct stack -> struct stack ...   in an append-only slab
 *
 * Chains are extended at the head by compare-and-swap and never shortened: a program has some
 * thousands of stacks, and a snapshot may name one long after its last sample. At the memory cap
 * new ones become PROF__PC_LOST, so totals stay right when detail runs out. Context: signal.
 */
#include "table/stack_table.h"

#include <string.h>

#include "base/arena.h"
#include "base/random.h"
#include "table/tables.h"
#include "unwind/stack.h"

enum { HEADS = 1 << 15 };

static _Atomic uint32_t head[HEADS];
static struct prof__slab slab = { .limit = PROF__TABLES_LIMIT / 4 * 3 };
static _Atomic uint64_t count, lost;
static _Atomic uint32_t unload_epoch;
static _Atomic uintptr_t gone_low, gone_high; /* around all code ever unloaded; 0: none */

#define ANY_EPOCH UINT64_MAX

/* The stack of those that could not be kept; no slab is so large as to give this id. */
#define LOST_ID UINT32_MAX
static const union {
    struct prof__stack stack;
    uintptr_t words[sizeof(struct prof__stack) / sizeof(uintptr_t) + 1];
} lost_stack = { .words = { [1] = (uintptr_t)1 << 32, [2] = PROF__PC_LOST } };

static_assert(offsetof(struct prof__stack, n) == 12 && offsetof(struct prof__stack, pcs) == 16,
              "lost_stack spells out n = 1 and pcs[0]");

static uint32_t hash_pcs(const uintptr_t *pcs, size_t n)
{
    uint64_t h = n;

    for (size_t i = 0; i < n; i++)
        h = (h ^ pcs[i]) * 0x9e3779b97f4a7c15u + (h >> 29);
    return (uint32_t)(prof__mix64(h) >> 32);
}

/* Might these addresses have meant other code in an earlier epoch? */
static bool is_ambiguous(const uintptr_t *pcs, size_t n)
{
    uintptr_t low = atomic_load_explicit(&gone_low, memory_order_relaxed);
    uintptr_t size = atomic_load_explicit(&gone_high, memory_order_relaxed) - low;

    if (PROF_LIKELY(low == 0))
        return false;
    for (size_t i = 0; i < n; i++)
        if (pcs[i] - low < size)
            return true;
    return false;
}

/* From `ref` down its chain to `end`, not included. `epoch` is ANY_EPOCH where it does not matter.
 */
static uint32_t find(uint32_t ref, uint32_t end, uint32_t hash, uint64_t epoch,
                     const uintptr_t *pcs, size_t n)
{
    while (ref != end) {
        const struct prof__stack *s = prof__slab_at(&slab, ref);

        if (s->hash == hash && s->n == n && (epoch == ANY_EPOCH || epoch == s->epoch) &&
            memcmp(s->pcs, pcs, n * sizeof(*pcs)) == 0)
            break;
        ref = s->next;
    }
    return ref;
}

prof__stack_id prof__stack_table_add(const uintptr_t *pcs, size_t n)
{
    uint32_t hash = hash_pcs(pcs, n);
    uint64_t epoch = ANY_EPOCH;

    if (PROF_UNLIKELY(is_ambiguous(pcs, n))) {
        epoch = prof__unload_epoch();
        hash ^= (uint32_t)prof__mix64(epoch); /* or one chain would hold them all */
    }
    _Atomic uint32_t *h = &head[hash % HEADS];
    /* Acquire: the stacks on the chain are seen whole; pairs with the release below. */
    uint32_t first = atomic_load_explicit(h, memory_order_acquire);
    uint32_t ref = find(first, 0, hash, epoch, pcs, n);

    if (PROF_LIKELY(ref))
        return ref;
    ref = prof__slab_alloc(&slab, sizeof(struct prof__stack) + n * sizeof(*pcs));
    if (!ref) {
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
        return LOST_ID;
    }
    struct prof__stack *s = prof__slab_at(&slab, ref);
    s->hash = hash;
    s->epoch = epoch == ANY_EPOCH ? prof__unload_epoch() : (uint32_t)epoch;
    s->n = (uint32_t)n;
    memcpy(s->pcs, pcs, n * sizeof(*pcs));
    for (;;) {
        uint32_t seen = first;

        s->next = first;
        if (atomic_compare_exchange_strong_explicit(h, &seen, ref, memory_order_release,
                                                    memory_order_acquire)) {
            atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
            return ref;
        }
        uint32_t twin = find(seen, first, hash, epoch, pcs, n);
        if (twin != first)
            return twin; /* another thread was faster; our copy stays unused */
        first = seen;
    }
}

const struct prof__stack *prof__stack_table_get(prof__stack_id id)
{
    return id == LOST_ID ? &lost_stack.stack : prof__slab_at(&slab, id);
}

void prof__stack_table_set_limit(size_t bytes)
{
    atomic_store_explicit(&slab.limit, bytes, memory_order_relaxed);
}

uint32_t prof__unload_epoch(void)
{
    return atomic_load_explicit(&unload_epoch, memory_order_relaxed);
}

void prof__unload_epoch_next(uintptr_t low, uintptr_t high)
{
    uintptr_t was = atomic_load_explicit(&gone_low, memory_order_relaxed);

    /* One thread at a time: under the lock of the list of modules. Relaxed: a sample taken at this
     * moment may count as one of before. */
    if (high > atomic_load_explicit(&gone_high, memory_order_relaxed))
        atomic_store_explicit(&gone_high, high, memory_order_relaxed);
    if (was == 0 || low < was)
        atomic_store_explicit(&gone_low, low, memory_order_relaxed);
    atomic_fetch_add_explicit(&unload_epoch, 1, memory_order_relaxed);
}

size_t prof__stack_table_count(void)
{
    return atomic_load_explicit(&count, memory_order_relaxed);
}

uint64_t prof__stack_table_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}
