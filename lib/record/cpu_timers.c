/*
 * cpu_timers.c - a table of threads and their timers.
 *
 *   head[tid mod 1024] -> entry -> entry ...    in static memory, of which the used part is touched
 *
 * timer_create(2) is called as the system call, since libc's function neither takes the clock of
 * another thread nor SIGEV_THREAD_ID. A thread's clock is named after its id by the kernel's
 * arithmetic: ~id << 3, plus 4 for a thread, plus 2 for the scheduler's time. A timer
 * outlives its thread and goes on taking one of the signals that RLIMIT_SIGPENDING allows, so
 * those of ended threads are deleted: at once where a hook sees the thread end, else by the scan.
 * An id may by then belong to another thread; a dead thread's timer shows by having no time left.
 *
 * The first interval of a timer is a random part of the period. So a thread that lives for less
 * than a period is sampled with the probability that makes its expected time right.
 *
 * A thread that blocks SIGPROF gets no timer, for it might take signals by sigwait() or through a
 * signalfd, and must not be handed ours. Since that takes a file to read, it is looked at when a
 * thread is first seen, and then after 1, 2, 4, 8, 16, 16, ... scans.
 */
#include "record/cpu_timers.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/slot.h"
#include "base/task.h"

enum { HEADS = 1024, ENTRIES = 1 << 16, NO_TIMER = -1, LOOK_SELDOM = 16, LOOKS_YOUNG = 5 };

struct entry {
    pid_t tid;
    int timer;         /* the kernel's id of it, or NO_TIMER */
    uint32_t next;     /* index in `entry`; 0: none */
    uint32_t seen;     /* the last scan that met the thread */
    uint32_t look;     /* the scan that looks at its mask again */
    uint8_t wait;      /* scans from one look to the next */
    bool suspect;      /* has a timer, and blocked the signal at the last look */
    uint8_t young;     /* extra looks left, should it block the signal */
    int16_t error;     /* why there is no timer */
    uint64_t first_ns; /* the thread's CPU time when the timer first goes off */
};

static struct entry entry[ENTRIES];
/* By entry, times that its timer has gone off and the thread was told. Apart, since a signal that
 * comes late counts here while the entry is used for another thread. */
static _Atomic uint64_t delivered[ENTRIES];
static uint32_t head[HEADS], free_entry, n_used = 1; /* index 0 is none */
static uint32_t scan;                                /* counts them */
static uint64_t period, rng;
static int last_error;
static pid_t caller; /* of a scan, and what it blocks when it is not in here */
static uint64_t caller_mask;

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* A timer's signal carries the address of its entry. */
bool prof__cpu_timer_is_ours(const siginfo_t *info)
{
    size_t at = (uintptr_t)info->si_value.sival_ptr - (uintptr_t)entry;

    return info->si_code == SI_TIMER && at < sizeof(entry) && at % sizeof(*entry) == 0;
}

int64_t prof__cpu_timer_deliver(const siginfo_t *info)
{
    const struct entry *e = info->si_value.sival_ptr;
    uint64_t n = 1 + (uint64_t)PROF_MAX(info->si_overrun, 0);

    atomic_fetch_add_explicit(&delivered[e - entry], n, memory_order_relaxed);
    return (int64_t)n;
}

void prof__cpu_timers_set_period(uint64_t period_ns)
{
    period = period_ns;
}

/* --- one timer ------------------------------------------------------------------------------- */

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec) { .tv_sec = (time_t)(ns / 1000000000),
                               .tv_nsec = (long)(ns % 1000000000) };
}

static void timer_delete_of(struct entry *e)
{
    if (e->timer != NO_TIMER)
        syscall(SYS_timer_delete, e->timer);
    e->timer = NO_TIMER;
}

static int timer_make(struct entry *e)
{
    clockid_t clock = (clockid_t)(~(unsigned)e->tid << 3 | 6);
    uint64_t first = 1 + prof__random(&rng) % period;
    struct sigevent event;
    int timer;

    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGPROF;
    event.sigev_value.sival_ptr = e;
    event.sigev_notify_thread_id = e->tid;
    if (syscall(SYS_timer_create, clock, &event, &timer) != 0)
        return -errno;

    struct itimerspec when = { timespec_of(period), timespec_of(first) };
    e->first_ns = (uint64_t)prof__clock_ns(clock) + first;
    atomic_store_explicit(&delivered[e - entry], 0, memory_order_relaxed);
    if (syscall(SYS_timer_settime, timer, 0, &when, NULL) != 0) {
        int r = -errno;

        syscall(SYS_timer_delete, timer);
        return r;
    }
    e->timer = timer;
    return 0;
}

