/*
 * vars.c - the thread that notes numbers, and who may see them.
 *
 * It is a thread of its own, not the server's: that one symbolizes for seconds when somebody looks,
 * which is just when the numbers are wanted; it may share its descriptor table with the program,
 * while here files stay open; and a program that serves from its own libmicrohttpd has none.
 *
 *   start -> thread: open, then each second: read sources -> record
 *   stop, or a call that is for processes of one thread -> ENDING -> the thread says GONE
 *
 * Each second is counted from the first, so that the record does not drift; seconds that have
 * passed while the process stood still are left out. The thread is detached and its last act is to
 * say that it is gone, so nobody joins it.
 */
#include <prof/prof.h>
#include <prof/vars.h>

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/lock.h"
#include "base/settings.h"
#include "base/thread.h"
#include "capture/record.h"
#include "capture/sources.h"

enum {
    SECOND_NS = 1000000000,
    FOLLOW_S = 60, /* from one look at the cgroup to the next */
    STOP_MS = 2000,
    STACK_BYTES = 64 * 1024,
};

/* What the thread is to do, a futex. Starting and ending are done with the lock held; the thread
 * itself goes from ENDING to LEAVING, from where there is no way back, and to GONE. */
enum { GONE, RUNNING, ENDING, LEAVING };

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_VARS);
static unsigned users;
static bool away; /* between leave() and come_back() */
static _Atomic uint32_t state;
static _Atomic bool forbidden;    /* by LIBPROF_VARS=0, when it was to be started last */
static _Atomic int sources_error; /* of prof__sources_open() */
static _Atomic(struct prof__record *) record;

/* The record stays as memory, and begins anew. */
static void in_child(void)
{
    struct prof__record *r = atomic_load_explicit(&record, memory_order_relaxed);

    prof__lock_reset(&lock);
    users = 0;
    away = false;
    atomic_store_explicit(&state, GONE, memory_order_relaxed);
    if (r) {
        atomic_store_explicit(&r->seconds.written, 0, memory_order_relaxed);
        atomic_store_explicit(&r->minutes.written, 0, memory_order_relaxed);
        r->minute_from_ms = 0;
    }
}
PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, in_child)

/* --- the thread ------------------------------------------------------------------------------- */

/* Until that moment, or until the state is no more what it was. */
static void wait_while(uint32_t was, int64_t until_ns)
{
    struct timespec until = { until_ns / SECOND_NS, until_ns % SECOND_NS };

    syscall(SYS_futex, &state, FUTEX_WAIT_BITSET_PRIVATE, was, &until, NULL,
            FUTEX_BITSET_MATCH_ANY);
}

