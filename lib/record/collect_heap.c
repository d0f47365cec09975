/*
 * collect_heap.c - heap and allocs: what happens when a block is due for sampling, or freed.
 *
 * The hot path in collect.h counts down bytes; only what it lets through comes here. A sampled
 * block is walked for its stack, added to a row with its weight, and remembered by address with
 * what was added, so that its free takes back exactly that, whatever the rate is by then.
 *
 *   row values: allocated objects, allocated bytes, freed objects, freed bytes; all only grow
 *
 * Writers add objects before bytes when allocating and bytes before objects when freeing, and
 * readers go the other way round (snapshot.c), so that no reader ever sees less than nothing in
 * use, nor bytes without an object. Context: hook.
 */
#include "record/collect.h"
#include "record/collect_internal.h"

#include <errno.h>
#include <prof/prof.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "arch/arithmetic.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "base/settings.h"
#include "record/sampler.h"
#include "table/rows.h"
#include "table/stack_table.h"
#include "unwind/stack.h"

enum { ALLOC_OBJECTS, ALLOC_BYTES, FREE_OBJECTS, FREE_BYTES };

/* While sampling is off, how far a thread goes before it looks again. */
#define RECHECK_BYTES ((uint64_t)1 << 20)

/* PROF__RATE_UNKNOWN until the environment has been read. */
#define RATE_UNKNOWN UINT64_MAX
static _Atomic uint64_t heap_interval = RATE_UNKNOWN;
static _Atomic uint64_t lost, foreign_frees;
static _Atomic uint64_t seed_count;

/* The rate in force, or RATE_UNKNOWN so early in the process that there is no environment yet. */
static uint64_t interval_now(void)
{
    /* Relaxed: a thread may go by the old rate for one more sample. */
    uint64_t interval = atomic_load_explicit(&heap_interval, memory_order_relaxed);

    if (PROF_LIKELY(interval != RATE_UNKNOWN) || !environ)
        return interval;

    struct prof__settings settings;
    prof__settings_read(&settings, false);
    uint64_t first = settings.heap_rate < 0 ? PROF__RATE_DEFAULT : (uint64_t)settings.heap_rate;
    if (atomic_compare_exchange_strong_explicit(&heap_interval, &interval, first,
                                                memory_order_relaxed, memory_order_relaxed))
        return first;
    return interval;
}

uint64_t prof__heap_rate(void)
{
    uint64_t interval = interval_now();

    return interval == RATE_UNKNOWN ? PROF__RATE_DEFAULT : interval;
}

uint64_t prof__heap_rate_set(uint64_t interval)
{
    struct prof__thread *t = &prof__self;
    uint64_t before = prof__heap_rate();

    atomic_store_explicit(&heap_interval, interval, memory_order_relaxed);
    if (!t->busy) { /* this thread draws anew; memoryless, so nothing is lost by it */
        t->interval = 0;
        t->bytes_left = 0;
    }
    return before;
}

uint64_t prof__heap_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

int64_t prof_set_heap_rate(int64_t bytes)
{
    if (bytes < 0)
        return (int64_t)prof__heap_rate();
    if ((uint64_t)bytes > PROF__RATE_MAX)
        return prof_set_last_error(-EINVAL, "a heap rate of %lld bytes is above the limit of 2^40",
                                   (long long)bytes);
    return (int64_t)prof__heap_rate_set((uint64_t)bytes);
}

void prof__seed(struct prof__thread *t)
{
    uint64_t n = atomic_fetch_add_explicit(&seed_count, 1, memory_order_relaxed);
    const void *kernel = (const void *)getauxval(AT_RANDOM); /* 16 random bytes, at no boundary */
    uint64_t random = 0;

    if (kernel)
        memcpy(&random, kernel, sizeof(random));
    t->rng = prof__mix64(random + n * 0x9e3779b97f4a7c15u + (uint64_t)prof__monotonic_ns()) | 1;
}

/* A new gap, at the rate now in force; 0 when there is none. */
static uint64_t arm(struct prof__thread *t)
{
    uint64_t interval = interval_now();

    if (interval == RATE_UNKNOWN || interval == 0) {
        t->interval = 0;
        t->bytes_left = interval == 0 ? RECHECK_BYTES : 0;
        return 0;
    }
    if (!t->rng)
        prof__seed(t);
    t->interval = interval;
    t->bytes_left = prof__sampler_gap(interval, &t->rng);
    return interval;
}

static void row_add(struct prof__row *row, unsigned value, int64_t n)
{
    /* Release: additions are seen in the order they are made, and pair with snapshot.c. */
    atomic_fetch_add_explicit(&row->value[value], n, memory_order_release);
}

void prof__heap_count_free(const struct prof__live *live)
{
    if (!live->row)
        return;
    struct prof__row *row = prof__rows_at(live->row);

    row_add(row, FREE_BYTES, live->bytes);
    row_add(row, FREE_OBJECTS, live->objects);
}

