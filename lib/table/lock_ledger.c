/*
 * lock_ledger.c - accounts of contended locks, by address.
 *
 *   hash(address) -> a set of 8 entries -> { waited - charged, waiting, fresh }
 *
 * The account of a lock is one number: the nanoseconds waited so far that nobody has been charged
 * for. With n threads waiting it grows by n a nanosecond, so it is kept as a balance b such that
 * it is b + n * now. A thread that arrives at time a takes a off and adds one to n, one that leaves
 * at d adds d and takes one off, and to charge is to set b to -n * now. So every waited nanosecond
 * is charged exactly once, however often the lock changes hands meanwhile. Balance and counts
 * change by one 16-byte compare-and-swap.
 *
 * Each wait counts once, at the release that ends it. Which of those who wait that will be nobody
 * knows, and it does not matter: a release ends one wait of those that have not been counted, and
 * the waits of all who have given up; so as many stay fresh as are left waiting. But of those who
 * wait to share a lock it ends all, and they are not left to whoever of them lets go first.
 *
 * An entry whose balance and counts are all 0 is idle: its place may be given to another lock.
 * Each such change counts up a generation that is part of the state, so who read the state, then
 * the address, and then changes the state, has changed what he read. Two threads may make an entry
 * each for the same lock; each leaves the one it arrived at, and a release takes from all, and
 * ends one wait of them all.
 *
 * There is an entry for every lock that is waited for at one time, up to 8,192; bounded, in .bss,
 * and pages untouched as long as nothing is contended. A set that is full drops the account of a
 * lock nobody waits for now, and else the wait; both are counted.
 */
#include "table/lock_ledger.h"

#include "arch/pair.h"
#include "base/fork.h"
#include "base/hash.h"

enum { SETS = 1024, WAYS = 8, ENTRIES = SETS * WAYS };

struct entry {
    struct prof__pair state;
    _Atomic uintptr_t lock;
    _Atomic uint64_t heir;      /* row and factor */
    _Atomic int64_t held_since; /* by `owner` */
    _Atomic uint32_t owner;
};

struct state {
    int64_t balance;
    uint32_t waiting;
    uint32_t fresh, sharing; /* not counted yet; `sharing` wait to share the lock */
    uint32_t generation;
    bool claimed; /* it is being given to another lock */
};

enum { COUNT_BITS = 16, COUNT_MAX = (1 << COUNT_BITS) - 1, GENERATIONS = 1 << 15 };

enum { FILTERS = 2 };

static _Atomic(struct prof__lock_filter *) filter[FILTERS];
static struct entry entry[ENTRIES];
static _Atomic bool used;
static _Atomic uint64_t lost;

static struct state unpack(struct prof__pair_value v)
{
    return (struct state) {
        .balance = (int64_t)v.low,
        .waiting = v.high & COUNT_MAX,
        .fresh = v.high >> COUNT_BITS & COUNT_MAX,
        .sharing = v.high >> (2 * COUNT_BITS) & COUNT_MAX,
        .generation = v.high >> (3 * COUNT_BITS) & (GENERATIONS - 1),
        .claimed = v.high >> 63,
    };
}

static struct prof__pair_value pack(struct state s)
{
    return (struct prof__pair_value) {
        (uint64_t)s.balance,
        (uint64_t)s.waiting | (uint64_t)s.fresh << COUNT_BITS |
            (uint64_t)s.sharing << (2 * COUNT_BITS) |
            (uint64_t)(s.generation % GENERATIONS) << (3 * COUNT_BITS) | (uint64_t)s.claimed << 63,
    };
}

static bool idle(struct state s)
{
    return s.balance == 0 && s.waiting == 0 && s.fresh == 0 && s.sharing == 0 && !s.claimed;
}

void prof__ledger_keep_filter(struct prof__lock_filter *f)
{
    for (unsigned i = 0; i < FILTERS; i++) {
        struct prof__lock_filter *none = NULL;

        if (atomic_compare_exchange_strong_explicit(&filter[i], &none, f, memory_order_relaxed,
                                                    memory_order_relaxed))
            return;
    }
}

