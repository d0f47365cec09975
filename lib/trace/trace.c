/*
 * trace.c - traces of some time, the flight recorder, and writing both.
 *
 *   rings -> timeline -> stacks looked up -> encoder -> gzip -> sink
 *
 * A trace is no more than two moments: when it is written, what the rings hold of the time between
 * is taken out of them. So there can be any number at once, and the recorder is one that began long
 * ago.
 */
#include <prof/trace.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/fork.h"
#include "base/lock.h"
#include "base/rawlog.h"
#include "encode/entered.h"
#include "encode/gzip.h"
#include "encode/sink.h"
#include "record/collect_cpu.h"
#include "record/collect_lock.h"
#include "record/collect_trace.h"
#include "table/trace_ring.h"
#include "trace/encode.h"
#include "trace/recorder.h"

#define MIN_WAIT_NS  ((int64_t)10 * 1000)
#define RECORDER_MAX ((int64_t)3600 * 1000000000)

enum format { PERFETTO, CHROME, PPROF };

/* How it is to be written. */
struct manner {
    enum format format;
    char as[8];
    bool gzip, no_symbols;
};

struct prof_trace {
    struct manner manner;
    struct prof__trace_moment begin;
    bool samples, calls;
    struct prof__switches *switches; /* NULL: not wanted, or not to be had */
    char no_switches[160];           /* why not; "": they are, or are not wanted */
    char no_samples[160];            /* why there are none; "": there are, or are not wanted */
    uint64_t lost_unkept;
    unsigned fork_count; /* of the process that began it */
    uint64_t written[];  /* of each ring at the beginning */
};

static size_t trace_size(void)
{
    return sizeof(struct prof_trace) + prof__trace_rings() * sizeof(uint64_t);
}

/* --- options ---------------------------------------------------------------------------------- */

static int options_read(const struct prof_trace_options *from, struct prof_trace_options *ret)
{
    *ret = (struct prof_trace_options)PROF_TRACE_OPTIONS_INIT;
    if (!from)
        return 0;
    int r = prof__struct_read(from, offsetof(struct prof_trace_options, no_cpu) + sizeof(int), ret,
                              sizeof(*ret));
    if (r == -EINVAL)
        return prof_set_last_error(
            r, "prof_trace_options.size is %zu: start from PROF_TRACE_OPTIONS_INIT", from->size);
    if (r < 0)
        return prof_set_last_error(
            r, "prof_trace_options has an option that libprof %s does not know", prof_version());
    return 0;
}

static int manner_read(const struct prof_trace_options *o, struct manner *ret)
{
    static const char *const views[] = { "sync", "sched", "io", "region" };

    *ret = (struct manner) { .gzip = o->gzip != 0, .no_symbols = o->no_symbols != 0 };
    if (o->format && strcmp(o->format, "json") == 0)
        ret->format = CHROME;
    else if (o->format && strcmp(o->format, "perfetto") != 0)
        return prof_set_last_error(-EINVAL, "the formats of a trace are perfetto and json");
    if (!o->as)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(views); i++)
        if (strcmp(o->as, views[i]) == 0) {
            ret->format = PPROF;
            snprintf(ret->as, sizeof(ret->as), "%s", o->as);
            return 0;
        }
    return prof_set_last_error(-EINVAL, "a trace can be written as sync, sched, io or region");
}

/* --- writing ---------------------------------------------------------------------------------- */

