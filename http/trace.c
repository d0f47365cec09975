/*
 * trace.c - a timeline of the next ?seconds=N, or with ?last=1 what the flight recorder has.
 *
 * As for Go's trace, what is no sensible number of seconds counts as one second.
 */
#include <prof/trace.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "handlers.h"

#define MOST_SECONDS 3600

/* "2", "0.5", in nanoseconds; what is none: a second. */
static uint64_t seconds_param(const struct prof__exchange *x)
{
    char text[24];
    uint64_t ns = 0, unit = SECOND_NS;
    const char *s = text;

    if (prof__param_text(x->target.query, "seconds", text, sizeof(text)) <= 0)
        return SECOND_NS;
    for (; *s >= '0' && *s <= '9'; s++)
        if (ns <= MOST_SECONDS * SECOND_NS)
            ns = ns * 10 + (uint64_t)(*s - '0') * SECOND_NS;
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9'; s++)
            ns += (uint64_t)(*s - '0') * (unit /= 10);
    return *s || !ns ? SECOND_NS : ns;
}

/* "10us", "1ms", "0": in nanoseconds. -EINVAL. */
static int64_t time_param(const struct prof__exchange *x, const char *name)
{
    static const struct {
        const char *suffix;
        int64_t ns;
    } units[] = { { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 }, { "", 1 } };
    char text[24];
    const char *s = text;
    int64_t n = 0;

    if (prof__param_text(x->target.query, name, text, sizeof(text)) < 0 || *s < '0' || *s > '9')
        return -EINVAL;
    for (; *s >= '0' && *s <= '9' && n < 1000000000; s++)
        n = n * 10 + (*s - '0');
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(s, units[i].suffix) == 0)
            return n * units[i].ns;
    return -EINVAL;
}

static bool flag(const struct prof__exchange *x, const char *name, int64_t want)
{
    int64_t value;

    return prof__param_int(x->target.query, name, &value) == 0 && value == want;
}

/* Text into x, where the options point to it. */
static const char *word(struct prof__exchange *x, const char *name, char *buf, size_t size)
{
    return prof__param_text(x->target.query, name, buf, size) > 0 ? buf : NULL;
}

static int read_params(struct prof__exchange *x)
{
    struct prof_trace_options *o = &x->trace_options;
    char min[2];

    *o = (struct prof_trace_options)PROF_TRACE_OPTIONS_INIT;
    if (prof__param_text(x->target.query, "min", min, sizeof(min)) != -ENOENT) {
        o->min_wait_ns = time_param(x, "min");
        if (o->min_wait_ns < 0)
            return refused(x, -EINVAL, "min is a time: 0, 500ns, 10us, 1ms");
        if (o->min_wait_ns == 0)
            o->min_wait_ns = -1;
    }
    o->no_cpu = flag(x, "cpu", 0);
    o->no_symbols = flag(x, "symbolize", 0);
    o->gzip = flag(x, "gzip", 1);
    o->format = word(x, "format", x->folded, sizeof(x->folded));
    o->as = word(x, "as", x->names, sizeof(x->names));
    if (o->format && strcmp(o->format, "perfetto") != 0 && strcmp(o->format, "json") != 0)
        return refused(x, -EINVAL, "the formats of a trace are perfetto and json");
    o->io = flag(x, "io", 1);
    o->sched = flag(x, "sched", 1);
    if (o->as && strcmp(o->as, "sync") != 0 && strcmp(o->as, "sched") != 0 &&
        strcmp(o->as, "io") != 0 && strcmp(o->as, "region") != 0)
        return refused(x, -EINVAL, "a trace can be had as sync, sched, io or region");
    return 0;
}

static void reply_head(struct prof__exchange *x)
{
    const struct prof_trace_options *o = &x->trace_options;
    bool json = o->format && strcmp(o->format, "json") == 0;

    x->reply.status = 200;
    x->reply.type = json && !o->gzip && !o->as ? "application/json" : "application/octet-stream";
    if (o->as)
        snprintf(x->reply.attachment, sizeof(x->reply.attachment), "%s", o->as);
    else
        snprintf(x->reply.attachment, sizeof(x->reply.attachment), "trace.%s%s",
                 json ? "json" : "pftrace", o->gzip ? ".gz" : "");
}

static int write_trace(struct prof__exchange *x)
{
    int r = prof_trace_write(x->trace, prof__exchange_write, x);

    prof_trace_stop(x->trace);
    x->trace = NULL;
    return have_or_lack(r);
}

int prof__serve_trace(struct prof__exchange *x)
{
    uint64_t wait_ns = seconds_param(x);
    int r = read_params(x);

    if (r < 0)
        return r;
    if (wait_ns > MOST_SECONDS * SECOND_NS)
        return refused(x, -EINVAL, "invalid value for \"seconds\" - too large");
    reply_head(x);
    if (flag(x, "last", 1)) {
        if (prof_trace_record(-1) == 0)
            return refused(x, -ENOSYS,
                           "the flight recorder is off: start the program with LIBPROF_TRACE=10s, "
                           "or have it call prof_trace_record()");
        if (!x->head)
            return have_or_lack(prof_trace_snapshot(&x->trace_options, prof__exchange_write, x));
    }
    if (x->head) {
        x->reply.size_unknown = true;
        return 0;
    }
    r = prof_trace_start(&x->trace_options, &x->trace);
    if (r < 0)
        return have_or_lack(r);
    x->wait_ns = wait_ns;
    x->go_on = write_trace;
    return PROF__WAIT;
}
