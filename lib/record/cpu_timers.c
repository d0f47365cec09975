/*
 * cpu_timers.c - a table of threads, their timers, and how much of their time has been told.
 *
 *   head[tid mod 1024] -> entry -> entry ...    in static memory, of which the used part is touched
 *
 * What counts is the thread's CPU clock. A period is over at first_ns of it, and then every
 * period_ns; an entry says of how many something has been told. Whoever has something to tell of
 * the thread claims what is over and not told yet: its signal, with a stack; the end of the thread;
 * or a scan, when no signal comes. So each period is told of once, whatever became of the signals,
 * and a profile adds up to what the clocks say.
 *
 * The first period ends at a place of its own for every thread, so that one that lives for less
 * than a period is told of with the probability that makes its expected time right. The places are
 * those of an additive sequence with the golden ratio, which fills the period more evenly than
 * random numbers would: ten thousand short lives add up to within a few samples.
 *
 * A thread that blocks SIGPROF gets no timer, for it might take signals by sigwait() or through a
 * signalfd, and must not be handed ours. Its mask takes a file to read, so it is read when the
 * thread is first seen; when its signals do not come though its time goes on; and after 1, 2, 4, ..
 * 64 periods of its time, so that a look costs little beside what the thread itself uses. A thread
 * in a signal handler, maybe ours, blocks signals for a moment: only two looks in a row are
 * believed, and more of a thread that has been seen to open again.
 *
 * Threads that come and go between two scans leave their time in the process's clock: what that has
 * more than all threads that are there, and than was told of those that were, is charged to no
 * thread at all. A timer outlives its thread and goes on taking one of the signals that
 * RLIMIT_SIGPENDING allows, so those of ended threads are deleted: at once where a hook sees the
 * thread end, else by the scan. An id may by then belong to another thread.
 */
#include "record/cpu_timers.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/slot.h"
#include "base/task.h"
#include "base/wait.h"
#include "record/thread_timer.h"

enum {
    HEADS = 1024,
    ENTRIES = 1 << 16,
    LOOK_SELDOM = 64,     /* periods */
    LOOKS_YOUNG = 5,      /* of a thread that is just being made */
    PATIENCE = 2,         /* looks in a row */
    PATIENCE_MAX = 16,    /* of a thread that blocks the signal off and on */
    TRIES = 50,           /* ms */
    LATE = 2,             /* periods: its signal should have come */
    GENERATION_SHIFT = 48 /* in what a signal carries, and in what has been told */
};

#define BELOW_GENERATION (((uint64_t)1 << GENERATION_SHIFT) - 1)

struct entry {
    _Atomic uint64_t told;     /* periods; above them the entry's generation: each thread has one */
    _Atomic uint64_t first_ns; /* the thread's time when the first is over */
    pid_t tid;                 /* 0: free */
    int timer;                 /* the kernel's id of it, or PROF__NO_TIMER */
    uint32_t next;             /* index in `entry`; 0: none */
    uint32_t seen;             /* the last scan that met the thread */
    uint64_t base_ns;          /* its time from which on it counts */
    uint64_t clock_ns;         /* its time at the last scan */
    uint64_t look_ns;          /* its time when its mask is to be looked at again */
    uint32_t look_every;       /* periods */
    uint8_t young;     /* looks left that do not wait for that, should it block the signal */
    uint8_t suspicion; /* looks in a row that found it with a timer and blocking */
    uint8_t patience;  /* how many it takes to take the timer away */
    bool hidden;       /* one of ours: only its time is of interest */
    bool charged;      /* for blocking */
    int16_t error;     /* why there is no timer */
};

static struct entry entry[ENTRIES];
static uint32_t head[HEADS], free_entry, n_used = 1; /* index 0 is none */
static uint32_t scan;                                /* counts them */
static _Atomic uint64_t period;
static uint64_t place_in_period; /* of 2^64: where the last first period ended */
static prof__cpu_charge_fn *charge;
static unsigned n_blocked;
static int last_error;
static pid_t caller; /* of a scan, and what it blocks when it is not in here */
static uint64_t caller_mask;

/* The process's time: where we began, what was told of or seen of threads that are no more, and
 * what was charged to none. */
static uint64_t process_base_ns, gone_ns, unseen_ns;

/* --- what is told ---------------------------------------------------------------------------- */

static uint64_t period_ns(void)
{
    return atomic_load_explicit(&period, memory_order_relaxed);
}

/* Periods over at that time of the thread's. */
static uint64_t periods_at(const struct entry *e, uint64_t clock_ns)
{
    uint64_t first = atomic_load_explicit(&e->first_ns, memory_order_relaxed);

    return clock_ns < first ? 0 : 1 + (clock_ns - first) / period_ns();
}

static uint64_t generation_of(const struct entry *e)
{
    return atomic_load_explicit(&e->told, memory_order_relaxed) >> GENERATION_SHIFT;
}