static void wake(void)
{
    syscall(SYS_futex, &state, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* True: it is to end, and nobody can take that back. */
static bool is_leaving(void)
{
    uint32_t ending = ENDING;

    return atomic_compare_exchange_strong(&state, &ending, LEAVING);
}

static void *note(void *arg)
{
    struct prof__record *r = arg;
    struct prof__sources sources;
    uint64_t value[PROF__VARS];
    int64_t next_ns = prof__monotonic_ns(), n = 0;

    atomic_store_explicit(&sources_error, prof__sources_open(&sources), memory_order_relaxed);
    while (!is_leaving()) {
        int64_t now_ns = prof__monotonic_ns();

        if (now_ns < next_ns) {
            wait_while(RUNNING, next_ns);
            continue;
        }
        if (n++ % FOLLOW_S == 0)
            prof__sources_follow(&sources);
        prof__sources_read(&sources, value);
        prof__record_add(r, value);
        next_ns += SECOND_NS * ((now_ns - next_ns) / SECOND_NS + 1);
    }
    prof__sources_close(&sources);
    atomic_store(&state, GONE);
    wake();
    return NULL;
}

/* --- starting and stopping, with the lock held ------------------------------------------------ */

static int start_thread(void)
{
    struct prof_helper helper = PROF_HELPER_INIT;
    struct prof__record *r = atomic_load_explicit(&record, memory_order_relaxed);
    uint32_t ending = ENDING;

    if (atomic_load(&state) == RUNNING || atomic_compare_exchange_strong(&state, &ending, RUNNING))
        return 0;
    while (atomic_load(&state) == LEAVING) /* it has nothing more to do but to say so */
        wait_while(LEAVING, prof__monotonic_ns() + SECOND_NS);
    if (!r) {
        r = prof__pages_map(sizeof(*r));
        if (!r)
            return -ENOMEM;
        prof__record_init(r);
        /* Release: its rings, for who reads. */
        atomic_store_explicit(&record, r, memory_order_release);
    }
    helper.name = "prof-vars";
    helper.stack_bytes = STACK_BYTES;
    helper.run = note;
    helper.arg = r;
    helper.detached = true;
    atomic_store(&state, RUNNING);
    int error = prof_helper_start(&helper, NULL);
    if (error < 0)
        atomic_store(&state, GONE);
    return error;
}

/* False: it is late. It will end by itself. */
static bool end_thread(int timeout_ms)
{
    int64_t until_ns = prof__monotonic_ns() + timeout_ms * (int64_t)1000000;
    uint32_t running = RUNNING, now;

    if (atomic_compare_exchange_strong(&state, &running, ENDING))
        wake();
    while ((now = atomic_load(&state)) != GONE && prof__monotonic_ns() < until_ns)
        wait_while(now, until_ns);
    return now == GONE;
}

/* For prof_helper_can_leave(). */
static int leave(int timeout_ms)
{
    uint64_t mask = prof__lock_masked(&lock);
    uint32_t ending = ENDING;
    int r = 0;

    if (users && !end_thread(timeout_ms) &&
        atomic_compare_exchange_strong(&state, &ending, RUNNING))
        r = -ETIMEDOUT;
    away = r == 0;
    prof__unlock_masked(&lock, mask);
    return r;
}

static int come_back(void)
{
    uint64_t mask = prof__lock_masked(&lock);
    int r;

    away = false;
    r = users ? start_thread() : 0;
    prof__unlock_masked(&lock, mask);
    return r;
}

__attribute__((constructor(102))) static void set_up(void)
{
    prof_helper_can_leave(leave, come_back);
}

/* Asked of the environment by who starts it, never by who reads: the program may be changing that.
 */
static bool ask_environment(void)
{
    struct prof__settings settings;

    prof__settings_read(&settings, false);
    atomic_store_explicit(&forbidden, settings.vars == 0, memory_order_relaxed);
    return settings.vars == 0;
}

int prof_vars_start(void)
{
    if (ask_environment())
        return prof_set_last_error(-ENOTSUP, "LIBPROF_VARS=0 forbids it");
    bool entered = prof__enter(&prof__self);
    uint64_t mask = prof__lock_masked(&lock);
    int r = away ? 0 : start_thread(); /* else it is started by who comes back */
    if (r == 0)
        users++;
    prof__unlock_masked(&lock, mask);
    if (entered)
        prof__leave(&prof__self);
    return r == -ENOMEM ? prof__error_memory("the record of numbers") : r;
}

int prof_vars_stop(void)
{
    bool entered = prof__enter(&prof__self);
    uint64_t mask = prof__lock_masked(&lock);
    int r = users ? 0 : -EALREADY;

    if (users && --users == 0)
        end_thread(STOP_MS);
    prof__unlock_masked(&lock, mask);
    if (entered)
        prof__leave(&prof__self);
    return r < 0 ? prof_set_last_error(r, "the record of numbers was not started") : 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void to_point(const uint64_t value[PROF__VARS], int64_t to_wall_ms,
                     struct prof_vars_point *ret)
{
    *ret = (struct prof_vars_point) {
        .time_ms = (int64_t)value[PROF__VAR_TIME_MS] + to_wall_ms,
        .rss_bytes = value[PROF__VAR_RSS],
        .swap_bytes = value[PROF__VAR_SWAP],
        .cgroup_bytes = value[PROF__VAR_CGROUP],
        .threads = value[PROF__VAR_THREADS],
        .cpu_ns = value[PROF__VAR_CPU],
        .heap_bytes = value[PROF__VAR_HEAP],
        .alloc_bytes = value[PROF__VAR_ALLOC],
        .block_wait_ns = value[PROF__VAR_BLOCK_WAIT],
        .mutex_wait_ns = value[PROF__VAR_MUTEX_WAIT],
        .lost = value[PROF__VAR_LOST],
    };
}

int64_t prof_vars_read(int series, struct prof_vars_point *out, size_t cap, size_t point_size)
{
    /* Acquire: its rings. */
    struct prof__record *r = atomic_load_explicit(&record, memory_order_acquire);
    int64_t to_wall_ms = (prof__wall_ns() - prof__clock_ns(CLOCK_BOOTTIME)) / 1000000;
    size_t most = PROF_MIN(cap, (size_t)PROF_VARS_MINUTES_MAX);
    size_t bytes = PROF_MAX(most, (size_t)1) * PROF__VARS * sizeof(uint64_t);

    if ((series != PROF_VARS_SECOND && series != PROF_VARS_MINUTE) || (cap && !out) ||
        point_size < sizeof(out->time_ms))
        return prof_set_last_error(-EINVAL, "prof_vars_read() takes one of two series, a place "
                                            "for points, and their size");
    if (!r || !cap)
        return 0;
    uint64_t(*value)[PROF__VARS] = prof__pages_map(bytes);
    if (!value)
        return prof__error_memory("a copy of the record");
    size_t n = prof__record_read(r, series, most, value);
    for (size_t i = 0; i < n; i++) {
        char *to = (char *)out + i * point_size;
        struct prof_vars_point point;

        to_point(value[i], to_wall_ms, &point);
        memset(to, 0, point_size); /* a newer caller's: this version has none */
        memcpy(to, &point, PROF_MIN(point_size, sizeof(point)));
    }
    prof__pages_unmap(value, bytes);
    return (int64_t)n;
}

int prof_vars_status(char *buf, size_t size)
{
    int error = atomic_load_explicit(&sources_error, memory_order_relaxed);

    if (size && !buf)
        return prof_set_last_error(-EINVAL, "no buffer given to prof_vars_status()");
    if (atomic_load_explicit(&forbidden, memory_order_relaxed))
        return snprintf(buf, size, "LIBPROF_VARS=0 keeps these numbers from being noted.\n");
    if (atomic_load(&state) == GONE)
        return snprintf(buf, size,
                        "No numbers are being noted: nobody has started that, or there "
                        "was no thread to be had.\n");
    if (error < 0)
        return snprintf(buf, size,
                        "Memory and threads are not known: the thread that notes them can have no "
                        "descriptor table of its own (close_range: %s).\n",
                        strerror(-error));
    if (size)
        buf[0] = '\0';
    return 0;
}
