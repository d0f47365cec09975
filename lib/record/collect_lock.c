/*
 * collect_lock.c - block and mutex: what happens when a thread waits, and when a lock is released
 * that others wait for.
 *
 *   block   at the waiter, when its wait is over
 *   mutex   at the unlock that ended the wait, for all the time that its section made others wait
 *
 * The hooks only call here once a lock could not be had at once, or is waited for by others. Time
 * and waiters go through the lock's account (lock_ledger.c), because who waits cannot know who is
 * to blame, and who is to blame cannot see who waits.
 *
 * A release takes out of the account before it lets go, since the next owner may well release the
 * lock before this thread runs again, and would be charged for what it suffered. The stack is
 * walked after letting go. What comes in from then until the next owner really runs belongs to
 * this release as well: it leaves its row behind as heir, and the next owner charges it there.
 *
 *   row values: events in fixed point, nanoseconds; added in that order, both only grow
 *
 * Context: hook.
 */
#include "record/collect_lock.h"

#include <errno.h>
#include <prof/prof.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/settings.h"
#include "base/thread.h"
#include "record/collect_trace.h"
#include "record/wait_sampler.h"
#include "table/rows.h"
#include "table/stack_table.h"
#include "table/trace_ring.h"
#include "unwind/stack.h"
#include "unwind/tail.h"

enum { EVENTS, NANOSECONDS };

/* --- rates ------------------------------------------------------------------------------------ */

/* UNKNOWN until the environment has been read. */
enum { UNKNOWN = -1 };
static _Atomic int64_t block_rate = UNKNOWN, mutex_fraction = UNKNOWN;

/* Hooks in the process: one copy, or two when a linked program is also preloaded. */
enum { COPIES = 2 };
static _Atomic(const struct prof__lock_hooks *) copy[COPIES];

/* Keeps what somebody has set meanwhile. */
static void set_first(_Atomic int64_t *rate, int64_t value, int64_t max)
{
    int64_t unknown = UNKNOWN;

    value = PROF_MAX(PROF_MIN(value, max), 0);
    atomic_compare_exchange_strong_explicit(rate, &unknown, value, memory_order_relaxed,
                                            memory_order_relaxed);
}

/* The rate in force: off, so early in the process that there is no environment yet. */
static int64_t rate_now(_Atomic int64_t *rate)
{
    /* Relaxed: a thread may go by the old rate for one more event. */
    int64_t now = atomic_load_explicit(rate, memory_order_relaxed);

    if (PROF_LIKELY(now != UNKNOWN) || !environ)
        return PROF_MAX(now, 0);

    struct prof__settings settings;
    prof__settings_read(&settings, false);
    set_first(&block_rate, settings.block_rate, PROF__BLOCK_RATE_MAX);
    set_first(&mutex_fraction, settings.mutex_fraction, PROF__MUTEX_FRACTION_MAX);
    return atomic_load_explicit(rate, memory_order_relaxed);
}

uint64_t prof__block_rate(void)
{
    return (uint64_t)rate_now(&block_rate);
}

uint64_t prof__mutex_fraction(void)
{
    return (uint64_t)rate_now(&mutex_fraction);
}

static bool any_rate(void)
{
    /* Sequentially consistent, as the stores in set_rate(): of two threads that change a rate, the
     * one that switches last has seen what both have set. */
    return atomic_load(&block_rate) > 0 || atomic_load(&mutex_fraction) > 0 ||
           atomic_load(&prof__trace_wants);
}

static bool io_wanted(void)
{
    return atomic_load(&prof__trace_wants) & PROF__TRACE_CALLS;
}

void prof__lock_hooks_switch(void)
{
    bool on, io;

    do {
        on = any_rate();
        io = io_wanted();
        for (unsigned i = 0; i < COPIES; i++) {
            const struct prof__lock_hooks *hooks = atomic_load(&copy[i]);

            if (hooks) {
                hooks->watch(on);
                hooks->watch_io(io);
            }
        }
    } while (on != any_rate() || io != io_wanted());
}

void prof__lock_hooks_present(const struct prof__lock_hooks *hooks)
{
    rate_now(&block_rate);
    prof__ledger_keep_filter(hooks->filter);
    for (unsigned i = 0; i < COPIES; i++) {
        const struct prof__lock_hooks *seen = NULL;

        if (atomic_compare_exchange_strong(&copy[i], &seen, hooks))
            break;
    }
    prof__lock_hooks_switch();
}

bool prof__lock_watched(void)
{
    return atomic_load_explicit(&copy[0], memory_order_relaxed) != NULL;
}

static int64_t set_rate(_Atomic int64_t *rate, int64_t value)
{
    rate_now(rate); /* the environment's comes first */
    int64_t before = atomic_exchange(rate, value);

    prof__lock_hooks_switch();
    return PROF_MAX(before, 0);
}