/* There are fewer entries than a filter's count can hold. Relaxed: a hint, see the header. */
static void filter_change(uintptr_t lock, uint16_t by)
{
    for (unsigned i = 0; i < FILTERS; i++) {
        struct prof__lock_filter *f = atomic_load_explicit(&filter[i], memory_order_relaxed);

        if (f)
            atomic_fetch_add_explicit(&f->open[(uint32_t)lock >> 4 & (PROF__LOCK_FILTER - 1)], by,
                                      memory_order_relaxed);
    }
}

static void filter_add(uintptr_t lock)
{
    filter_change(lock, 1);
}

static void filter_remove(uintptr_t lock)
{
    filter_change(lock, (uint16_t)-1);
}

static_assert(ENTRIES <= UINT16_MAX, "the filter never overflows");

static struct entry *set_of(uintptr_t lock)
{
    return &entry[prof__hash(lock) % SETS * WAYS];
}

/* What has been waited for and not been charged. Clocks of two threads may be read in one order
 * and arrive in the other, hence never less than nothing. */
static int64_t owed(struct state s, int64_t now_ns)
{
    int64_t ns = (int64_t)((uint64_t)s.balance + (uint64_t)s.waiting * (uint64_t)now_ns);

    return PROF_MAX(ns, 0);
}

/* Take out what is owed, and count `over` waits, and those of all who share. */
static struct prof__debt settle(struct state *s, uint32_t over, int64_t now_ns)
{
    struct prof__debt debt = { owed(*s, now_ns), over + s->sharing };

    s->balance = (int64_t)((uint64_t)s->balance - (uint64_t)debt.wait_ns);
    s->fresh -= over;
    s->sharing = 0;
    return debt;
}

/* One step of an account from one state to the next. */
static bool change(struct entry *e, uintptr_t lock, struct prof__pair_value from, struct state to)
{
    bool was_idle = idle(unpack(from)), is_idle = idle(to);

    if (was_idle && !is_idle)
        filter_add(lock);
    if (prof__pair_change(&e->state, from, pack(to))) {
        if (!was_idle && is_idle)
            filter_remove(lock);
        return true;
    }
    if (was_idle && !is_idle)
        filter_remove(lock);
    return false;
}

/* The state of `e`, if it is the account of `lock`. The state is read first: should the entry go
 * to another lock meanwhile, the state has changed too. */
static bool peek(const struct entry *e, uintptr_t lock, struct prof__pair_value *ret)
{
    *ret = prof__pair_peek(&e->state);
    return atomic_load_explicit(&e->lock, memory_order_acquire) == lock && !unpack(*ret).claimed;
}

/* --- waiters ---------------------------------------------------------------------------------- */

static bool arrive_at(struct entry *e, uintptr_t lock, bool shared, int64_t now_ns)
{
    struct prof__pair_value from;

    while (peek(e, lock, &from)) {
        struct state to = unpack(from);

        if (to.waiting == COUNT_MAX)
            return false;
        if (idle(to)) /* who had it before this contention is not known */
            atomic_store_explicit(&e->owner, 0, memory_order_relaxed);
        to.balance = (int64_t)((uint64_t)to.balance - (uint64_t)now_ns);
        to.waiting++;
        uint32_t *count = shared ? &to.sharing : &to.fresh;
        *count = PROF_MIN(*count + 1, (uint32_t)COUNT_MAX);
        if (change(e, lock, from, to))
            return true;
    }
    return false;
}

/* Give an entry that nobody waits in to `lock`. */
static bool claim(struct entry *e, uintptr_t lock, bool also_open, bool shared, int64_t now_ns)
{
    struct prof__pair_value from = prof__pair_peek(&e->state);
    struct state s = unpack(from);
    struct state to = { .claimed = true, .generation = s.generation + 1 };

    if (s.claimed || s.waiting || (!idle(s) && !also_open))
        return false;
    if (!prof__pair_change(&e->state, from, pack(to)))
        return false;
    if (!idle(s)) {
        filter_remove(atomic_load_explicit(&e->lock, memory_order_relaxed));
        atomic_fetch_add_explicit(&lost, s.fresh + s.sharing, memory_order_relaxed);
    }
    atomic_store_explicit(&e->heir, 0, memory_order_relaxed);
    atomic_store_explicit(&e->owner, 0, memory_order_relaxed);
    atomic_store_explicit(&e->lock, lock, memory_order_relaxed);
    filter_add(lock);
    from = pack(to);
    to.claimed = false;
    to.balance = -now_ns;
    to.waiting = 1;
    to.fresh = !shared;
    to.sharing = shared;
    prof__pair_change(&e->state, from, pack(to)); /* a claimed entry is ours alone */
    return true;
}

