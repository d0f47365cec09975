/*
 * vars.c - the thread that notes numbers, and who may see them.
 *
 * It is a thread of its own, not the server's: that one symbolizes for seconds when somebody looks,
 * which is just when the numbers are wanted; it may share its descriptor table with the program,
 * while here files stay open; and a program that serves from its own libmicrohttpd has none.
 *
 * Each second is counted from the first, so that the record does not drift; seconds that have
 * passed while the process stood still are left out.
 *
 * While captures are on, their thread looks at much the same numbers. As long as it has nothing
 * else to do it notes them as well, and this one sleeps: one wake-up a second for both.
 */
#include "capture/vars.h"

#include <prof/prof.h>
#include <prof/vars.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/settings.h"
#include "capture/guest.h"
#include "capture/record.h"
#include "capture/sources.h"
#include "symbol/symbolize.h"

enum {
    SECOND_NS = 1000000000,
    FOLLOW_S = 60, /* from one look at the cgroup to the next */
    STACK_BYTES = 64 * 1024,
};

static void note(void);

static struct prof__guest guest =
    PROF__GUEST_INIT(PROF__RANK_VARS, "prof-vars", STACK_BYTES, note, NULL);
static _Atomic bool forbidden;    /* by LIBPROF_VARS=0, when it was to be started last */
static _Atomic int sources_error; /* of prof__sources_open() */
static _Atomic(struct prof__record *) record;
static _Atomic int64_t due_ns; /* the next second */
static _Atomic bool noting;    /* one thread is at it */
static _Atomic bool is_lent;   /* another sees to it */

/* The record stays as memory, and begins anew. */
static void in_child(void)
{
    struct prof__record *r = atomic_load_explicit(&record, memory_order_relaxed);

    prof__guest_in_child(&guest);
    atomic_store_explicit(&noting, false, memory_order_relaxed);
    atomic_store_explicit(&is_lent, false, memory_order_relaxed);
    if (r) {
        atomic_store_explicit(&r->seconds.written, 0, memory_order_relaxed);
        atomic_store_explicit(&r->minutes.written, 0, memory_order_relaxed);
        r->minute_from_ms = 0;
    }
}
PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, in_child)

/* --- the thread ------------------------------------------------------------------------------- */

/* Note this second, unless that was done. When the next one is due. */
static int64_t note_due(struct prof__sources *sources)
{
    int64_t due = atomic_load(&due_ns), now_ns = prof__monotonic_ns();
    int64_t next = due + SECOND_NS * ((now_ns - due) / SECOND_NS + 1);
    uint64_t value[PROF__VARS];

    if (now_ns < due)
        return due;
    if (atomic_exchange(&noting, true)) /* late: the last one is not in yet */
        return next;
    if (atomic_compare_exchange_strong(&due_ns, &due, next)) {
        prof__sources_read(sources, value);
        prof__record_add(atomic_load_explicit(&record, memory_order_relaxed), value);
        prof__symbolize_tend(true);
    }
    atomic_store(&noting, false);
    return next;
}

static void note(void)
{
    struct prof__sources sources;
    int64_t follow_ns = 0;

    atomic_store_explicit(&sources_error, prof__sources_open(&sources), memory_order_relaxed);
    atomic_store(&due_ns, prof__monotonic_ns());
    for (;;) {
        uint32_t turn = prof__guest_turn(&guest);
        int64_t next_ns = INT64_MAX, now_ns = prof__monotonic_ns();

        if (prof__guest_is_ending(&guest))
            break;
        if (!atomic_load(&is_lent)) {
            if (now_ns >= follow_ns) {
                prof__sources_follow(&sources);
                follow_ns = now_ns + FOLLOW_S * (int64_t)SECOND_NS;
            }
            next_ns = note_due(&sources);
        }
        prof__guest_wait(&guest, turn, next_ns);
    }
    prof__sources_close(&sources);
    prof__symbolize_tend(false);
}

int64_t prof__vars_note(struct prof__sources *sources)
{
    bool is_wanted = !prof__guest_is_gone(&guest);

    atomic_store(&is_lent, is_wanted);
    return is_wanted ? note_due(sources) : INT64_MAX;
}

void prof__vars_give_back(void)
{
    if (atomic_exchange(&is_lent, false))
        prof__guest_wake(&guest);
}

/* --- starting and stopping -------------------------------------------------------------------- */

static int leave(int timeout_ms)
{
    return prof__guest_leave(&guest, timeout_ms);
}

static int come_back(void)
{
    return prof__guest_come_back(&guest);
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

/* One that is there already is kept, and so is the first of two that were made at once. */
static int make_record(void)
{
    struct prof__record *r, *none = NULL;

    if (atomic_load_explicit(&record, memory_order_acquire))
        return 0;
    r = prof__pages_map(sizeof(*r));
    if (!r)
        return -ENOMEM;
    prof__record_init(r);
    /* Release: its rings, for who reads. */
    if (!atomic_compare_exchange_strong_explicit(&record, &none, r, memory_order_release,
                                                 memory_order_acquire))
        prof__pages_unmap(r, sizeof(*r));
    return 0;
}

int prof_vars_start(void)
{
    if (ask_environment())
        return prof_set_last_error(-ENOTSUP, "LIBPROF_VARS=0 forbids it");
    int r = make_record();

    if (r == 0)
        r = prof__guest_start(&guest);
    return r == -ENOMEM ? prof__error_memory("the record of numbers") : r;
}

int prof_vars_stop(void)
{
    int r = prof__guest_stop(&guest);

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
    if (prof__guest_is_gone(&guest))
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