int64_t prof_set_block_rate(int64_t ns)
{
    if (ns < 0)
        return rate_now(&block_rate);
    if (ns > PROF__BLOCK_RATE_MAX)
        return prof_set_last_error(-EINVAL, "a block rate of %lld ns is above the limit of 2^40",
                                   (long long)ns);
    return set_rate(&block_rate, ns);
}

int64_t prof_set_mutex_fraction(int64_t n)
{
    if (n < 0)
        return rate_now(&mutex_fraction);
    if (n > PROF__MUTEX_FRACTION_MAX)
        return prof_set_last_error(-EINVAL,
                                   "a mutex fraction of 1/%lld is beyond the limit of 1/(2^31 - 1)",
                                   (long long)n);
    if (rate_now(&mutex_fraction) == 0) /* what was waited for while it was off is not counted */
        prof__ledger_forgive(prof__monotonic_ns());
    return set_rate(&mutex_fraction, n);
}

/* --- rows ------------------------------------------------------------------------------------- */

static void row_add(uint32_t ref, int64_t events, int64_t ns)
{
    struct prof__row *row = prof__rows_at(ref);

    prof__row_add(row, EVENTS, (uint64_t)events);
    prof__row_add(row, NANOSECONDS, (uint64_t)ns);
}

/* A function that called a hook by a jump, as its last act; 0: none did. */
static uintptr_t jumped_from(const void *caller)
{
    struct prof__doors doors[COPIES * 2];
    size_t n = 0;

    for (unsigned i = 0; i < COPIES; i++) {
        /* Acquire: pairs with the registration. */
        const struct prof__lock_hooks *h = atomic_load_explicit(&copy[i], memory_order_acquire);

        for (size_t k = 0; h && k < ARRAY_LEN(h->doors); k++)
            doors[n++] = h->doors[k];
    }
    return prof__tail_caller((uintptr_t)caller, doors, n);
}

/* FED: through the feeding API, and not by a hook. */
enum source { HOOKED, FED };

/* The caller's stack, less its innermost `skip` frames. */
PROF_APART static prof__stack_id stack_here(const void *caller, enum source source, int skip)
{
    uintptr_t pcs[PROF__STACK_MAX];
    size_t n = 0, from = (size_t)skip;

    if (source == HOOKED && (pcs[0] = jumped_from(caller)) != 0)
        n = 1;
    n += prof__stack_here(caller, pcs + n, PROF__STACK_MAX - n);
    if (from >= n) { /* counted all the same, as in Go */
        from = 0;
        n = 1;
        pcs[0] = PROF__PC_SKIPPED;
    }
    return prof__stack_table_add(PROF__STORE_KEPT, pcs + from, n - from);
}

static uint32_t row_here(struct prof__thread *t, unsigned table, const void *caller,
                         enum source source, int skip)
{
    return prof__rows_get(table, stack_here(caller, source, skip), t->labels, 0);
}

static uint64_t *generator(struct prof__thread *t)
{
    if (PROF_UNLIKELY(!t->rng))
        prof__thread_seed(t);
    return &t->rng;
}

static void record_wait(struct prof__thread *t, int64_t ns, const void *caller, enum source source,
                        int skip)
{
    uint64_t rate = prof__block_rate();
    int64_t events, counted_ns;

    if (rate && prof__stack_room() &&
        prof__wait_sample(ns, rate, generator(t), &events, &counted_ns))
        row_add(row_here(t, PROF__TABLE_BLOCK, caller, source, skip), events, counted_ns);
}

/* The heir of a release, after recording it. */
static struct prof__heir record_release(struct prof__thread *t, const struct prof__debt *debt,
                                        const void *caller, enum source source, int skip)
{
    uint32_t fraction = (uint32_t)prof__mutex_fraction();
    struct prof__heir heir = { PROF__HEIR_NOBODY, 0 };
    int64_t events, ns;

    if (fraction && prof__stack_room() &&
        prof__release_sample(debt->wait_ns, debt->waiters, fraction, generator(t), &events, &ns)) {
        heir =
            (struct prof__heir) { row_here(t, PROF__TABLE_MUTEX, caller, source, skip), fraction };
        row_add(heir.row, events, ns);
    }
    return heir;
}

/* --- the timeline ----------------------------------------------------------------------------- */

prof__stack_id prof__hook_stack(const void *caller)
{
    return prof__stack_room() ? stack_here(caller, HOOKED, 0) : 0;
}

static prof__stack_id trace_stack(int64_t wait_ns, const void *caller)
{
    return wait_ns >= prof__trace_min_wait_ns() ? prof__hook_stack(caller) : 0;
}

static void trace_wait(const struct prof__wait *w, uint64_t now, int64_t wait_ns)
{
    prof__trace_write(PROF__TRACE_WAIT, PROF__TRACE_WAITED(w->kind, w->end), now,
                      (uintptr_t)w->object, w->since, trace_stack(wait_ns, w->caller));
}

/* --- waiting ---------------------------------------------------------------------------------- */