uint32_t prof__ledger_arrive(const void *lock, bool shared, int64_t now_ns)
{
    uintptr_t key = (uintptr_t)lock;
    struct entry *set = set_of(key);

    if (!atomic_load_explicit(&used, memory_order_relaxed))
        atomic_store_explicit(&used, true, memory_order_relaxed);
    for (unsigned i = 0; i < WAYS; i++)
        if (arrive_at(&set[i], key, shared, now_ns))
            return (uint32_t)(&set[i] - entry) + 1;
    for (unsigned also_open = 0; also_open < 2; also_open++)
        for (unsigned i = 0; i < WAYS; i++)
            if (claim(&set[i], key, also_open, shared, now_ns))
                return (uint32_t)(&set[i] - entry) + 1;
    atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
    return 0;
}

bool prof__ledger_leave(uint32_t ref, int64_t now_ns, uint32_t owner, struct prof__debt *ret_debt,
                        struct prof__heir *ret_heir)
{
    struct entry *e = &entry[ref - 1];
    /* It stays this lock's as long as we wait in it. */
    uintptr_t lock = atomic_load_explicit(&e->lock, memory_order_relaxed);
    /* Acquire: the row is there before it is named; pairs with prof__ledger_set_heir(). */
    uint64_t heir = owner ? atomic_load_explicit(&e->heir, memory_order_acquire) : 0;
    struct prof__pair_value from;
    struct state to;

    *ret_debt = (struct prof__debt) { 0 };
    if (owner) {
        atomic_store_explicit(&e->held_since, now_ns, memory_order_relaxed);
        atomic_store_explicit(&e->owner, owner, memory_order_relaxed);
    }
    do {
        from = prof__pair_peek(&e->state);
        to = unpack(from);
        if (to.waiting == 0) /* a forked child, in which nobody waits */
            return false;
        to.balance = (int64_t)((uint64_t)to.balance + (uint64_t)now_ns);
        to.waiting--;
        if (to.waiting == 0) /* a charge with a clock read after ours was faster */
            to.balance = PROF_MAX(to.balance, 0);
        if (heir) /* those who gave up meanwhile are left to the next release */
            *ret_debt = settle(&to, 0, now_ns);
    } while (!change(e, lock, from, to));

    *ret_heir = (struct prof__heir) { (uint32_t)(heir >> 32), (uint32_t)heir };
    return (ret_debt->wait_ns || ret_debt->waiters) && ret_heir->row != PROF__HEIR_NOBODY;
}

void prof__ledger_retract(uint32_t ref, bool shared, int64_t since_ns)
{
    struct entry *e = &entry[ref - 1];
    uintptr_t lock = atomic_load_explicit(&e->lock, memory_order_relaxed);
    struct prof__pair_value from;
    struct state to;

    do {
        from = prof__pair_peek(&e->state);
        to = unpack(from);
        if (to.waiting == 0)
            return;
        to.balance = (int64_t)((uint64_t)to.balance + (uint64_t)since_ns);
        to.waiting--;
        if (to.waiting == 0)
            to.balance = PROF_MAX(to.balance, 0);
        uint32_t *count = shared ? &to.sharing : &to.fresh;
        *count -= *count > 0;
    } while (!change(e, lock, from, to));
}

/* --- releases --------------------------------------------------------------------------------- */

/* Waits that a release of the lock ends: of all entries that it has, as two threads that arrived at
 * once may have made two. Who arrives meanwhile waits, and is not counted, in one step. */
static uint32_t waits_over(const struct entry *set, uintptr_t lock)
{
    uint32_t fresh = 0, waiting = 0;

    for (unsigned i = 0; i < WAYS; i++) {
        struct prof__pair_value v;

        if (peek(&set[i], lock, &v)) {
            fresh += unpack(v).fresh;
            waiting += unpack(v).waiting;
        }
    }
    uint32_t stay = waiting ? waiting - 1 : 0;
    return fresh > stay ? fresh - stay : 0;
}