/* What makes it incomplete, in sentences. */
static int add_notes(struct prof__timeline *t, const struct prof__timeline_source *s,
                     const char *no_samples, const char *no_switches, struct prof__arena *a)
{
    const char **note = prof__arena_array(a, 8, sizeof(*note));
    size_t n = 0, unseen = 0;

    if (!note)
        return -ENOMEM;
    if (!prof__lock_watched())
        note[n++] = "waits are not seen: link libprof-hooks, or run under profrun";
    if (*no_samples)
        note[n++] = prof__arena_printf(a, "no CPU samples: %s", no_samples);
    if (*no_switches)
        note[n++] = no_switches;
    if (s->switches) {
        size_t of = prof__switches_threads(s->switches, &unseen);

        for (size_t i = 0; i < t->n_tracks; i++)
            unseen += t->track[i].kind == PROF__TRACK_THREAD &&
                      !prof__switches_follows(s->switches, t->track[i].tid);
        note[n++] = prof__arena_printf(
            a,
            unseen ? "context switches of %zu threads; not of those that began later, nor beyond "
                     "what memory may be locked (kernel.perf_event_mlock_kb)"
                   : "context switches of all %zu threads",
            of);
    }
    if (t->lost)
        note[n++] = prof__arena_printf(a, "%llu events were overwritten before they were read",
                                       (unsigned long long)t->lost);
    if (t->lost_unkept)
        note[n++] = prof__arena_printf(a, "%llu events are missing: too many threads at once",
                                       (unsigned long long)t->lost_unkept);
    for (size_t i = 0; i < n; i++)
        if (!note[i])
            return -ENOMEM;
    t->note = note;
    t->n_notes = n;
    return 0;
}

static int encode(const struct prof__timeline *t, const struct manner *m, struct prof__arena *a,
                  prof_sink_fn *sink, void *arg)
{
    struct prof__trace_stacks stacks;
    int r;

    if (m->format == CHROME)
        return prof__encode_chrome(t, a, sink, arg);
    r = prof__trace_stacks_load(t, m->no_symbols, a, &stacks);
    return r < 0 ? r : prof__encode_perfetto(t, &stacks, a, sink, arg);
}

static int write_timeline(const struct prof__timeline *t, const struct manner *m,
                          struct prof__arena *a, prof_sink_fn *sink, void *arg)
{
    struct prof__gzip *gzip = NULL;
    int r;

    if (m->format != CHROME && !prof__encode_can_pprof())
        return prof_set_last_error(-ENOSYS, "libprotobuf-c is missing, so there are no traces but "
                                            "in the format json");
    if (m->format == PPROF)
        return prof__encode_trace_as(t, m->as, m->no_symbols, a, sink, arg);
    if (!m->gzip)
        return encode(t, m, a, sink, arg);
    if ((r = prof__gzip_open(a, sink, arg, &gzip)) < 0)
        return r;
    r = encode(t, m, a, prof__gzip_sink, gzip);
    int end = prof__gzip_close(gzip);
    return r < 0 ? r : end;
}

static int write_source(const struct prof__timeline_source *s, const char *no_samples,
                        const char *no_switches, const struct manner *m, struct prof__sink *sink)
{
    struct prof__arena arena = { 0 };
    struct prof__timeline timeline;
    int r = prof__timeline_build(s, &arena, &timeline);

    if (r == 0)
        r = add_notes(&timeline, s, no_samples, no_switches, &arena);
    if (r == 0)
        r = write_timeline(&timeline, m, &arena, prof__sink_pass, sink);
    prof__arena_free(&arena);
    return r == -ENOMEM ? prof__error_memory("writing a trace") : r;
}

/* --- traces ----------------------------------------------------------------------------------- */

static void note_written(uint64_t *ret_written)
{
    for (unsigned i = 0; i < prof__trace_rings(); i++)
        ret_written[i] = prof__trace_ring_written(i);
}

/* The trace can do without. */
static void open_samples(struct prof_trace *t)
{
    t->samples = prof__cpu_open() == 0;
    if (!t->samples)
        snprintf(t->no_samples, sizeof(t->no_samples), "%s", prof_last_error());
}

static uint32_t wants_of(const struct prof_trace *t)
{
    return (t->samples ? PROF__TRACE_SAMPLES : 0u) | (t->calls ? PROF__TRACE_CALLS : 0u);
}