static bool has_owner(enum prof__wait_kind kind)
{
    return kind == PROF__WAIT_MUTEX || kind == PROF__WAIT_READ || kind == PROF__WAIT_WRITE;
}

void prof__wait_begin(struct prof__wait *w, enum prof__wait_kind kind, bool timed,
                      const void *object, const void *caller)
{
    struct prof__thread *t = &prof__self;

    *w = (struct prof__wait) { .end = PROF__WAIT_CANCELLED, .kind = kind, .object = object };
    if (!prof__enter(t)) /* the profiler's own, or a hidden thread's */
        return;
    int saved = errno;
    w->caller = caller;
    w->since_ns = prof__monotonic_ns();
    w->shared = kind == PROF__WAIT_READ;
    w->place = prof__wait_table_add(kind, timed, object, w->since_ns);
    w->since = prof__tracing() ? prof__trace_time() : 0;
    if (has_owner(kind) && (w->since || prof__mutex_fraction()))
        w->account = prof__ledger_arrive(object, w->shared, w->since_ns);
    errno = saved;
    prof__leave(t);
}

static void settle(const struct prof__wait *w, int64_t now_ns)
{
    struct prof__debt debt;
    struct prof__heir heir;

    if (w->end == PROF__WAIT_REFUSED)
        prof__ledger_retract(w->account, w->shared, w->since_ns);
    else if (prof__ledger_leave(w->account, now_ns, w->end == PROF__WAIT_GOT ? prof__tid() : 0,
                                &debt, &heir))
        row_add(heir.row, prof__wait_scale((int64_t)debt.waiters << PROF__EVENT_SHIFT, heir.factor),
                prof__wait_scale(debt.wait_ns, heir.factor));
}

void prof__wait_end(struct prof__wait *w)
{
    struct prof__thread *t = &prof__self;

    if (!w->caller)
        return;
    int saved = errno;
    int64_t now_ns = prof__monotonic_ns();
    uint64_t now = w->since ? prof__trace_time() : 0;

    if (w->account)
        settle(w, now_ns);
    prof__wait_table_remove(w->place);
    if (w->wakes && w->since && prof__tracing())
        prof__trace_write(PROF__TRACE_WAKE, 1, w->since, (uintptr_t)w->object, 0, 0);
    if (w->end != PROF__WAIT_REFUSED && prof__enter(t)) {
        record_wait(t, now_ns - w->since_ns, w->caller, HOOKED, 0);
        if (w->since && prof__tracing())
            trace_wait(w, now, now_ns - w->since_ns);
        prof__leave(t);
    }
    w->caller = NULL;
    errno = saved;
}

/* --- releasing -------------------------------------------------------------------------------- */

bool prof__release_begin(const void *lock, struct prof__debt *ret_debt)
{
    bool owes = prof__ledger_take(lock, prof__monotonic_ns(), ret_debt);

    ret_debt->at = owes && prof__tracing() ? prof__trace_time() : 0;
    return owes;
}

void prof__release_end(const void *lock, const struct prof__debt *debt, bool released,
                       const void *caller)
{
    struct prof__thread *t = &prof__self;
    struct prof__heir heir = { PROF__HEIR_NOBODY, 0 };

    if (!released) {
        prof__ledger_put_back(lock, debt);
        return;
    }
    if (prof__enter(t)) { /* else a hidden thread is to blame: it is left out */
        int saved = errno;

        heir = record_release(t, debt, caller, HOOKED, 0);
        if (debt->at)
            prof__trace_write(PROF__TRACE_RELEASE, 0, debt->at, (uintptr_t)lock,
                              (uint64_t)debt->wait_ns, trace_stack(debt->wait_ns, caller));
        errno = saved;
        prof__leave(t);
    }
    prof__ledger_set_heir(lock, heir);
}

/* --- the feeding API -------------------------------------------------------------------------- */

int prof_block_record(int64_t wait_ns, int skip)
{
    struct prof__thread *t = &prof__self;

    if (wait_ns < 0 || skip < 0)
        return prof_set_last_error(-EINVAL, "prof_block_record() was given a negative %s",
                                   wait_ns < 0 ? "time" : "skip");
    if (prof__block_rate() && prof__enter(t)) {
        record_wait(t, wait_ns, __builtin_return_address(0), FED, skip);
        prof__leave(t);
    }
    return 0;
}

int prof_mutex_record(int64_t wait_ns, int waiters, int skip)
{
    struct prof__thread *t = &prof__self;
    struct prof__debt debt = { wait_ns, (uint32_t)waiters, 0 };

    if (wait_ns < 0 || waiters < 0 || skip < 0)
        return prof_set_last_error(-EINVAL, "prof_mutex_record() was given a negative %s",
                                   wait_ns < 0   ? "time"
                                   : waiters < 0 ? "number of waiters"
                                                 : "skip");
    if (prof__mutex_fraction() && prof__enter(t)) {
        record_release(t, &debt, __builtin_return_address(0), FED, skip);
        prof__leave(t);
    }
    return 0;
}