static bool timer_is_dead(const struct entry *e)
{
    struct itimerspec left;

    return syscall(SYS_timer_gettime, e->timer, &left) != 0 ||
           (left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
}

static bool blocks_signal(pid_t tid)
{
    if (tid == caller)
        return caller_mask >> (SIGPROF - 1) & 1;
    int r = prof__task_blocks(tid, SIGPROF);
    /* Unknown for want of /proc counts as not: most threads do not. */
    return r == 1 || r == -EAGAIN;
}

/* Give the thread a timer, or take it away, as its signal mask says. A thread in a signal handler,
 * maybe ours, blocks signals for a moment: only the second look in a row is believed. */
static void look_at(struct entry *e, bool blocks)
{
    if (blocks && e->timer != NO_TIMER && !e->suspect) {
        e->suspect = true;
        return;
    }
    e->suspect = false;
    if (blocks) {
        timer_delete_of(e);
        e->error = -EBUSY;
        return;
    }
    if (e->timer != NO_TIMER)
        return;
    e->error = (int16_t)timer_make(e);
    if (e->error != 0)
        last_error = e->error;
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

static void drop(uint32_t *at)
{
    uint32_t index = *at;

    timer_delete_of(&entry[index]);
    *at = entry[index].next;
    entry[index] = (struct entry) { .next = free_entry };
    free_entry = index;
}

static int add(pid_t tid, bool blocks)
{
    uint32_t *at = place(tid);

    if (!rng)
        rng = (uint64_t)prof__monotonic_ns() | 1;
    if (*at) { /* of an earlier thread of that id */
        drop(at);
        at = place(tid);
    }
    uint32_t index = new_entry();
    if (!index) {
        last_error = -ENOMEM;
        return -ENOMEM;
    }
    entry[index] = (struct entry) {
        .tid = tid,
        .timer = NO_TIMER,
        .seen = scan,
        .look = scan + 1,
        .wait = 1,
        .young = LOOKS_YOUNG,
    };
    *at = index;
    look_at(&entry[index], blocks);
    return entry[index].error;
}

int prof__cpu_timers_add(pid_t tid, uint64_t blocked)
{
    return add(tid, blocked >> (SIGPROF - 1) & 1);
}

int64_t prof__cpu_timers_end(pid_t tid)
{
    static const struct timespec now = { 0, 0 };
    static const uint64_t sigprof = (uint64_t)1 << (SIGPROF - 1);
    uint32_t *at = place(tid);
    int64_t missing = 0;

    if (!*at)
        return 0;
    struct entry *e = &entry[*at];
    if (e->timer != NO_TIMER) {
        uint64_t used_ns = (uint64_t)prof__clock_ns(CLOCK_THREAD_CPUTIME_ID);

        if (used_ns >= e->first_ns)
            missing = (int64_t)(1 + (used_ns - e->first_ns) / period) -
                      (int64_t)atomic_load_explicit(&delivered[e - entry], memory_order_relaxed);
    }
    drop(at);
    /* Older kernels leave the signal of a deleted timer to be delivered: it has been counted. */
    if (missing > 0)
        syscall(SYS_rt_sigtimedwait, &sigprof, NULL, &now, sizeof(sigprof));
    return missing;
}

static int visit(pid_t tid, void *arg)
{
    uint32_t index = *place(tid);
    struct entry *e = &entry[index];

    if (!index) {
        if (!prof__slot_hidden(prof__slot_of(tid)))
            add(tid, blocks_signal(tid));
        return 0;
    }
    e->seen = scan;
    if (e->timer != NO_TIMER && timer_is_dead(e)) {
        timer_delete_of(e);
        e->look = scan;
    }
    if (e->look == scan || (e->timer == NO_TIMER && e->error != -EBUSY)) {
        look_at(e, blocks_signal(tid));
        e->look = scan + e->wait;
        e->wait = (uint8_t)PROF_MIN(e->wait * 2, LOOK_SELDOM);
    }
    return 0;
}

static void set_caller(uint64_t mask)
{
    caller = prof__gettid();
    caller_mask = mask;
}

int prof__cpu_timers_scan(uint64_t mask)
{
    set_caller(mask);
    scan++;
    int r = prof__tasks_each(visit, NULL);
    if (r < 0)
        prof__tasks_probe(visit, NULL);
    for (uint32_t i = 0; i < HEADS; i++)
        for (uint32_t *at = &head[i]; *at;)
            if (entry[*at].seen != scan)
                drop(at);
            else
                at = &entry[*at].next;
    return r;
}

void prof__cpu_timers_clear(void)
{
    for (uint32_t i = 0; i < HEADS; i++)
        while (head[i])
            drop(&head[i]);
    last_error = 0;
}

void prof__cpu_timers_forget(void)
{
    memset(entry, 0, n_used * sizeof(*entry));
    memset(head, 0, sizeof(head));
    free_entry = 0;
    n_used = 1;
    last_error = 0;
}

void prof__cpu_timers_look(uint64_t mask)
{
    set_caller(mask);
    for (uint32_t i = 1; i < n_used; i++)
        if (entry[i].tid)
            look_at(&entry[i], blocks_signal(entry[i].tid));
}

void prof__cpu_timers_look_again(void)
{
    for (uint32_t i = 1; i < n_used; i++) {
        struct entry *e = &entry[i];
        bool again = e->suspect || (e->error == -EBUSY && e->young > 0);

        if (e->tid && again) {
            e->young -= e->young > 0;
            look_at(e, blocks_signal(e->tid));
        }
    }
}

void prof__cpu_timers_count(struct prof__cpu_timer_counts *ret)
{
    *ret = (struct prof__cpu_timer_counts) { .error = last_error };
    for (uint32_t i = 1; i < n_used; i++) {
        struct entry *e = &entry[i];

        if (e->tid == 0)
            continue;
        ret->armed += e->timer != NO_TIMER;
        ret->blocked += e->error == -EBUSY;
        ret->refused += e->timer == NO_TIMER && e->error != -EBUSY;
    }
}