/* Nor is it a reason not to begin. */
static void open_switches(struct prof_trace *t)
{
    bool mapping;
    int r = prof__switches_open(&t->switches, &mapping);

    if (r < 0)
        prof__switches_refused(r, mapping, prof__switches_paranoid(), t->no_switches,
                               sizeof(t->no_switches));
}

static int start_now(const struct prof_trace_options *o, struct prof_trace **ret_trace)
{
    struct manner manner;
    int r = manner_read(o, &manner);

    if (r < 0)
        return r;
    struct prof_trace *t = prof__pages_map(trace_size());
    if (!t)
        return prof__error_memory("a trace");
    t->manner = manner;
    t->fork_count = prof__fork_count;
    if (o->sched)
        open_switches(t);
    t->calls = o->io || (o->as && strcmp(o->as, "io") == 0);
    if (!o->no_cpu)
        open_samples(t);
    r = prof__trace_open(o->min_wait_ns < 0 ? 0
                         : o->min_wait_ns   ? o->min_wait_ns
                                            : MIN_WAIT_NS,
                         wants_of(t));
    if (r < 0) {
        if (t->samples)
            prof__cpu_close();
        prof__switches_close(t->switches);
        prof__pages_unmap(t, trace_size());
        return prof__error_memory("the rings of a trace");
    }
    t->lost_unkept = prof__trace_lost();
    note_written(t->written);
    prof__trace_moment(&t->begin);
    *ret_trace = t;
    return 0;
}

int prof_trace_start(const struct prof_trace_options *opts, struct prof_trace **ret_trace)
{
    struct prof_trace_options o;

    if (!ret_trace)
        return prof_set_last_error(-EINVAL, "prof_trace_start() takes a place for the trace");
    int r = options_read(opts, &o);
    if (r < 0)
        return r;
    bool entered = prof__enter(&prof__self);
    r = start_now(&o, ret_trace);
    if (entered)
        prof__leave(&prof__self);
    return r;
}

int prof_trace_write(struct prof_trace *t, prof_sink_fn *sink, void *arg)
{
    if (!t || !sink)
        return prof_set_last_error(-EINVAL, "no %s given to prof_trace_write()",
                                   t ? "sink" : "trace");
    struct prof__sink entered = prof__sink_enter(sink, arg);
    struct prof__timeline_source s = {
        .begin = t->begin,
        .from_ns = t->begin.ns,
        .written = t->written,
        .counts_lost = true,
        .lost_unkept = t->lost_unkept,
        .calls = t->calls,
        .switches = t->switches,
        .samples_from = t->samples ? t->begin.time : 0,
    };
    prof__trace_moment(&s.now);
    int r = write_source(&s, t->no_samples, t->no_switches, &t->manner, &entered);
    prof__sink_leave(&entered);
    return r;
}

void prof_trace_stop(struct prof_trace *t)
{
    if (!t)
        return;
    bool entered = prof__enter(&prof__self);
    if (t->fork_count == prof__fork_count) {
        prof__trace_close(wants_of(t));
        if (t->samples)
            prof__cpu_close();
        prof__switches_close(t->switches);
    }
    prof__pages_unmap(t, trace_size());
    if (entered)
        prof__leave(&prof__self);
}

/* --- the flight recorder ---------------------------------------------------------------------- */

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_RECORDER);

/* Guarded by the lock. */
static int64_t recorder_ns; /* 0: it is off */
static struct prof__trace_moment recorder_begin;
static uint64_t *recorder_written; /* of each ring; mapped by the first start, for ever */
static uint64_t recorder_unkept;

static int recorder_set(int64_t ns)
{
    size_t size = prof__trace_rings() * sizeof(*recorder_written);
    int r = 0;

    if (!recorder_written && ns > 0 && !(recorder_written = prof__pages_map(size)))
        return -ENOMEM;
    if (ns > 0 && recorder_ns == 0 && (r = prof__trace_open(MIN_WAIT_NS, 0)) == 0) {
        recorder_unkept = prof__trace_lost();
        note_written(recorder_written);
        prof__trace_moment(&recorder_begin);
    } else if (ns == 0 && recorder_ns > 0) {
        prof__trace_close(0);
    }
    if (r == 0)
        recorder_ns = ns;
    return r;
}

