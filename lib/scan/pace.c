/*
 * pace.c - a share of one processor, by the thread's own clock.
 *
 * After each millisecond of work the thread sleeps for as long as it takes to be within its share.
 * What was slept too much, since the machine was busy, is not made up for later.
 */
#include "scan/pace.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/wait.h"

enum { LOOK_BYTES = 512 * 1024, SLICE_NS = 50 * 1000 * 1000, WORK_NS = 1000 * 1000 };

static int64_t cpu_now(void)
{
    return prof__clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void prof__pace_start(struct prof__pace *p)
{
    p->cpu_ns = cpu_now();
    p->wall_ns = prof__monotonic_ns();
    p->since = 0;
}

static int is_cancelled(struct prof__pace *p)
{
    return p->cancelled && p->cancelled(p->arg) ? -ECANCELED : 0;
}

static void sleep_ns(int64_t ns)
{
    int saved = errno;

    prof__sleep_ns(ns);
    errno = saved;
}

int prof__pace_sleep(struct prof__pace *p, int64_t ns)
{
    int64_t end = prof__monotonic_ns() + ns;
    int r = is_cancelled(p);

    for (int64_t left = ns; r == 0 && left > 0; left = end - prof__monotonic_ns()) {
        sleep_ns(PROF_MIN(left, (int64_t)SLICE_NS));
        r = is_cancelled(p);
    }
    prof__pace_start(p);
    return r;
}

int prof__pace_step(struct prof__pace *p, size_t bytes)
{
    p->since += bytes;
    if (p->since < LOOK_BYTES)
        return 0;
    p->since = 0;
    int64_t worked = cpu_now() - p->cpu_ns;
    if (worked < WORK_NS)
        return 0;
    p->used_ns += worked;
    if (p->cpu_percent > 0 && p->cpu_percent < 100) {
        int64_t due = worked * 100 / (int64_t)p->cpu_percent;
        int64_t early = due - (prof__monotonic_ns() - p->wall_ns);

        if (early > 0)
            sleep_ns(PROF_MIN(early, (int64_t)SLICE_NS));
    }
    prof__pace_start(p);
    return is_cancelled(p);
}
