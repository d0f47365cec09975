/*
 * encode_chrome.c - a timeline as Chrome's "Trace Event Format": a JSON object with an array of
 * events, whose times are microseconds with three decimals. Source: the document of that name by
 * the Chromium project ("JSON Object Format"; phases B, E, i, C, M, and s, f for flows).
 */
#include <errno.h>
#include <unistd.h>

#include "encode/textout.h"
#include "table/io_calls.h"
#include "trace/encode.h"

struct encoder {
    const struct prof__timeline *timeline;
    struct prof__textout out;
    bool any;
};

enum { TEXT_MAX = 512, LANES_TID = 1 << 23 }; /* above all numbers of threads */

static void begin(struct encoder *e, const char *phase, int64_t ns, uint64_t tid)
{
    /* Of the time that a 64-bit float holds to the nanosecond: from the start of the trace. */
    int64_t since = ns - e->timeline->from_ns;

    prof__textout_printf(&e->out, "%s{\"ph\":\"%s\",\"pid\":%d,\"tid\":%llu,\"ts\":%lld.%03lld",
                         e->any ? ",\n" : "", phase, (int)getpid(), (unsigned long long)tid,
                         (long long)(since / 1000), (long long)(since % 1000));
    e->any = true;
}

static void named(struct encoder *e, const char *key, const char *text)
{
    prof__textout_printf(&e->out, ",\"%s\":", key);
    prof__textout_quoted(&e->out, text, TEXT_MAX);
}

/* Labels and tasks have rows of their own, as slices of one row nest. */
static uint64_t tid_of(const struct encoder *e, uint32_t track)
{
    const struct prof__track *t = &e->timeline->track[track];

    return t->kind == PROF__TRACK_THREAD ? t->tid : (uint64_t)LANES_TID + track;
}

static void put_names(struct encoder *e)
{
    char buf[PROF__TRACK_NAME_SIZE];

    for (uint32_t i = 0; i < e->timeline->n_tracks; i++) {
        begin(e, "M", e->timeline->from_ns, tid_of(e, i));
        prof__textout_word(&e->out, ",\"name\":\"thread_name\",\"args\":{\"name\":");
        prof__textout_quoted(&e->out, prof__track_name(e->timeline, i, buf), TEXT_MAX);
        prof__textout_word(&e->out, "}}");
    }
    begin(e, "M", e->timeline->from_ns, 0);
    prof__textout_word(&e->out, ",\"name\":\"process_name\",\"args\":{\"name\":");
    prof__textout_quoted(&e->out, program_invocation_short_name, TEXT_MAX);
    prof__textout_word(&e->out, "}}");
}

static void put_flow(struct encoder *e, const char *phase, int64_t ns, uint64_t tid, uint64_t flow)
{
    begin(e, phase, ns, tid);
    prof__textout_printf(&e->out, ",\"id\":%llu,\"name\":\"wake\",\"cat\":\"wake\"%s}",
                         (unsigned long long)flow, *phase == 'f' ? ",\"bp\":\"e\"" : "");
}

static void put_args(struct encoder *e, const struct prof__item *i)
{
    char who[PROF__TRACK_NAME_SIZE];

    prof__textout_word(&e->out, ",\"args\":{");
    if (i->kind == PROF__ITEM_IO)
        prof__textout_printf(&e->out, "\"descriptor\":%d", PROF__IO_FD(i->object));
    else if (i->kind == PROF__ITEM_STATE)
        prof__textout_printf(&e->out, "\"processor\":%u", (unsigned)i->object);
    else
        prof__textout_printf(&e->out, "\"object\":\"0x%llx\"", (unsigned long long)i->object);
    if (i->kind == PROF__ITEM_IO && !i->open_end)
        named(e, "result", prof__io_result(i, who));
    if (i->kind == PROF__ITEM_WAIT)
        named(e, "ended", prof__wait_end_name(i));
    if (i->waker)
        named(e, i->kind == PROF__ITEM_TASK ? "begun by" : "woken by",
              prof__track_who(e->timeline, i->waker - 1, who));
    if (i->ended_by)
        named(e, "ended by", prof__track_who(e->timeline, i->ended_by - 1, who));
    if (i->kind == PROF__ITEM_RELEASE)
        prof__textout_printf(&e->out, ",\"others have waited, ns\":%lld", (long long)i->value);
    if (i->kind == PROF__ITEM_CPU)
        prof__textout_printf(&e->out, ",\"CPU time, ns\":%lld", (long long)i->value);
    if (i->open_begin)
        prof__textout_word(&e->out, ",\"began earlier\":true");
    if (i->open_end)
        prof__textout_word(&e->out, ",\"goes on\":true");
    prof__textout_word(&e->out, "}");
}

static void put_event(struct encoder *e, const struct prof__event *event)
{
    static const char *const phases[] = { "B", "E", "i" };
    const struct prof__item *i = &e->timeline->item[event->item];
    uint64_t tid = tid_of(e, event->track);
    char buf[PROF__ITEM_NAME_SIZE];

    /* A flow ends in the slice around it: the wait, just before it is over. */
    if (event->kind == PROF__EVENT_END && i->flow_in)
        put_flow(e, "f", event->ns, tid, i->flow_in);
    begin(e, phases[event->kind], event->ns, tid);
    if (event->kind != PROF__EVENT_END) {
        named(e, "name", prof__item_name(i, buf));
        put_args(e, i);
    }
    prof__textout_word(&e->out, event->kind == PROF__EVENT_MOMENT ? ",\"s\":\"t\"}" : "}");
    for (uint32_t k = 0; k < i->out_flows && event->kind == PROF__EVENT_MOMENT; k++)
        put_flow(e, "s", event->ns, tid, i->first_flow + k);
    if (event->kind == PROF__EVENT_MOMENT && i->flow_in)
        put_flow(e, "f", event->ns, tid, i->flow_in);
}

static void put_counters(struct encoder *e)
{
    const struct prof__timeline *t = e->timeline;

    for (size_t c = 0; c < t->n_counters; c++)
        for (size_t k = 0; k < t->counter[c].n; k++) {
            begin(e, "C", t->counter[c].point[k].ns, 0);
            named(e, "name", t->counter[c].name);
            prof__textout_printf(&e->out, ",\"args\":{\"%s\":%llu}}", t->counter[c].unit,
                                 (unsigned long long)t->counter[c].point[k].value);
        }
}

int prof__encode_chrome(const struct prof__timeline *t, struct prof__arena *a, prof_sink_fn *sink,
                        void *arg)
{
    struct encoder *e = prof__arena_alloc(a, sizeof(*e));

    if (!e)
        return -ENOMEM;
    e->timeline = t;
    e->out.sink = sink;
    e->out.arg = arg;
    prof__textout_word(&e->out,
                       "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"writer\":\"libprof\"");
    prof__textout_printf(&e->out, ",\"events_lost\":%llu,\"from_monotonic_ns\":%lld",
                         (unsigned long long)(t->lost + t->lost_unkept), (long long)t->from_ns);
    for (size_t i = 0; i < t->n_notes; i++) {
        prof__textout_printf(&e->out, ",\"note %zu\":", i + 1);
        prof__textout_quoted(&e->out, t->note[i], TEXT_MAX);
    }
    prof__textout_word(&e->out, "},\n\"traceEvents\":[\n");
    put_names(e);
    for (size_t i = 0; i < t->n_events && !e->out.error; i++)
        put_event(e, &t->event[i]);
    put_counters(e);
    prof__textout_word(&e->out, "\n]}\n");
    return prof__textout_flush(&e->out);
}
