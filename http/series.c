/*
 * series.c - what the numbers are called, and how they are read and written.
 */
#include "series.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MINUTES_WORTH = 10,   /* with fewer, seconds tell more */
    LEAST_MS = 60 * 1000, /* thirty columns of two seconds: none is empty by a late second */
    HOUR_MS = 3600 * 1000,
};

const struct prof__var prof__vars[PROF__VARS_COUNT] = {
    { "rss_bytes", "RSS", offsetof(struct prof_vars_point, rss_bytes), PROF__BYTES },
    { "heap_bytes", "heap in use", offsetof(struct prof_vars_point, heap_bytes), PROF__BYTES },
    { "alloc_bytes", "allocated", offsetof(struct prof_vars_point, alloc_bytes), PROF__BYTES_S },
    { "cgroup_bytes", "cgroup", offsetof(struct prof_vars_point, cgroup_bytes), PROF__BYTES },
    { "swap_bytes", "swap", offsetof(struct prof_vars_point, swap_bytes), PROF__BYTES },
    { "threads", "threads", offsetof(struct prof_vars_point, threads), PROF__COUNT },
    { "cpu_ns", "processor", offsetof(struct prof_vars_point, cpu_ns), PROF__TIME_S },
    { "block_wait_ns", "block wait", offsetof(struct prof_vars_point, block_wait_ns),
      PROF__TIME_S },
    { "mutex_wait_ns", "mutex wait", offsetof(struct prof_vars_point, mutex_wait_ns),
      PROF__TIME_S },
    { "lost", "lost samples", offsetof(struct prof_vars_point, lost), PROF__COUNT_S },
};

uint64_t prof__var_of(const struct prof__var *var, const struct prof_vars_point *p)
{
    uint64_t v;

    memcpy(&v, (const char *)p + var->field, sizeof(v));
    return v;
}

bool prof__var_is_total(const struct prof__var *var)
{
    return var->unit >= PROF__BYTES_S;
}

int prof__series_read(int series, struct prof__series *ret)
{
    size_t cap = series == PROF_VARS_MINUTE ? PROF_VARS_MINUTES_MAX : PROF_VARS_SECONDS_MAX;
    struct prof_vars_point *point = malloc(cap * sizeof(*point));
    struct timespec now;
    int64_t n = point ? prof_vars_read(series, point, cap, sizeof(*point)) : -ENOMEM;

    if (n < 0) {
        free(point);
        return (int)n;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct prof__series) {
        .point = point,
        .n = (size_t)n,
        .step_ms = (int64_t)series * 1000,
        .now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000,
        .span_ms = (int64_t)cap * series * 1000,
    };
    return 0;
}

int prof__series_recent(struct prof__series *ret)
{
    int step = PROF_VARS_MINUTE, r = prof__series_read(step, ret);

    if (r == 0 && ret->n < MINUTES_WORTH) {
        prof__series_free(ret);
        r = prof__series_read(step = PROF_VARS_SECOND, ret);
    }
    if (r < 0)
        return r;
    int64_t most = step == PROF_VARS_MINUTE ? HOUR_MS : ret->span_ms;
    int64_t age = ret->n ? ret->now_ms - ret->point[0].time_ms + step * 1000 : 0;
    ret->span_ms = age < LEAST_MS ? LEAST_MS : age > most ? most : age;
    return 0;
}

void prof__series_span(const struct prof__series *s, char *buf, size_t size)
{
    int64_t seconds = (s->span_ms + 500) / 1000;

    if (seconds < 120)
        snprintf(buf, size, "%lld s", (long long)seconds);
    else
        snprintf(buf, size, "%lld min", (long long)(seconds + 30) / 60);
}

void prof__series_free(struct prof__series *s)
{
    free(s->point);
    *s = (struct prof__series) { 0 };
}

/* In the C locale, whatever the program has set. */
static void number(double value, const char *unit, int digits, char *buf, size_t size)
{
    snprintf(buf, size, "%.*f%s", digits, value, unit);
    for (char *c = buf; *c; c++)
        if (*c == ',')
            *c = '.';
}

static void bytes(double value, const char *per, char *buf, size_t size)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
    size_t u = 0;
    char unit[16];

    for (; fabs(value) >= 1000 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
        value /= 1024;
    snprintf(unit, sizeof(unit), " %s%s", units[u], per);
    number(value, unit, u == 0 || fabs(value) >= 100 ? 0 : fabs(value) >= 10 ? 1 : 2, buf, size);
}

void prof__var_text(const struct prof__var *var, double value, char *buf, size_t size)
{
    if (isnan(value))
        snprintf(buf, size, "-");
    else if (var->unit == PROF__BYTES || var->unit == PROF__BYTES_S)
        bytes(value, var->unit == PROF__BYTES_S ? "/s" : "", buf, size);
    else if (var->unit == PROF__TIME_S) /* nanoseconds in a second: of one thread's time */
        number(value / 1e7, " %", value < 1e9 ? 1 : 0, buf, size);
    else
        number(value, var->unit == PROF__COUNT_S ? "/s" : "", 0, buf, size);
}
