/*
 * rows.c - the table behind every profile.
 *
 *   head[hash mod 2^14] -> row -> row ...   in a slab that holds nothing but rows, for each store
 *
 * Chains as base/chain.h has them. Since every allocation in the slab has the same size, rows can
 * also be visited in memory order, which is the order of their references: a snapshot comes out
 * sorted and two of them subtract in one pass. Each table has one more row, static, for what does
 * not fit under the cap. Context: signal.
 */
#include "table/rows.h"

#include "base/chain.h"
#include "base/hash.h"
#include "table/root.h"
#include "table/tables.h"

enum { HEADS = 1 << 14, SMALL_HEADS = 1 << 12 };

/* References of the static rows; no slab is so large as to give one. */
#define LOST_REF(table) (UINT32_MAX - (PROF__TABLES - 1) + (table))
#define LOST_STACK      UINT32_MAX /* as in stack_table.c */

/* Of the memory for rows, in eighths. */
enum { KEPT_PART = 6, CPU_PART = 1, THREADS_PART = 1, PARTS = 8 };
#define PART_OF(bytes, part) ((bytes) / PARTS * (part))
#define LIMIT(part)                                    \
    {                                                  \
        .limit = PART_OF(PROF__TABLES_LIMIT / 4, part) \
    }

static _Atomic uint32_t head[HEADS], cpu_head[SMALL_HEADS], threads_head[SMALL_HEADS];
struct prof__chains prof__row_stores[PROF__STORES] = {
    [PROF__STORE_KEPT] = { head, HEADS, LIMIT(KEPT_PART) },
    [PROF__STORE_CPU] = { cpu_head, SMALL_HEADS, LIMIT(CPU_PART) },
    [PROF__STORE_THREADS] = { threads_head, SMALL_HEADS, LIMIT(THREADS_PART) },
};
static _Atomic uint64_t emptied[PROF__ROW_VALUES]; /* what CPU profiles counted before */

static enum prof__store store_of(unsigned table)
{
    return table == PROF__TABLE_CPU       ? PROF__STORE_CPU
           : table == PROF__TABLE_THREADS ? PROF__STORE_THREADS
                                          : PROF__STORE_KEPT;
}

struct prof__row prof__lost_rows[PROF__TABLES];
_Atomic uint32_t prof__row_counts[PROF__TABLES];
static _Atomic uint64_t lost, full;

static_assert(sizeof(struct prof__row) == 56, "a row is walked over by its size");

struct prof__row *prof__rows_at(uint32_t ref)
{
    return ref >= LOST_REF(0) ? &prof__lost_rows[ref - LOST_REF(0)]
                              : prof__slab_at(&prof__row_stores[ref >> PROF__STORE_SHIFT].slab,
                                              prof__store_ref(ref));
}

struct wanted {
    prof__stack_id stack;
    uint32_t labels;
    uint16_t size_class;
    uint8_t table;
};

static bool is_wanted(const void *entry, const void *arg)
{
    const struct prof__row *row = entry;
    const struct wanted *w = arg;

    return atomic_load_explicit(&row->stack, memory_order_relaxed) == w->stack &&
           row->labels == w->labels && row->size_class == w->size_class && row->table == w->table;
}

static PROF_COLD uint32_t lost_ref(unsigned table)
{
    struct prof__row *row = &prof__lost_rows[table];

    atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
    atomic_store_explicit(&row->stack, LOST_STACK, memory_order_relaxed);
    return LOST_REF(table);
}

uint32_t prof__rows_get(unsigned table, prof__stack_id stack, uint32_t labels, uint64_t size)
{
    struct wanted want = { stack, labels, (uint16_t)prof__size_class(size), (uint8_t)table };
    uint32_t hash = (uint32_t)prof__hash_more(prof__hash((uint64_t)stack << 32 | labels),
                                              (uint64_t)want.size_class << 16 | table);
    enum prof__store store = store_of(table);
    struct prof__chains *c = &prof__row_stores[store];
    uint32_t id = (uint32_t)store << PROF__STORE_SHIFT;
    uint32_t first, ref = prof__chain_find(c, hash, is_wanted, &want, &first);

    if (PROF_LIKELY(ref))
        return id | ref;
    ref = prof__slab_alloc(&c->slab, sizeof(struct prof__row));
    if (!ref)
        return lost_ref(table);
    struct prof__row *row = prof__slab_at(&c->slab, ref);
    row->table = want.table;
    row->size_class = want.size_class;
    row->labels = labels;
    row->size = size;
    /* Release: a row with a stack has its whole key; pairs with prof__rows_each(). */
    atomic_store_explicit(&row->stack, stack, memory_order_release);
    uint32_t kept = prof__chain_add(c, hash, first, ref, is_wanted, &want);
    if (kept == ref)
        atomic_fetch_add_explicit(&prof__row_counts[table], 1, memory_order_relaxed);
    else /* another thread was faster; our row is no more */
        atomic_store_explicit(&row->stack, 0, memory_order_relaxed);
    return id | kept;
}

