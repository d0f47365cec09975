/*
 * cpu.c - the CPU profile, which is not in the registry: without a window it has nothing to
 * say. Also prof_cpu_start() and prof_cpu_stop(), which are one window that the process shares.
 */
#include "base/error.h"
#include "profile/builtin.h"
#include "profile/snapshot.h"
#include "record/collect_cpu.h"

#include <string.h>

static int64_t period(void)
{
    return (int64_t)prof__cpu_period_ns();
}

/* A row counts samples. All of a window were taken at one rate: it changes only between windows. */
static void finish(const struct prof__values *raw, int64_t ret_value[PROF__VALUES_MAX])
{
    ret_value[0] = prof__values_total(raw, 0, 0);
    if (__builtin_mul_overflow(ret_value[0], period(), &ret_value[1]))
        ret_value[1] = INT64_MAX;
}

static int take(const struct prof_write_options *w, struct prof__snapshot *ret)
{
    (void)w;
    prof__cpu_settle();
    return prof__snapshot_take(PROF__TABLE_CPU, ret);
}

static int status(char *buf, size_t size)
{
    struct prof__cpu_state state;
    int length = 0;

    prof__cpu_state(&state);
    if (state.taken_over)
        prof__append(buf, size, &length,
                     "the program has set a SIGPROF handler of its own: the profile ends there\n");
    if (state.refused)
        prof__append(buf, size, &length,
                     "%u threads are not sampled: no timer to be had: %s%s; their time is under "
                     "[thread without a timer]\n",
                     state.refused, strerror(-state.error),
                     state.error == -EAGAIN ? " (RLIMIT_SIGPENDING is used up)" : "");
    if (state.blocked)
        prof__append(buf, size, &length,
                     "%u threads block SIGPROF, always or at times: what they use meanwhile is "
                     "under [thread blocks SIGPROF]\n",
                     state.blocked);
    if (state.no_proc)
        prof__append(buf, size, &length,
                     "some threads may be missing: /proc/self/task cannot be "
                     "read\n");
    if (state.no_controller)
        prof__append(buf, size, &length,
                     "threads that no hook has seen start are missing: no thread could be made to "
                     "look for them\n");
    prof__append_losses(buf, size, &length);
    return length;
}

struct prof_profile prof__profile_cpu = {
    .name = "profile",
    .description = "Where CPU time goes, over some seconds.",
    .table = PROF__TABLE_CPU,
    .n_values = 2,
    .value_type = { { "samples", "count" }, { "cpu", "nanoseconds" } },
    .period_type = { "cpu", "nanoseconds" },
    .period = period,
    .finish = finish,
    .take = take,
    .time_is_start = true,
    .open = prof__cpu_open,
    .close = prof__cpu_close,
    .status = status,
};

/* --- one for the whole process --------------------------------------------------------------- */

static struct {
    struct prof_window *window;
    prof_sink_fn *sink;
    void *arg;
} under_way;

/* 0: none; 1: being started or stopped; 2: under way. */
static _Atomic int started;

int prof_cpu_start(prof_sink_fn *sink, void *arg)
{
    int seen = 0;

    if (!sink)
        return prof_set_last_error(-EINVAL, "no sink given to prof_cpu_start()");
    /* Acquire: what the last stop wrote. */
    if (!atomic_compare_exchange_strong_explicit(&started, &seen, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return prof_set_last_error(-EBUSY, "a CPU profile is already under way");
    int r = prof_window_open("profile", &under_way.window);
    under_way.sink = sink;
    under_way.arg = arg;
    atomic_store_explicit(&started, r == 0 ? 2 : 0, memory_order_release);
    return r;
}

int prof_cpu_stop(void)
{
    int seen = 2;

    if (!atomic_compare_exchange_strong_explicit(&started, &seen, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return prof_set_last_error(-EALREADY, "no CPU profile is under way");
    int r = prof_window_write(under_way.window, NULL, under_way.sink, under_way.arg);
    prof_window_close(under_way.window);
    atomic_store_explicit(&started, 0, memory_order_release);
    return r;
}
