/*
 * collect_trace.c - events for a timeline, written to the rings while somebody wants them.
 *
 * Waits and releases come from collect_lock.c, CPU samples from collect_cpu.c, labels from
 * labels.c; here is the rest, what the program itself tells with it, and the switch.
 */
#include "record/collect_trace.h"

#include <errno.h>
#include <prof/trace.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/error.h"
#include "base/fork.h"
#include "base/lock.h"
#include "base/slot.h"
#include "record/collect_thread.h"
#include "table/spans.h"
#include "table/trace_names.h"
#include "table/trace_ring.h"

/* --- the switch ------------------------------------------------------------------------------- */

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_TRACE);

/* Guarded by the lock. */
static unsigned traces, with_samples, with_calls;

static _Atomic int64_t min_wait_ns;
static _Atomic uint64_t min_ticks;

int64_t prof__trace_min_wait_ns(void)
{
    return atomic_load_explicit(&min_wait_ns, memory_order_relaxed);
}

uint64_t prof__trace_min_ticks(void)
{
    return atomic_load_explicit(&min_ticks, memory_order_relaxed);
}

/* The lock is held. */
static void set_wants(void)
{
    uint32_t wants = (traces ? PROF__TRACE_EVENTS : 0u) |
                     (with_samples ? PROF__TRACE_SAMPLES : 0u) |
                     (with_calls ? PROF__TRACE_CALLS : 0u);

    /* Sequentially consistent, as collect_lock.c wants it of what its hooks go by. */
    atomic_store(&prof__trace_wants, wants);
    prof__lock_hooks_switch();
}

static void count(uint32_t wants, int n)
{
    traces += (unsigned)n;
    with_samples += wants & PROF__TRACE_SAMPLES ? (unsigned)n : 0;
    with_calls += wants & PROF__TRACE_CALLS ? (unsigned)n : 0;
    set_wants();
}

int prof__trace_open(int64_t min_ns, uint32_t wants)
{
    uint64_t mask = prof__lock_masked(&lock);
    int r = prof__trace_rings_begin();

    prof__trace_names_begin();
    if (r == 0 && traces == 0)
        r = prof__spans_begin();
    if (r == 0) {
        if (traces == 0 || min_ns < prof__trace_min_wait_ns()) {
            atomic_store_explicit(&min_wait_ns, min_ns, memory_order_relaxed);
            atomic_store_explicit(&min_ticks, prof__trace_ticks(min_ns), memory_order_relaxed);
        }
        count(wants, 1);
    }
    prof__unlock_masked(&lock, mask);
    return r;
}

void prof__trace_close(uint32_t wants)
{
    uint64_t mask = prof__lock_masked(&lock);

    if (traces) {
        count(wants, -1);
        if (traces == 0)
            prof__trace_rings_end();
    }
    prof__unlock_masked(&lock, mask);
}

/* A child begins with no trace: what its parent's threads do is not its affair. */
static void fork_child(void)
{
    prof__lock_reset(&lock);
    traces = with_samples = with_calls = 0;
    set_wants();
}

PROF__AT_FORK(PROF__RANK_TRACE, NULL, NULL, fork_child)

/* --- wake-ups --------------------------------------------------------------------------------- */

uint64_t prof__trace_try(void)
{
    return prof__tracing() ? prof__trace_time() : 0;
}

void prof__trace_wake(const void *object, bool all)
{
    if (prof__tracing())
        prof__trace_write_now(PROF__TRACE_WAKE, all, (uintptr_t)object, 0);
}

/* --- threads ---------------------------------------------------------------------------------- */

static _Atomic uint32_t threads;

uint32_t prof__trace_thread_created(void)
{
    uint32_t number = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;

    prof__trace_write_now(PROF__TRACE_CREATE, 0, number, 0);
    return number;
}

/* Its name is told when it ends, since it is asked of the kernel, and may have been changed. */
static void thread_ended(const struct prof__slot *s)
{
    char name[16] = "";
    uint64_t word[2];
    int saved = errno;

    if (!prof__tracing() || prof__slot_hidden(s))
        return;
    if (prctl(PR_GET_NAME, name) == 0) {
        memcpy(word, name, sizeof(word));
        prof__trace_write_now(PROF__TRACE_NAME, 0, word[0], word[1]);
    }
    prof__trace_write_now(PROF__TRACE_END, 0, (uintptr_t)pthread_self(), 0);
    errno = saved;
}

__attribute__((constructor(101))) static void set_up(void)
{
    prof__slot_at_exit(PROF__SLOT_EXIT_TRACE, thread_ended);
}

void prof__trace_thread_started(uint32_t number, uintptr_t function)
{
    prof__slot_mine(); /* without one its end would not be told */
    prof__trace_write_now(PROF__TRACE_START, 0, number, function);
}

/* --- what the program tells ------------------------------------------------------------------- */

static int no_name(const char *call)
{
    return prof_set_last_error(-EINVAL, "%s() takes a name", call);
}

static PROF_APART int tell_region_begin(const char *name)
{
    uint32_t n = prof__trace_name(name);

    prof__span_region_begin(n, prof__trace_time());
    return 0;
}

int prof_region_begin(const char *name)
{
    if (!name || !*name)
        return no_name(__func__);
    return prof__tracing() ? tell_region_begin(name) : 0;
}

static PROF_APART int tell_region_end(const char *name)
{
    uint64_t now = prof__trace_time();

    prof__span_region_end(prof__trace_name(name), now);
    return 0;
}

int prof_region_end(const char *name)
{
    if (!name || !*name)
        return no_name(__func__);
    return prof__tracing() ? tell_region_end(name) : 0;
}

static PROF_APART int tell_task_begin(uint64_t id, const char *name)
{
    uint32_t n = prof__trace_name(name);
    uint64_t now = prof__trace_time();

    prof__trace_write(PROF__TRACE_TASK_BEGIN, 0, now, id, n, 0);
    prof__span_task_begin(id, n, now);
    return 0;
}

int prof_task_begin(uint64_t id, const char *name)
{
    if (!name || !*name)
        return no_name(__func__);
    return prof__tracing() ? tell_task_begin(id, name) : 0;
}

static PROF_APART int tell_task_end(uint64_t id, const char *name)
{
    uint64_t now = prof__trace_time();
    uint32_t n = prof__trace_name(name);

    prof__trace_write(PROF__TRACE_TASK_END, 0, now, id, n, 0);
    prof__span_task_end(id, n, now);
    return 0;
}

int prof_task_end(uint64_t id, const char *name)
{
    if (!name || !*name)
        return no_name(__func__);
    return prof__tracing() ? tell_task_end(id, name) : 0;
}

int prof_trace_log(const char *text)
{
    if (!text)
        return prof_set_last_error(-EINVAL, "prof_trace_log() takes a text");
    if (prof__tracing())
        prof__trace_write_text(text, strnlen(text, PROF__TRACE_TEXT_MAX));
    return 0;
}