bool prof__rows_is_lost(uint32_t ref)
{
    return ref >= LOST_REF(0);
}

int prof__rows_each(unsigned table,
                    int (*each)(uint32_t ref, const struct prof__row *row, void *arg), void *arg)
{
    uint32_t id = (uint32_t)store_of(table) << PROF__STORE_SHIFT;
    struct prof__slab *slab = &prof__row_stores[store_of(table)].slab;
    uint64_t end = atomic_load_explicit(&slab->used, memory_order_relaxed);

    for (uint64_t at = sizeof(struct prof__row); at < end; at += sizeof(struct prof__row)) {
        uint64_t in_chunk = at % PROF__SLAB_CHUNK;
        /* Acquire: the chunk's zeroed pages; pairs with its publication. */
        char *chunk =
            atomic_load_explicit(&slab->chunk[at / PROF__SLAB_CHUNK], memory_order_acquire);

        if (!chunk || in_chunk + sizeof(struct prof__row) > PROF__SLAB_CHUNK)
            continue;
        const struct prof__row *row = (const struct prof__row *)(chunk + in_chunk);
        if (!atomic_load_explicit(&row->stack, memory_order_acquire) || row->table != table)
            continue;
        int r = each(id | (uint32_t)(at / 8), row, arg);
        if (r)
            return r;
    }
    if (atomic_load_explicit(&prof__lost_rows[table].stack, memory_order_relaxed))
        return each(LOST_REF(table), &prof__lost_rows[table], arg);
    return 0;
}

static int count_up(uint32_t ref, const struct prof__row *row, void *arg)
{
    (void)ref;
    (void)arg;
    for (size_t i = 0; i < PROF__ROW_VALUES; i++)
        atomic_fetch_add_explicit(&emptied[i],
                                  atomic_load_explicit(&row->value[i], memory_order_relaxed),
                                  memory_order_relaxed);
    return 0;
}

void prof__rows_empty_cpu(void)
{
    struct prof__row *lost_one = &prof__lost_rows[PROF__TABLE_CPU];

    prof__rows_each(PROF__TABLE_CPU, count_up, NULL);
    prof__chains_empty(&prof__row_stores[PROF__STORE_CPU]);
    atomic_store_explicit(&prof__row_counts[PROF__TABLE_CPU], 0, memory_order_relaxed);
    atomic_store_explicit(&lost_one->stack, 0, memory_order_relaxed);
    for (size_t i = 0; i < PROF__ROW_VALUES; i++)
        atomic_store_explicit(&lost_one->value[i], 0, memory_order_relaxed);
}

uint64_t prof__rows_emptied(unsigned table, unsigned value)
{
    return table == PROF__TABLE_CPU ? atomic_load_explicit(&emptied[value], memory_order_relaxed)
                                    : 0;
}

size_t prof__rows_count(unsigned table)
{
    return atomic_load_explicit(&prof__row_counts[table], memory_order_relaxed);
}

uint64_t prof__rows_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

void prof__row_is_full(struct prof__row *row, unsigned value)
{
    uint8_t bit = (uint8_t)(1u << value);

    if (!(atomic_fetch_or_explicit(&row->full, bit, memory_order_relaxed) & bit))
        atomic_fetch_add_explicit(&full, 1, memory_order_relaxed);
}

uint64_t prof__rows_full(void)
{
    return atomic_load_explicit(&full, memory_order_relaxed);
}

void prof__rows_set_limit(size_t bytes)
{
    static const unsigned part[PROF__STORES] = {
        [PROF__STORE_KEPT] = KEPT_PART,
        [PROF__STORE_CPU] = CPU_PART,
        [PROF__STORE_THREADS] = THREADS_PART,
    };

    for (unsigned i = 0; i < PROF__STORES; i++)
        atomic_store_explicit(&prof__row_stores[i].slab.limit, PART_OF(bytes, part[i]),
                              memory_order_relaxed);
}

unsigned prof__size_class(uint64_t size)
{
    if (size <= 16)
        return (unsigned)size + 1;
    /* The leading bit and the three below it. 17 is the first of class 18. */
    unsigned log2 = 63 - (unsigned)__builtin_clzll(size);
    return 18 + (log2 - 4) * 8 + (unsigned)((size >> (log2 - 3)) & 7);
}