PROF_APART static void record(struct prof__thread *t, uintptr_t key, size_t size, uint64_t interval,
                              const struct prof__site *site)
{
    uintptr_t pcs[PROF__STACK_MAX];
    size_t n = prof__stack_from(site, pcs, PROF__STACK_MAX);
    struct prof__live stale, live = {
        .row = prof__rows_get(PROF__TABLE_HEAP, prof__stack_table_add(pcs, n), t->labels, size),
        .birth_s = (uint32_t)(prof__clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000000),
    };
    struct prof__row *row = prof__rows_at(live.row);

    prof__sampler_weight(size, interval, &live.objects, &live.bytes);
    row_add(row, ALLOC_OBJECTS, live.objects);
    row_add(row, ALLOC_BYTES, live.bytes);

    int r = prof__live_add(key, &live, &stale);
    if (r > 0) {
        prof__heap_count_free(&stale); /* freed where no hook could see it */
    } else if (r < 0) {
        prof__heap_count_free(&live); /* right in allocs, missing in heap, and told so */
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
    }
}

/* arm(), for who has neither errno nor the state of arithmetic put away. */
static uint64_t arm_quietly(struct prof__thread *t)
{
    int saved = errno;
    uint32_t program = prof__arithmetic_begin();
    uint64_t interval = arm(t);

    prof__arithmetic_end(program);
    errno = saved;
    return interval;
}

/*
 * A thread without a gap draws one here and this very block is charged to it: so the first block
 * of a thread is as likely to be sampled as any other, and a rate of 1 misses none.
 */
static uint64_t claim(struct prof__thread *t, size_t size)
{
    uint64_t charge = prof__heap_charge(size), interval;

    if (!t->interval && !arm_quietly(t))
        return 0;
    if (t->bytes_left > charge) {
        t->bytes_left -= charge;
        return 0;
    }
    interval = t->interval;
    t->interval = 0; /* the next gap begins here, and is drawn by who comes next */
    t->bytes_left = 0;
    t->samples++;
    return interval;
}

uint64_t prof__heap_claim(size_t size)
{
    struct prof__thread *t = &prof__self;
    uint64_t interval = 0;

    prof__heap_undo(size);
    if (prof__enter(t)) { /* else it is the profiler's own, or a hidden thread's */
        interval = claim(t, size);
        prof__leave(t);
    }
    return interval;
}

static PROF_COLD void sample(uintptr_t key, size_t size, uint64_t interval,
                             const struct prof__site *site)
{
    struct prof__thread *t = &prof__self;

    if (!prof__stack_room() || !prof__enter(t))
        return;
    int saved = errno;
    uint32_t program = prof__arithmetic_begin();

    if (!t->interval)
        arm(t);
    record(t, key, size, interval, site);
    prof__arithmetic_end(program);
    errno = saved;
    prof__leave(t);
}

void prof__heap_sample(const void *p, size_t size, uint64_t interval, const struct prof__site *site)
{
    sample((uintptr_t)p, size, interval, site);
}

void prof__heap_take(const void *p, struct prof__live *ret_live)
{
    if (!prof__live_remove((uintptr_t)p, ret_live))
        ret_live->row = 0;
}

void prof__heap_forget(const void *p)
{
    struct prof__live live;

    if (prof__live_remove((uintptr_t)p, &live))
        prof__heap_count_free(&live);
}

void prof__heap_put_back(const void *p, const struct prof__live *live)
{
    struct prof__live stale;

    if (live->row && prof__live_add((uintptr_t)p, live, &stale) < 0) {
        prof__heap_count_free(live);
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
    }
}

int prof_heap_alloc(const void *p, size_t size)
{
    if (!p)
        return prof_set_last_error(-EINVAL, "prof_heap_alloc(NULL): a block needs an address");
    if (prof__heap_due(size)) {
        struct prof__site site = prof__site(__builtin_return_address(0));
        uint64_t interval = prof__heap_claim(size);

        if (interval)
            sample((uintptr_t)p | PROF__LIVE_FED, size, interval, &site);
    }
    return 0;
}

int prof_heap_free(const void *p)
{
    struct prof__live live;

    if (!p)
        return prof_set_last_error(-EINVAL, "prof_heap_free(NULL): a block needs an address");
    if (prof__live_maybe((uintptr_t)p) && prof__live_remove((uintptr_t)p | PROF__LIVE_FED, &live))
        prof__heap_count_free(&live);
    else if (atomic_load_explicit(&heap_interval, memory_order_relaxed) == 1)
        atomic_fetch_add_explicit(&foreign_frees, 1, memory_order_relaxed);
    return 0;
}

uint64_t prof__heap_foreign_frees(void)
{
    return atomic_load_explicit(&foreign_frees, memory_order_relaxed);
}