static uint64_t told_of(const struct entry *e)
{
    return atomic_load_explicit(&e->told, memory_order_relaxed) & BELOW_GENERATION;
}

/* Take what is over at `clock_ns` and has not been told. Acquire: first_ns is of that generation,
 * or the exchange fails. Context: signal. */
static int64_t claim(struct entry *e, uint64_t generation, uint64_t clock_ns)
{
    uint64_t told = atomic_load_explicit(&e->told, memory_order_acquire), over;

    do {
        over = periods_at(e, clock_ns);
        if (told >> GENERATION_SHIFT != generation || over <= (told & BELOW_GENERATION))
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&e->told, &told,
                                                    generation << GENERATION_SHIFT | over,
                                                    memory_order_acq_rel, memory_order_acquire));
    return (int64_t)(over - (told & BELOW_GENERATION));
}

static struct entry *entry_of(const siginfo_t *info)
{
    uintptr_t value = (uintptr_t)info->si_value.sival_ptr;
    uintptr_t at = (value & BELOW_GENERATION) - (uintptr_t)entry;

    return info->si_code == SI_TIMER && at < sizeof(entry) && at % sizeof(*entry) == 0
               ? &entry[at / sizeof(*entry)]
               : NULL;
}

bool prof__cpu_timer_is_ours(const siginfo_t *info)
{
    return entry_of(info) != NULL;
}

int64_t prof__cpu_timer_claim(const siginfo_t *info)
{
    uint64_t generation = (uintptr_t)info->si_value.sival_ptr >> GENERATION_SHIFT;

    return claim(entry_of(info), generation, (uint64_t)prof__clock_ns(CLOCK_THREAD_CPUTIME_ID));
}

static enum prof__cpu_why why_of(const struct entry *e)
{
    return e->timer != PROF__NO_TIMER || e->error == -EBUSY ? PROF__CPU_BLOCKED
                                                            : PROF__CPU_NO_TIMER;
}

/* Charge what no signal has told of. */
static void charge_for(struct entry *e)
{
    /* It may have hidden itself since it was found. */
    e->hidden = e->hidden || prof__slot_hidden(prof__slot_of(e->tid));
    int64_t n = e->hidden ? 0 : claim(e, generation_of(e), e->clock_ns);
    if (n == 0)
        return;
    if (why_of(e) == PROF__CPU_BLOCKED && !e->charged) {
        e->charged = true;
        n_blocked++;
    }
    charge(why_of(e), e->tid, n);
}

/* --- one timer ------------------------------------------------------------------------------- */

/* A timer counts against RLIMIT_SIGPENDING for as long as a signal of its is on the way, so those
 * of a dump that has just ended may still be in the way of a first one. */
int prof__cpu_timers_try(void)
{
    int timer = prof__thread_timer_make(prof__gettid(), SIGPROF, NULL);

    for (int i = 0; timer == -EAGAIN && i < TRIES; i++) {
        prof__sleep_ns(1000 * 1000); /* no point of cancellation: a lock is held */
        timer = prof__thread_timer_make(prof__gettid(), SIGPROF, NULL);
    }
    if (timer < 0)
        return timer;
    prof__thread_timer_delete(&timer);
    return 0;
}

/* From the next end of a period on. */
static int timer_make(struct entry *e)
{
    uint64_t first = atomic_load_explicit(&e->first_ns, memory_order_relaxed);
    uint64_t value = (uintptr_t)e | generation_of(e) << GENERATION_SHIFT;
    int timer = prof__thread_timer_make(e->tid, SIGPROF, (void *)(uintptr_t)value);

    if (timer < 0)
        return timer;
    uint64_t next = first > e->clock_ns ? first - e->clock_ns
                                        : period_ns() - (e->clock_ns - first) % period_ns();
    int r = prof__thread_timer_set(timer, next, period_ns());
    if (r < 0)
        prof__thread_timer_delete(&timer);
    e->timer = timer;
    return r;
}

static bool blocks_signal(pid_t tid)
{
    if (tid == caller)
        return caller_mask >> (SIGPROF - 1) & 1;
    int r = prof__task_blocks(tid, SIGPROF);
    /* Unknown for want of /proc counts as not: most threads do not. */
    return r == 1 || r == -EAGAIN;
}

