/*
 * stack_table.c - each distinct call stack stored once and named by a 32-bit id.
 *
 * A sample carries an id, not 128 addresses, so rows are small and compare as integers.
 *
 * Chains as base/chain.h has them: nothing is taken out, since a program has some thousands of
 * stacks, and a snapshot may name one long after its last sample. At the memory cap new ones become
 * PROF__PC_LOST, so totals stay right when detail runs out. Context: signal.
 */
#include "table/stack_table.h"

#include <string.h>

#include "base/chain.h"
#include "base/hash.h"
#include "table/eras.h"
#include "table/tables.h"
#include "unwind/stack.h"

enum { HEADS = 1 << 15 };

static _Atomic uint32_t head[HEADS];
static struct prof__chains stacks = { head, HEADS, { .limit = PROF__TABLES_LIMIT / 4 * 3 } };
static _Atomic uint64_t count, lost;

/* The stack of those that could not be kept; no slab is so large as to give this id. */
#define LOST_ID UINT32_MAX
static const union {
    struct prof__stack stack;
    uintptr_t words[sizeof(struct prof__stack) / sizeof(uintptr_t) + 1];
} lost_stack = { .words = { [1] = 1, [2] = PROF__PC_LOST } };

static_assert(offsetof(struct prof__stack, n) == 8 && offsetof(struct prof__stack, pcs) == 16,
              "lost_stack spells out n = 1 and pcs[0]");

struct wanted {
    const uintptr_t *pcs;
    size_t n;
    uint32_t hash;
};

static bool is_wanted(const void *entry, const void *arg)
{
    const struct prof__stack *s = entry;
    const struct wanted *w = arg;

    return s->hash == w->hash && s->n == w->n &&
           memcmp(s->pcs, w->pcs, w->n * sizeof(*w->pcs)) == 0;
}

prof__stack_id prof__stack_table_add(uintptr_t *pcs, size_t n)
{
    prof__eras_mark(pcs, n);
    struct wanted want = { pcs, n, (uint32_t)prof__hash_words(pcs, n) };
    uint32_t first;
    uint32_t ref = prof__chain_find(&stacks, want.hash, is_wanted, &want, &first);
    if (PROF_LIKELY(ref))
        return ref;
    ref = prof__slab_alloc(&stacks.slab, sizeof(struct prof__stack) + n * sizeof(*pcs));
    if (!ref) {
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
        return LOST_ID;
    }
    struct prof__stack *s = prof__slab_at(&stacks.slab, ref);
    s->hash = want.hash;
    s->n = (uint32_t)n;
    memcpy(s->pcs, pcs, n * sizeof(*pcs));
    uint32_t kept = prof__chain_add(&stacks, want.hash, first, ref, is_wanted, &want);
    if (kept == ref)
        atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    return kept;
}

const struct prof__stack *prof__stack_table_get(prof__stack_id id)
{
    return id == LOST_ID ? &lost_stack.stack : prof__slab_at(&stacks.slab, id);
}

void prof__stack_table_set_limit(size_t bytes)
{
    atomic_store_explicit(&stacks.slab.limit, bytes, memory_order_relaxed);
}

size_t prof__stack_table_count(void)
{
    return atomic_load_explicit(&count, memory_order_relaxed);
}

uint64_t prof__stack_table_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}
