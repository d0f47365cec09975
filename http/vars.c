/*
 * vars.c - /debug/pprof/vars: the numbers over time, as text with a small picture, or as JSON.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "handlers.h"
#include "series.h"

enum { COLUMNS = 30 };

/* --- JSON ------------------------------------------------------------------------------------- */

static void add_json_series(struct prof__buffer *out, const char *name, int step,
                            const struct prof__series *s)
{
    prof__buffer_printf(out, ",\n\"%s\":{\"step_s\":%d,\"time_ms\":[", name, step);
    for (size_t i = 0; i < s->n; i++)
        prof__buffer_printf(out, "%s%lld", i ? "," : "", (long long)s->point[i].time_ms);
    prof__buffer_puts(out, "]");
    for (size_t v = 0; v < PROF__VARS_COUNT; v++) {
        prof__buffer_printf(out, ",\n\"%s\":[", prof__vars[v].name);
        for (size_t i = 0; i < s->n; i++) {
            uint64_t value = prof__var_of(&prof__vars[v], &s->point[i]);

            if (value == PROF_VARS_MISSING)
                prof__buffer_puts(out, i ? ",null" : "null");
            else
                prof__buffer_printf(out, "%s%llu", i ? "," : "", (unsigned long long)value);
        }
        prof__buffer_puts(out, "]");
    }
    prof__buffer_puts(out, "}");
}

static int write_json(struct prof__buffer *out)
{
    static const struct {
        const char *name;
        int step;
    } parts[] = { { "seconds", PROF_VARS_SECOND }, { "minutes", PROF_VARS_MINUTE } };
    struct prof__series s;
    char status[512] = "";

    prof_vars_status(status, sizeof(status));
    status[strcspn(status, "\n")] = '\0'; /* our own words: nothing to be escaped */
    prof__buffer_printf(out, "{\"process\":%d,\"status\":\"%s\"", (int)getpid(), status);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        int r = prof__series_read(parts[i].step, &s);

        if (r < 0)
            return r;
        add_json_series(out, parts[i].name, parts[i].step, &s);
        prof__series_free(&s);
    }
    return prof__buffer_puts(out, "}\n");
}

/* --- text ------------------------------------------------------------------------------------- */

/* One number in columns of equal time, the last one ending now; NaN where there is none. */
struct columns {
    double value[COLUMNS];
    double now, low, high;
};

/* States: the highest of a column. */
static void fill_states(const struct prof__var *var, const struct prof__series *s,
                        struct columns *ret)
{
    for (size_t i = 0; i < s->n; i++) {
        int64_t ago = s->now_ms - s->point[i].time_ms;
        uint64_t v = prof__var_of(var, &s->point[i]);

        if (v == PROF_VARS_MISSING || ago >= s->span_ms)
            continue;
        double *column = &ret->value[COLUMNS - 1 - (ago < 0 ? 0 : ago * COLUMNS / s->span_ms)];
        *column = fmax(*column, (double)v);
        ret->low = fmin(ret->low, (double)v);
        ret->high = fmax(ret->high, (double)v);
        ret->now = (double)v;
    }
}

/* Totals: what was added within a column, by the time from the last point before it to its last. */
static void fill_rates(const struct prof__var *var, const struct prof__series *s,
                       struct columns *ret)
{
    const struct prof_vars_point *before = NULL;

    for (size_t i = 0; i < s->n; i++) {
        const struct prof_vars_point *p = &s->point[i], *next = i + 1 < s->n ? p + 1 : NULL;
        int64_t ago = s->now_ms - p->time_ms;
        int64_t column = ago < 0 ? 0 : ago * COLUMNS / s->span_ms;

        if (prof__var_of(var, p) == PROF_VARS_MISSING)
            continue;
        /* The last of its column: else what follows counts with it. */
        if (before && next && (s->now_ms - next->time_ms) * COLUMNS / s->span_ms == column)
            continue;
        uint64_t was = before ? prof__var_of(var, before) : 0, is = prof__var_of(var, p);
        if (before && column < COLUMNS && p->time_ms > before->time_ms && is >= was) {
            double rate = (double)(is - was) * 1000 / (double)(p->time_ms - before->time_ms);

            ret->value[COLUMNS - 1 - column] = rate;
            ret->low = fmin(ret->low, rate);
            ret->high = fmax(ret->high, rate);
            ret->now = rate;
        }
        before = p;
    }
}

/* From the low to the high; what hardly moves is a line. */
static void add_picture(struct prof__buffer *out, const struct columns *c)
{
    static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
    bool moves = c->high - c->low > c->high / 50;

    for (size_t i = 0; i < COLUMNS; i++)
        prof__buffer_puts(
            out, isnan(c->value[i]) ? " "
                 : !moves           ? blocks[0]
                          : blocks[(int)(7.99 * (c->value[i] - c->low) / (c->high - c->low))]);
}

static void add_row(struct prof__buffer *out, const struct prof__var *var,
                    const struct prof__series *s)
{
    struct columns c = { .now = NAN, .low = NAN, .high = NAN };
    char now[32], low[32], high[32];

    for (size_t i = 0; i < COLUMNS; i++)
        c.value[i] = NAN;
    if (prof__var_is_total(var))
        fill_rates(var, s, &c);
    else
        fill_states(var, s, &c);
    prof__var_text(var, c.now, now, sizeof(now));
    prof__var_text(var, c.low, low, sizeof(low));
    prof__var_text(var, c.high, high, sizeof(high));
    prof__buffer_printf(out, "%-12s %11s %11s %11s  ", var->words, now, low, high);
    add_picture(out, &c);
    prof__buffer_puts(out, "\n");
}

static int write_text(struct prof__buffer *out)
{
    struct prof__series s;
    char status[512] = "", span[32];
    int r = prof__series_recent(&s);

    if (r < 0)
        return r;
    if (prof_vars_status(status, sizeof(status)) > 0)
        prof__buffer_puts(out, status);
    prof__series_span(&s, span, sizeof(span));
    prof__buffer_printf(out, "%-12s %11s %11s %11s  last %s, from low to high\n", "", "now", "low",
                        "high", span);
    for (size_t v = 0; v < PROF__VARS_COUNT; v++)
        add_row(out, &prof__vars[v], &s);
    prof__series_free(&s);
    return prof__buffer_puts(
        out, "\nRSS and swap are the process's, cgroup is that of all processes in it and of the\n"
             "page cache. Processor and waiting are of one thread's time: 200 % is two that do\n"
             "nothing else. ?format=json has each second of ten minutes, each minute of a day.\n");
}

int prof__serve_vars(struct prof__exchange *x)
{
    char format[16] = "text";
    int r = prof__param_text(x->target.query, "format", format, sizeof(format));

    if ((r < 0 && r != -ENOENT) || (strcmp(format, "text") != 0 && strcmp(format, "json") != 0))
        return refused(x, -EINVAL, "the formats are ?format=text and ?format=json");
    if (strcmp(format, "text") == 0) {
        text_reply(x);
        return write_text(&x->reply.body);
    }
    x->reply.status = 200;
    x->reply.type = "application/json";
    return write_json(&x->reply.body);
}
