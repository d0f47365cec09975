/*
 * collect_heap.c - heap and allocs: what happens when a block is due for sampling, or freed.
 *
 * The hot path in collect_heap.h counts down bytes; only what it lets through comes here. A sampled
 * block is walked for its stack, added to a row with its weight, and remembered by address with
 * what was added, so that its free takes back exactly that, whatever the rate is by then.
 *
 *   row values: allocated objects, allocated bytes, freed objects, freed bytes; all only grow
 *
 * Writers add objects before bytes when allocating and bytes before objects when freeing, and
 * readers go the other way round (snapshot.c), so that no reader ever sees less than nothing in
 * use, nor bytes without an object. Context: hook.
 */
#include "record/collect_heap.h"

#include <errno.h>
#include <prof/prof.h>
#include <unistd.h>

#include "arch/arithmetic.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/hash.h"
#include "base/sampler.h"
#include "base/settings.h"
#include "table/rows.h"
#include "table/stack_table.h"
#include "unwind/stack.h"

enum { ALLOC_OBJECTS, ALLOC_BYTES, FREE_OBJECTS, FREE_BYTES };

/* How far a thread goes at most before it looks for another rate. */
#define RECHECK_BYTES ((uint64_t)1 << 20)

/* RATE_UNKNOWN until the environment has been read. */
#define RATE_UNKNOWN UINT64_MAX
_Atomic uint64_t prof__heap_interval = RATE_UNKNOWN;
static _Atomic uint64_t lost, foreign_frees, unseen_frees;

/* The rate in force, or RATE_UNKNOWN so early in the process that there is no environment yet. */
static uint64_t interval_now(void)
{
    /* Relaxed: a thread may go by the old rate for RECHECK_BYTES more. */
    uint64_t interval = atomic_load_explicit(&prof__heap_interval, memory_order_relaxed);

    if (PROF_LIKELY(interval != RATE_UNKNOWN) || !environ)
        return interval;

    struct prof__settings settings;
    prof__settings_read(&settings, false);
    uint64_t first = settings.heap_rate < 0 ? PROF__RATE_DEFAULT : (uint64_t)settings.heap_rate;
    if (atomic_compare_exchange_strong_explicit(&prof__heap_interval, &interval, first,
                                                memory_order_relaxed, memory_order_relaxed))
        return first;
    return interval;
}

uint64_t prof__heap_rate(void)
{
    uint64_t interval = interval_now();

    return interval == RATE_UNKNOWN ? PROF__RATE_DEFAULT : interval;
}

/* This thread is to draw anew. Memoryless, so nothing is lost by it. */
static void forget_gap(struct prof__thread *t)
{
    if (t->busy) /* hidden, or in here */
        return;
    t->interval = 0;
    t->bytes_left = 0;
    t->cut = 0;
}

uint64_t prof__heap_rate_set(uint64_t interval)
{
    uint64_t before = prof__heap_rate();

    atomic_store_explicit(&prof__heap_interval, interval, memory_order_relaxed);
    forget_gap(&prof__self); /* others find out within RECHECK_BYTES */
    return before;
}

static void end_stale(const struct prof__live *live);

/* --- frees that no hook sees ------------------------------------------------------------------ */

/* One copy of the hooks, or several, of which those aside see nothing. */
enum { COPIES = 3 };
static _Atomic(prof__heap_watch_fn *) watch[COPIES];
static _Atomic bool bypassed;

void prof__heap_can_watch(prof__heap_watch_fn *begin)
{
    for (unsigned i = 0; i < COPIES; i++) {
        prof__heap_watch_fn *none = NULL;

        if (atomic_compare_exchange_strong(&watch[i], &none, begin))
            break;
    }
    if (atomic_load(&bypassed))
        begin();
}

PROF_COLD static void frees_bypass(void)
{
    if (atomic_load_explicit(&bypassed, memory_order_relaxed) || atomic_exchange(&bypassed, true))
        return;
    for (unsigned i = 0; i < COPIES; i++) {
        prof__heap_watch_fn *begin = atomic_load(&watch[i]);

        if (begin)
            begin();
    }
}

void prof__heap_handed_out_slow(const void *p, size_t size)
{
    int saved = errno;

    prof__live_sweep((uintptr_t)p, size, end_stale);
    errno = saved;
}