/* Give the thread a timer, or take it away, as its signal mask says. */
static void look_at(struct entry *e, bool blocks)
{
    e->look_ns = e->clock_ns + e->look_every * period_ns();
    e->look_every = PROF_MIN(e->look_every * 2, LOOK_SELDOM);
    e->suspicion = (uint8_t)(blocks && e->timer != PROF__NO_TIMER ? e->suspicion + 1 : 0);
    if (blocks && e->suspicion < e->patience && e->timer != PROF__NO_TIMER)
        return;
    if (blocks) {
        if (e->timer != PROF__NO_TIMER) {
            prof__thread_timer_delete(&e->timer);
            e->patience = PROF_MIN((uint8_t)(e->patience * 2), PATIENCE_MAX);
            e->look_every = 1;
        }
        e->suspicion = 0;
        e->error = -EBUSY;
    } else if (e->timer == PROF__NO_TIMER) {
        if (e->error != 0)
            charge_for(e);
        e->error = (int16_t)timer_make(e);
        if (e->error != 0 && e->error != -ESRCH)
            last_error = e->error;
    }
}

/* --- the table ------------------------------------------------------------------------------- */

static uint32_t *place(pid_t tid)
{
    uint32_t *at = &head[(uint32_t)tid % HEADS];

    while (*at && entry[*at].tid != tid)
        at = &entry[*at].next;
    return at;
}

static uint32_t new_entry(void)
{
    uint32_t index = free_entry;

    if (index)
        free_entry = entry[index].next;
    else if (n_used < ENTRIES)
        index = n_used++;
    return index;
}

/* What is the time of its thread, at the last, for the account of the process? */
static void drop(uint32_t *at, uint64_t time_ns)
{
    uint32_t index = *at;
    struct entry *e = &entry[index];

    gone_ns += time_ns;
    prof__thread_timer_delete(&e->timer);
    *at = e->next;
    e->tid = 0;
    e->next = free_entry;
    free_entry = index;
    /* Release: a signal that is still on its way finds that it is too late. */
    atomic_store_explicit(&e->told, (generation_of(e) + 1) << GENERATION_SHIFT,
                          memory_order_release);
}

/* Its end was not seen, so what it told of has to do. */
static uint64_t time_known(const struct entry *e)
{
    return e->hidden ? e->clock_ns - e->base_ns : told_of(e) * period_ns();
}

/* An entry for a thread whose time counts from `base_ns` on, and is `clock_ns` now; NULL: no more
 * are to be had. */
static struct entry *new_thread(pid_t tid, uint64_t base_ns, uint64_t clock_ns)
{
    uint32_t index = new_entry();

    if (!index) {
        last_error = -ENOMEM;
        return NULL;
    }
    struct entry *e = &entry[index];
    uint32_t *at = place(tid);
    e->tid = tid;
    e->timer = PROF__NO_TIMER;
    e->next = 0;
    e->seen = scan;
    e->base_ns = base_ns;
    e->clock_ns = clock_ns;
    e->look_ns = 0;
    e->look_every = 1;
    e->young = LOOKS_YOUNG;
    e->suspicion = 0;
    e->patience = PATIENCE;
    e->hidden = e->charged = false;
    e->error = 0;
    place_in_period += 0x9e3779b97f4a7c15u; /* 2^64 by the golden ratio */
    uint64_t first = (place_in_period >> 32) * period_ns() >> 32;
    atomic_store_explicit(&e->first_ns, base_ns + 1 + first, memory_order_relaxed);
    /* Release: who finds the generation finds that, too. */
    atomic_store_explicit(&e->told, generation_of(e) << GENERATION_SHIFT, memory_order_release);
    *at = index;
    return e;
}

void prof__cpu_timers_add(pid_t tid, uint64_t blocked)
{
    uint32_t *at = place(tid);

    if (*at) /* of an earlier thread of that id */
        drop(at, time_known(&entry[*at]));
    struct entry *e = new_thread(tid, 0, (uint64_t)prof__clock_ns(CLOCK_THREAD_CPUTIME_ID));
    if (e)
        look_at(e, blocked >> (SIGPROF - 1) & 1);
}

int64_t prof__cpu_timers_end(pid_t tid, enum prof__cpu_why *ret_why)
{
    uint64_t clock_ns = (uint64_t)prof__clock_ns(CLOCK_THREAD_CPUTIME_ID);
    uint32_t *at = place(tid);

    if (!*at)
        return 0;
    struct entry *e = &entry[*at];
    int64_t n = claim(e, generation_of(e), clock_ns);
    *ret_why = e->timer == PROF__NO_TIMER ? why_of(e) : PROF__CPU_ENDED;
    drop(at, clock_ns - e->base_ns);
    return n;
}

/* --- all threads ----------------------------------------------------------------------------- */

/* What has come of a thread since the last scan. */
static void follow(struct entry *e)
{
    bool late = periods_at(e, e->clock_ns) >= told_of(e) + LATE;

    if (e->hidden)
        return;
    if (e->timer == PROF__NO_TIMER ? e->error != -EBUSY || e->clock_ns >= e->look_ns
                                   : late || e->clock_ns >= e->look_ns)
        look_at(e, blocks_signal(e->tid));
    if (e->timer == PROF__NO_TIMER || (late && e->suspicion > 0))
        charge_for(e);
}

