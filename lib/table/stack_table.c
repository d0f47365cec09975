/*
 * stack_table.c - each distinct call stack stored once and named by a 32-bit id.
 *
 * A sample carries an id, not 128 addresses, so rows are small and compare as integers.
 *
 * Chains as base/chain.h has them, for each store (tables.h): nothing is taken out, since a program
 * has some thousands of stacks, and a snapshot may name one long after its last sample. At the
 * memory cap new ones become PROF__PC_LOST, so totals stay right when detail runs out.
 *
 *   id = store << PROF__STORE_SHIFT | reference in its slab
 *
 * Context: signal.
 */
#include "table/stack_table.h"

#include <string.h>

#include "base/chain.h"
#include "base/hash.h"
#include "table/eras.h"
#include "table/root.h"
#include "table/tables.h"
#include "unwind/stack.h"

enum { HEADS = 1 << 15, CPU_HEADS = 1 << 13, THREADS_HEADS = 1 << 12 };

/* Of the memory for stacks, in twelfths. */
enum { KEPT_PART = 8, CPU_PART = 3, THREADS_PART = 1, PARTS = 12 };
#define PART_OF(bytes, part) ((bytes) / PARTS * (part))
#define LIMIT(part)                                        \
    {                                                      \
        .limit = PART_OF(PROF__TABLES_LIMIT / 4 * 3, part) \
    }

static _Atomic uint32_t head[HEADS], cpu_head[CPU_HEADS], threads_head[THREADS_HEADS];
struct prof__chains prof__stack_stores[PROF__STORES] = {
    [PROF__STORE_KEPT] = { head, HEADS, LIMIT(KEPT_PART) },
    [PROF__STORE_CPU] = { cpu_head, CPU_HEADS, LIMIT(CPU_PART) },
    [PROF__STORE_THREADS] = { threads_head, THREADS_HEADS, LIMIT(THREADS_PART) },
};
static_assert(PROF__STORES < 15, "no id is LOST_ID");

static _Atomic uint64_t count[PROF__STORES], lost;

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

prof__stack_id prof__stack_table_add(enum prof__store store, uintptr_t *pcs, size_t n)
{
    struct prof__chains *c = &prof__stack_stores[store];
    uint32_t id = (uint32_t)store << PROF__STORE_SHIFT;

    prof__eras_mark(pcs, n);
    struct wanted want = { pcs, n, (uint32_t)prof__hash_words(pcs, n) };
    uint32_t first;
    uint32_t ref = prof__chain_find(c, want.hash, is_wanted, &want, &first);
    if (PROF_LIKELY(ref))
        return id | ref;
    ref = prof__slab_alloc(&c->slab, sizeof(struct prof__stack) + n * sizeof(*pcs));
    if (!ref) {
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
        return LOST_ID;
    }
    struct prof__stack *s = prof__slab_at(&c->slab, ref);
    s->hash = want.hash;
    s->n = (uint32_t)n;
    memcpy(s->pcs, pcs, n * sizeof(*pcs));
    uint32_t kept = prof__chain_add(c, want.hash, first, ref, is_wanted, &want);
    if (kept == ref)
        atomic_fetch_add_explicit(&count[store], 1, memory_order_relaxed);
    return id | kept;
}

const struct prof__stack *prof__stack_table_get(prof__stack_id id)
{
    return id == LOST_ID ? &lost_stack.stack
                         : prof__slab_at(&prof__stack_stores[id >> PROF__STORE_SHIFT].slab,
                                         prof__store_ref(id));
}

void prof__stack_table_set_limit(size_t bytes)
{
    static const unsigned part[PROF__STORES] = {
        [PROF__STORE_KEPT] = KEPT_PART,
        [PROF__STORE_CPU] = CPU_PART,
        [PROF__STORE_THREADS] = THREADS_PART,
    };

    for (unsigned i = 0; i < PROF__STORES; i++)
        atomic_store_explicit(&prof__stack_stores[i].slab.limit, PART_OF(bytes, part[i]),
                              memory_order_relaxed);
}

void prof__stack_table_empty(enum prof__store store)
{
    prof__chains_empty(&prof__stack_stores[store]);
    atomic_store_explicit(&count[store], 0, memory_order_relaxed);
}

size_t prof__stack_table_count(void)
{
    size_t n = 0;

    for (unsigned i = 0; i < PROF__STORES; i++)
        n += atomic_load_explicit(&count[i], memory_order_relaxed);
    return n;
}

uint64_t prof__stack_table_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}