uint64_t prof__heap_unseen_frees(void)
{
    return atomic_load_explicit(&unseen_frees, memory_order_relaxed);
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

/* The parent goes on with the same numbers: a hundred workers would take the same samples, and
 * their errors add up. A gap has no memory, so nothing is lost by drawing anew. */
static void fork_child(void)
{
    struct prof__thread *t = &prof__self;

    prof__heap_set_alarm(0, NULL); /* the parent's */
    t->rng = 0;
    forget_gap(t);
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, fork_child)

/* A gap beyond RECHECK_BYTES is only begun: a thread looks for a new rate that often. What is left
 * of an exponential gap is such a gap itself, so the rest can be drawn when it comes to that. */
static void cut_gap(struct prof__thread *t)
{
    t->cut = t->bytes_left > RECHECK_BYTES;
    if (t->cut)
        t->bytes_left = RECHECK_BYTES;
}

/* The interval now in force, with a gap drawn at it that begins `from` bytes ahead; 0 when there is
 * none. */
static uint64_t arm(struct prof__thread *t, uint64_t from)
{
    uint64_t interval = interval_now();

    t->cut = 0;
    if (interval == RATE_UNKNOWN || interval == 0) {
        t->interval = 0;
        t->bytes_left = interval == 0 ? RECHECK_BYTES : 0;
        return 0;
    }
    if (!t->rng)
        prof__thread_seed(t);
    if (interval != t->interval)
        from = 0;
    t->interval = interval;
    t->bytes_left = from + prof__sampler_gap(interval, &t->rng);
    return interval;
}

/* --- an alarm --------------------------------------------------------------------------------- */

#define NO_ALARM INT64_MAX

static _Atomic int64_t alarm_at = NO_ALARM; /* in the values' fixed point */
static _Atomic int64_t grown;               /* since it was set */
static void (*_Atomic alarm_fn)(void);

/* What is in use has grown by so much, or shrunk. One load where nobody has set an alarm. */
static inline void grow(int64_t bytes)
{
    /* Relaxed: an estimate, for when to look. */
    int64_t at = atomic_load_explicit(&alarm_at, memory_order_relaxed);

    if (PROF_LIKELY(at == NO_ALARM))
        return;
    int64_t now = atomic_fetch_add_explicit(&grown, bytes, memory_order_relaxed) + bytes;
    /* Acquire: the function that was set before. Who takes the alarm away calls it. */
    if (PROF_UNLIKELY(now >= at) &&
        atomic_compare_exchange_strong_explicit(&alarm_at, &at, NO_ALARM, memory_order_acquire,
                                                memory_order_relaxed))
        atomic_load_explicit(&alarm_fn, memory_order_relaxed)();
}

void prof__heap_set_alarm(uint64_t bytes, void (*fn)(void))
{
    int64_t at = fn && bytes < (uint64_t)1 << 56 ? (int64_t)bytes << PROF__BYTE_SHIFT : NO_ALARM;

    atomic_store_explicit(&alarm_at, NO_ALARM, memory_order_relaxed);
    if (at == NO_ALARM)
        return;
    atomic_store_explicit(&grown, 0, memory_order_relaxed);
    atomic_store_explicit(&alarm_fn, fn, memory_order_relaxed);
    atomic_store_explicit(&alarm_at, at, memory_order_release);
}

/* --- samples ---------------------------------------------------------------------------------- */

void prof__heap_count_free(const struct prof__live *live)
{
    if (!live->row)
        return;
    grow(-live->bytes);
    struct prof__row *row = prof__rows_at(live->row);

    prof__row_add(row, FREE_BYTES, (uint64_t)live->bytes);
    prof__row_add(row, FREE_OBJECTS, (uint64_t)live->objects);
}

/* A block's end that was not seen: its memory has been handed out anew. */
static void end_stale(const struct prof__live *live)
{
    prof__heap_count_free(live);
    atomic_fetch_add_explicit(&unseen_frees, 1, memory_order_relaxed);
}

static void remember(uintptr_t key, const struct prof__live *live)
{
    struct prof__live stale;
    int r = prof__live_add(key, live, &stale);

    if (stale.row) {
        end_stale(&stale);
        if (!(key & PROF__LIVE_FED))
            frees_bypass();
    }
    if (r < 0) {
        prof__heap_count_free(live); /* right in allocs, missing in heap, and told so */
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
    }
}

PROF_APART static void record(struct prof__thread *t, uintptr_t key, size_t size, uint64_t interval,
                              const struct prof__site *site)
{
    uintptr_t pcs[PROF__STACK_MAX];
    size_t n = prof__stack_from(site, pcs, PROF__STACK_MAX);
    struct prof__live live = {
        .row = prof__rows_get(PROF__TABLE_HEAP, prof__stack_table_add(PROF__STORE_KEPT, pcs, n),
                              t->labels, size),
        .birth_s = (uint32_t)(prof__clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000000),
    };
    struct prof__row *row = prof__rows_at(live.row);

    prof__sampler_weight(size, interval, &live.objects, &live.bytes);
    prof__row_add(row, ALLOC_OBJECTS, (uint64_t)live.objects);
    prof__row_add(row, ALLOC_BYTES, (uint64_t)live.bytes);
    grow(live.bytes);

    remember(key, &live);
}

/* arm(), for who has neither errno nor the state of arithmetic put away. */
static uint64_t arm_quietly(struct prof__thread *t, uint64_t from)
{
    int saved = errno;
    uint64_t program = prof__arithmetic_begin();
    uint64_t interval = arm(t, from);

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

    if ((!t->interval || t->cut) && !arm_quietly(t, t->cut ? t->bytes_left : 0))
        return 0;
    if (t->bytes_left > charge) {
        t->bytes_left -= charge;
        cut_gap(t);
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
    uint64_t program = prof__arithmetic_begin();

    if (!t->interval) {
        arm(t, 0);
        cut_gap(t);
    }
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
    if (live->row)
        remember((uintptr_t)p, live);
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
    if (prof__live_maybe((uintptr_t)p) && prof__live_maybe_here((uintptr_t)p) &&
        prof__live_remove((uintptr_t)p | PROF__LIVE_FED, &live))
        prof__heap_count_free(&live);
    else if (atomic_load_explicit(&prof__heap_interval, memory_order_relaxed) == 1)
        atomic_fetch_add_explicit(&foreign_frees, 1, memory_order_relaxed);
    return 0;
}

uint64_t prof__heap_foreign_frees(void)
{
    return atomic_load_explicit(&foreign_frees, memory_order_relaxed);
}