static int visit(pid_t tid, void *arg)
{
    uint64_t clock_ns;
    uint32_t *at = place(tid);
    struct entry *e = &entry[*at];

    (void)arg;
    if (!prof__thread_time(tid, &clock_ns))
        return 0;
    /* Another thread by now? */
    if (*at && (clock_ns < e->clock_ns ||
                (e->timer != PROF__NO_TIMER && prof__thread_timer_is_dead(e->timer)))) {
        drop(at, time_known(e));
        at = place(tid);
    }
    if (*at) {
        e->seen = scan;
        e->clock_ns = clock_ns;
        follow(e);
    } else if ((e = new_thread(tid, clock_ns, clock_ns))) {
        e->hidden = prof__slot_hidden(prof__slot_of(tid));
        if (!e->hidden)
            look_at(e, blocks_signal(tid));
    }
    return 0;
}

/* Is it no more? A list of threads may lack one when others end meanwhile. */
static bool is_gone(struct entry *e)
{
    if (e->seen == scan)
        return false;
    uint64_t clock_ns;
    if (!prof__thread_time(e->tid, &clock_ns) || clock_ns < e->clock_ns)
        return true;
    e->clock_ns = clock_ns;
    return false;
}

static void drop_gone(void)
{
    for (uint32_t i = 0; i < HEADS; i++)
        for (uint32_t *at = &head[i]; *at;)
            if (is_gone(&entry[*at]))
                drop(at, time_known(&entry[*at]));
            else
                at = &entry[*at].next;
}

/*
 * What the process has used at `process_ns` and no thread accounts for. The process's clock is
 * looked at before the threads' own, so this is too little rather than too much; less than a
 * sixty-fourth of the whole is left for later, as the clocks of many that run are not read at one
 * moment.
 */
static void charge_unseen(uint64_t process_ns)
{
    uint64_t used = process_ns - process_base_ns, known = gone_ns + unseen_ns;

    for (uint32_t i = 1; i < n_used; i++)
        if (entry[i].tid)
            known += entry[i].clock_ns - entry[i].base_ns;
    if (used < known + period_ns() || used - known < used / 64)
        return;
    uint64_t n = (used - known) / period_ns();
    unseen_ns += n * period_ns();
    charge(PROF__CPU_UNSEEN, 0, (int64_t)n);
}

int prof__cpu_timers_scan(uint64_t mask)
{
    uint64_t process_ns = (uint64_t)prof__clock_ns(CLOCK_PROCESS_CPUTIME_ID);

    caller = prof__gettid();
    caller_mask = mask;
    scan++;
    int r = prof__tasks_each(visit, NULL);
    if (r < 0)
        prof__tasks_probe(visit, NULL);
    drop_gone();
    if (process_base_ns == 0) /* the first */
        process_base_ns = (uint64_t)prof__clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    else
        charge_unseen(process_ns);
    return r;
}

void prof__cpu_timers_look_again(void)
{
    for (uint32_t i = 1; i < n_used; i++) {
        struct entry *e = &entry[i];
        bool young = e->error == -EBUSY && e->young > 0;
        uint64_t clock_ns;

        if (!e->tid || e->hidden || !(young || e->suspicion > 0))
            continue;
        e->young -= young;
        if (prof__thread_time(e->tid, &clock_ns) && clock_ns >= e->clock_ns) {
            e->clock_ns = clock_ns;
            look_at(e, blocks_signal(e->tid));
        }
    }
}

/* --- a session ------------------------------------------------------------------------------- */

static void forget_account(void)
{
    process_base_ns = gone_ns = unseen_ns = 0;
    n_blocked = 0;
    last_error = 0;
}

void prof__cpu_timers_begin(uint64_t ns, prof__cpu_charge_fn *fn)
{
    atomic_store_explicit(&period, ns, memory_order_relaxed);
    if (!place_in_period)
        place_in_period = (uint64_t)prof__monotonic_ns() << 32;
    charge = fn;
    forget_account();
}

void prof__cpu_timers_clear(void)
{
    for (uint32_t i = 0; i < HEADS; i++)
        while (head[i])
            drop(&head[i], 0);
}

void prof__cpu_timers_forget(void)
{
    memset(entry, 0, n_used * sizeof(*entry));
    memset(head, 0, sizeof(head));
    free_entry = 0;
    n_used = 1;
    forget_account();
}

void prof__cpu_timers_count(struct prof__cpu_timer_counts *ret)
{
    *ret = (struct prof__cpu_timer_counts) { .blocked = n_blocked, .error = last_error };
    for (uint32_t i = 1; i < n_used; i++)
        ret->refused += entry[i].tid && !entry[i].hidden && entry[i].timer == PROF__NO_TIMER &&
                        entry[i].error != -EBUSY && entry[i].error != -ESRCH;
}