bool prof__ledger_take(const void *lock, int64_t now_ns, struct prof__debt *ret_debt)
{
    uintptr_t key = (uintptr_t)lock;
    struct entry *set = set_of(key);
    struct prof__debt sum = { 0 };
    uint32_t over = waits_over(set, key);

    for (unsigned i = 0; i < WAYS; i++) {
        uint32_t here = 0;
        struct prof__pair_value from;
        struct prof__debt d;
        struct state to;

        do {
            if (!peek(&set[i], key, &from)) {
                d = (struct prof__debt) { 0 };
                here = 0;
                break;
            }
            to = unpack(from);
            here = PROF_MIN(over, to.fresh);
            d = settle(&to, here, now_ns);
            /* Until prof__ledger_set_heir() nobody else is to be charged. */
            atomic_store_explicit(&set[i].heir, 0, memory_order_relaxed);
        } while (!change(&set[i], key, from, to));
        over -= here;
        sum.wait_ns += d.wait_ns;
        sum.waiters += d.waiters;
    }
    *ret_debt = sum;
    return sum.wait_ns || sum.waiters;
}

void prof__ledger_put_back(const void *lock, const struct prof__debt *debt)
{
    uintptr_t key = (uintptr_t)lock;
    struct entry *set = set_of(key);

    for (unsigned i = 0; i < WAYS; i++) {
        struct prof__pair_value from;

        while (peek(&set[i], key, &from)) {
            struct state to = unpack(from);

            to.balance += debt->wait_ns;
            to.fresh = PROF_MIN(to.fresh + debt->waiters, (uint32_t)COUNT_MAX);
            if (change(&set[i], key, from, to))
                return;
        }
    }
}

void prof__ledger_set_heir(const void *lock, struct prof__heir heir)
{
    uintptr_t key = (uintptr_t)lock;
    struct entry *set = set_of(key);
    struct prof__pair_value state;

    /* Release: pairs with prof__ledger_leave(). An entry that has just become another lock's may
     * get it by mistake; then some microseconds of that lock are charged here. */
    for (unsigned i = 0; i < WAYS; i++)
        if (peek(&set[i], key, &state) && !idle(unpack(state)))
            atomic_store_explicit(&set[i].heir, (uint64_t)heir.row << 32 | heir.factor,
                                  memory_order_release);
}

int64_t prof__ledger_held_since(const void *lock, uint32_t owner)
{
    uintptr_t key = (uintptr_t)lock;
    struct entry *set = set_of(key);
    struct prof__pair_value state;

    for (unsigned i = 0; i < WAYS; i++)
        if (peek(&set[i], key, &state) && unpack(state).waiting &&
            atomic_load_explicit(&set[i].owner, memory_order_relaxed) == owner)
            return atomic_load_explicit(&set[i].held_since, memory_order_relaxed);
    return 0;
}

void prof__ledger_forgive(int64_t now_ns)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        uintptr_t lock = atomic_load_explicit(&entry[i].lock, memory_order_relaxed);
        struct prof__pair_value from;
        struct state to;

        if (!lock)
            continue;
        do {
            if (!peek(&entry[i], lock, &from))
                break;
            to = unpack(from);
            to.balance = (int64_t)((uint64_t)to.balance - (uint64_t)owed(to, now_ns));
            to.fresh = to.sharing = 0;
        } while (!change(&entry[i], lock, from, to));
    }
}

uint64_t prof__ledger_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

/* Threads that are not here may have been between an account and its count in the filters. */
static void fork_child(void)
{
    if (!atomic_load_explicit(&used, memory_order_relaxed))
        return;
    for (unsigned i = 0; i < FILTERS; i++) {
        struct prof__lock_filter *f = atomic_load_explicit(&filter[i], memory_order_relaxed);

        for (size_t k = 0; f && k < ARRAY_LEN(f->open); k++)
            if (atomic_load_explicit(&f->open[k], memory_order_relaxed))
                atomic_store_explicit(&f->open[k], 0, memory_order_relaxed);
    }
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct entry *e = &entry[i];
        uintptr_t lock = atomic_load_explicit(&e->lock, memory_order_relaxed);

        if (!lock)
            continue;
        atomic_store_explicit(&e->lock, 0, memory_order_relaxed);
        atomic_store_explicit(&e->state.low, 0, memory_order_relaxed);
        atomic_store_explicit(&e->state.high, 0, memory_order_relaxed);
    }
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, fork_child)