int64_t prof_trace_record(int64_t ns)
{
    if (ns > RECORDER_MAX)
        return prof_set_last_error(-EINVAL, "the flight recorder goes back one hour at most");
    uint64_t mask = prof__lock_masked(&lock);
    int64_t before = recorder_ns;
    int r = ns >= 0 ? recorder_set(ns) : 0;
    prof__unlock_masked(&lock, mask);
    return r < 0 ? prof__error_memory("the rings of a trace") : before;
}

void prof__trace_recorder_init(int64_t ns)
{
    if (ns > 0 && prof_trace_record(ns) < 0)
        prof__log("LIBPROF_TRACE: %s", prof_last_error());
}

/* The child has the recorder on if its parent has, and nothing of what the parent did. */
static void fork_child(void)
{
    int64_t ns = recorder_ns;

    prof__lock_reset(&lock);
    recorder_ns = 0;
    if (ns > 0)
        recorder_set(ns);
}

static void fork_prepare(void)
{
    prof__lock(&lock);
}

static void fork_parent(void)
{
    prof__unlock(&lock);
}

PROF__AT_FORK(PROF__RANK_RECORDER, fork_prepare, fork_parent, fork_child)

int prof_trace_snapshot(const struct prof_trace_options *opts, prof_sink_fn *sink, void *arg)
{
    struct prof_trace_options o;
    struct manner manner;
    int r = sink ? options_read(opts, &o)
                 : prof_set_last_error(-EINVAL, "no sink given to prof_trace_snapshot()");

    if (r < 0 || (r = manner_read(&o, &manner)) < 0)
        return r;
    uint64_t mask = prof__lock_masked(&lock);
    int64_t ns = recorder_ns;
    struct prof__timeline_source s = { .begin = recorder_begin,
                                       .written = recorder_written,
                                       .lost_unkept = recorder_unkept };
    prof__unlock_masked(&lock, mask);
    if (ns == 0)
        return prof_set_last_error(-EALREADY, "the flight recorder is off: start the program with "
                                              "LIBPROF_TRACE=10s, or call prof_trace_record()");
    struct prof__sink entered = prof__sink_enter(sink, arg);
    prof__trace_moment(&s.now);
    s.from_ns = PROF_MAX(s.begin.ns, s.now.ns - ns);
    r = write_source(&s, "", "", &manner, &entered);
    prof__sink_leave(&entered);
    return r;
}

/* --- files ------------------------------------------------------------------------------------ */

struct file_request {
    struct prof_trace *trace;
    const struct prof_trace_options *options;
};

static int write_file(void *arg, prof_sink_fn *sink, void *sink_arg)
{
    struct file_request *q = arg;

    return q->trace ? prof_trace_write(q->trace, sink, sink_arg)
                    : prof_trace_snapshot(q->options, sink, sink_arg);
}

static int write_request(struct file_request *q, const char *path)
{
    bool entered = prof__enter(&prof__self);
    int r = prof__sink_file(path, write_file, q);

    if (entered)
        prof__leave(&prof__self);
    return r;
}

int prof_trace_write_file(struct prof_trace *t, const char *path)
{
    struct file_request q = { t, NULL };

    if (!t || !path)
        return prof_set_last_error(-EINVAL, "no %s given to prof_trace_write_file()",
                                   t ? "path" : "trace");
    return write_request(&q, path);
}

int prof_trace_snapshot_file(const struct prof_trace_options *opts, const char *path)
{
    struct file_request q = { NULL, opts };

    if (!path)
        return prof_set_last_error(-EINVAL, "no path given to prof_trace_snapshot_file()");
    return write_request(&q, path);
}
