/*
 * timeline_counters.c - numbers of the time of a timeline: the record's of each second
 * (capture/record.h), where it is kept, and those of this moment.
 */
#include "trace/timeline_parts.h"

#include <errno.h>
#include <prof/prof.h>
#include <prof/vars.h>

#include "base/clock.h"

enum { COUNTERS = 5, POINTS_MAX = PROF_VARS_SECONDS_MAX };

static const struct {
    const char *name, *unit;
    size_t at; /* in struct prof_vars_point */
    bool is_total;
} counters[COUNTERS] = {
    { "heap in use", "bytes", offsetof(struct prof_vars_point, heap_bytes), false },
    { "resident memory", "bytes", offsetof(struct prof_vars_point, rss_bytes), false },
    { "threads", "count", offsetof(struct prof_vars_point, threads), false },
    { "allocated per second", "bytes/s", offsetof(struct prof_vars_point, alloc_bytes), true },
    { "processors used", "ns/s", offsetof(struct prof_vars_point, cpu_ns), true },
};

static uint64_t value_of(const struct prof_vars_point *p, unsigned counter)
{
    return *(const uint64_t *)(const void *)((const char *)p + counters[counter].at);
}

/* What a total has grown a second since the point before. */
static uint64_t rate(const struct prof_vars_point *now, unsigned counter)
{
    int64_t ms = now->time_ms - now[-1].time_ms;
    uint64_t a = value_of(&now[-1], counter), b = value_of(now, counter);

    if (ms <= 0 || a == PROF_VARS_MISSING || b == PROF_VARS_MISSING || b < a)
        return PROF_VARS_MISSING;
    return (b - a) * 1000 / (uint64_t)ms;
}

int prof__timeline_add_counters(struct prof__timeline *t, struct prof__arena *a)
{
    struct prof_vars_point *point = prof__arena_array(a, POINTS_MAX, sizeof(*point));
    struct prof__counter *counter = prof__arena_array(a, COUNTERS, sizeof(*counter));
    int64_t to_mono_ns = prof__monotonic_ns() - prof__wall_ns();
    int64_t n = point && counter
                    ? prof_vars_read(PROF_VARS_SECOND, point, POINTS_MAX, sizeof(*point))
                    : -ENOMEM;

    if (n < 0)
        return (int)n;
    for (unsigned c = 0; c < COUNTERS; c++) {
        struct prof__counter_point *to = prof__arena_array(a, (size_t)n + 1, sizeof(*to));
        size_t made = 0;

        if (!to)
            return -ENOMEM;
        for (int64_t i = counters[c].is_total; i < n; i++) {
            int64_t ns = point[i].time_ms * 1000000 + to_mono_ns;
            uint64_t value = counters[c].is_total ? rate(&point[i], c) : value_of(&point[i], c);

            if (ns >= t->from_ns && ns <= t->to_ns && value != PROF_VARS_MISSING)
                to[made++] = (struct prof__counter_point) { ns, value };
        }
        if (c == 0) { /* which is known without a record, too */
            struct prof_stats stats = PROF_STATS_INIT;

            if (prof_stats(&stats) == 0)
                to[made++] = (struct prof__counter_point) { t->to_ns, stats.heap_inuse_bytes };
        }
        if (made)
            counter[t->n_counters++] =
                (struct prof__counter) { counters[c].name, counters[c].unit, to, made };
    }
    t->counter = counter;
    return 0;
}
