/*
 * watch.c - looking as often as it matters.
 *
 *   requests ----------------.
 *   sources, limit -> rules --+-> taker -> shelf
 *   windows that are due -----'
 *
 * At rest it looks each five seconds, oftener where a rule's window is short. With growth it looks
 * so that an eighth of what is left goes until the next time, down to 5 ms. A leak that begins
 * between two looks rings: allocations that are sampled are counted meanwhile, and when they have
 * grown by an eighth of what is left, the thread is woken (prof__heap_set_alarm()).
 *
 * The numbers over time are noted here too, as long as nothing is taken, which may be long: the
 * thread that is there for them need not wake up then, and looks fall on its seconds.
 */
#include "capture/watch.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/wait.h"
#include "capture/limit.h"
#include "capture/sources.h"
#include "capture/vars.h"
#include "record/collect_heap.h"
#include "record/presence.h"
#include "table/spans.h"
#include "table/trace_ring.h"

enum {
    MS_NS = 1000000,
    SECOND_MS = 1000,
    STACK_BYTES = 1024 * 1024, /* as other threads that look up names */
    LEAST_PAUSE_NS = 5 * MS_NS,
    FOLLOW_MS = 60 * 1000, /* from one look at the cgroup to the next */
    ALARM_LEAST = 1 << 20,
    PRIVILEGED_PAUSE_MS = 1000,
};

static void run(void);
static void end_in_vain(void);

struct prof__watch prof__watch = { .lock = PROF__LOCK_INIT(PROF__RANK_WATCH) };
struct prof__guest prof__watch_guest =
    PROF__GUEST_INIT(PROF__RANK_CAPTURE, "prof-capture", STACK_BYTES, run, end_in_vain);

static struct prof__watch *const w = &prof__watch;
static _Atomic bool rung;
static _Atomic bool ending; /* the process is about to be ended */

/* What the thread has open, and knows from one look to the next. */
struct look {
    struct prof__sources sources;
    struct prof__limit limit;
    struct prof__reading last;
    bool has_last, wants_tables, wants_spans, wants_events;
    double cpu_ns, alloc_bytes, events[PROF__EVENTS]; /* totals at the last look */
    double processors;
    double growth; /* bytes a second */
    int64_t followed_ms, next_ns, looked_ns;
    int64_t note_ns; /* the next second that is noted; INT64_MAX: none is */
};

/* Context: hook. */
static void ring(void)
{
    atomic_store_explicit(&rung, true, memory_order_relaxed);
    prof__guest_wake(&prof__watch_guest);
}

/* --- results ---------------------------------------------------------------------------------- */

static void done(unsigned number, int error)
{
    atomic_store(&w->result[number % PROF__RESULTS], (uint64_t)number * 2 + (error < 0));
    atomic_fetch_add(&w->results, 1);
    prof__word_wake(&w->results);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static double known(uint64_t value)
{
    return value == PROF_VARS_MISSING ? NAN : (double)value;
}

static double count_processors(void)
{
    cpu_set_t set;

    if (sched_getaffinity(getpid(), sizeof(set), &set) == 0)
        return CPU_COUNT(&set);
    return (double)PROF_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
}

static void follow(struct look *l, int64_t now_ms)
{
    if (l->followed_ms && now_ms - l->followed_ms < FOLLOW_MS)
        return;
    l->followed_ms = now_ms;
    prof__sources_follow(&l->sources);
    prof__limit_follow(&l->limit, l->sources.cgroups);
    l->processors = count_processors();
}

/* What has been added to a total, a second. */
static double rate(double now, double before, int64_t ms)
{
    return ms > 0 && now >= before ? (now - before) * 1000 / (double)ms : NAN;
}

static void read_events(struct look *l, int64_t ms, struct prof__reading *ret)
{
    static const enum prof__quantity of[PROF__EVENTS] = {
        [PROF__EVENT_LOW] = PROF__QUANTITY_LOW,   [PROF__EVENT_HIGH] = PROF__QUANTITY_HIGH,
        [PROF__EVENT_MAX] = PROF__QUANTITY_MAX,   [PROF__EVENT_OOM] = PROF__QUANTITY_OOM,
        [PROF__EVENT_KILL] = PROF__QUANTITY_KILL,
    };
    double now[PROF__EVENTS];

    prof__limit_read_events(&l->limit, now);
    for (unsigned e = 0; e < PROF__EVENTS; e++) {
        if (l->has_last) /* fewer than before: another group's */
            ret->value[of[e]] = rate(now[e], l->events[e], ms);
        l->events[e] = now[e];
    }
}

static void read_all(struct look *l, int64_t now_ms, struct prof__reading *ret)
{
    uint64_t value[PROF__VARS];
    int64_t ms = l->has_last ? now_ms - l->last.time_ms : 0;
    struct prof__span span;

    follow(l, now_ms);
    prof__sources_read_process(&l->sources, value);
    if (l->wants_tables)
        prof__sources_read_tables(value);
    ret->time_ms = now_ms;
    for (unsigned q = 0; q < PROF__QUANTITIES; q++)
        ret->value[q] = NAN;
    ret->limit = NAN;
    ret->value[PROF__QUANTITY_RSS] = known(value[PROF__VAR_RSS]);
    ret->value[PROF__QUANTITY_SWAP] = known(value[PROF__VAR_SWAP]);
    ret->value[PROF__QUANTITY_THREADS] = known(value[PROF__VAR_THREADS]);
    ret->value[PROF__QUANTITY_HEAP] = known(value[PROF__VAR_HEAP]);
    if (!prof__limit_read(&l->limit, &ret->value[PROF__QUANTITY_MEM], &ret->limit))
        ret->value[PROF__QUANTITY_MEM] = ret->value[PROF__QUANTITY_RSS];
    double cpu_ns = known(value[PROF__VAR_CPU]), alloc = known(value[PROF__VAR_ALLOC]);
    if (l->has_last) {
        ret->value[PROF__QUANTITY_CPU] = rate(cpu_ns, l->cpu_ns, ms) / 1e7 / l->processors;
        ret->value[PROF__QUANTITY_ALLOC] = rate(alloc, l->alloc_bytes, ms);
    }
    if (l->wants_spans && prof__trace_wants) /* what has been told is forgotten */
        ret->value[PROF__QUANTITY_STALL] = prof__spans_longest(&span) ? (double)span.ns / 1e6 : 0;
    if (l->wants_events)
        read_events(l, ms, ret);
    l->cpu_ns = cpu_ns;
    l->alloc_bytes = alloc;
}

/* The fastest of those that memory is told by. Slower than it was: half of that is believed. */
static void learn_growth(struct look *l, const struct prof__reading *r)
{
    static const enum prof__quantity of[] = { PROF__QUANTITY_MEM, PROF__QUANTITY_RSS,
                                              PROF__QUANTITY_HEAP };
    int64_t ms = l->has_last ? r->time_ms - l->last.time_ms : 0;
    double now = 0;

    if (ms <= 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(of); i++)
        now = fmax(now, (r->value[of[i]] - l->last.value[of[i]]) * 1000 / (double)ms);
    l->growth = fmax(now, l->growth / 2);
}

/* --- taking ----------------------------------------------------------------------------------- */

static void take(const struct prof__wanted *wanted, unsigned n, const struct prof__occasion *o)
{
    prof__vars_give_back();
    prof__taker_take(&w->taker, wanted, n, o);
}

static void finish(void)
{
    int64_t now_ns = prof__monotonic_ns();

    if (prof__taker_due_ns(&w->taker) > now_ns)
        return;
    prof__vars_give_back();
    prof__taker_finish(&w->taker, now_ns);
}

/* --- judging ---------------------------------------------------------------------------------- */

/* One capture for all rules of a clause that fire together. */
static void fire(unsigned rule, const struct prof__judgement *j)
{
    const struct prof__clause *c = &w->rules.clause[w->rules.rule[rule].clause];
    struct prof__occasion o = {
        .number = atomic_fetch_add(&w->numbers, 1) + 1,
        .exec = c->exec,
    };

    snprintf(o.rule, sizeof(o.rule), "%s", w->rules.rule[rule].text);
    prof__judge_value(w->rules.rule[rule].what, j->now, o.value, sizeof(o.value));
    take(c->wanted, c->n, &o);
}

/* Judge all; which rule speaks for each clause that fires, or -1. The room that is left. */
static double judge_all(const struct prof__reading *r, int first[PROF__CLAUSES_MAX])
{
    int64_t wall_ms = prof__wall_ns() / MS_NS;

    for (unsigned c = 0; c < PROF__CLAUSES_MAX; c++)
        first[c] = -1;
    prof__lock(&w->lock);
    w->now_ms = r->time_ms;
    for (unsigned i = 0; i < w->rules.n; i++) {
        const struct prof__rule *rule = &w->rules.rule[i];

        if (!prof__judge(rule, &w->judgement[i], r, w->start_ms, w->rules.warmup_ms))
            continue;
        prof__judge_fired(&w->judgement[i], r->time_ms);
        w->fired_wall_ms[i] = wall_ms;
        if (first[rule->clause] < 0)
            first[rule->clause] = (int)i;
    }
    double room = prof__judge_room(&w->rules, w->judgement, r);
    prof__unlock(&w->lock);
    return room;
}

static void look(struct look *l)
{
    struct prof__reading r;
    int first[PROF__CLAUSES_MAX];

    prof__heap_set_alarm(0, NULL);
    atomic_store_explicit(&rung, false, memory_order_relaxed);
    l->looked_ns = prof__monotonic_ns();
    read_all(l, l->looked_ns / MS_NS, &r);
    learn_growth(l, &r);
    l->last = r;
    l->has_last = true;
    double room = judge_all(&r, first);
    w->taker.growth = l->growth;
    w->taker.headroom = isnan(r.limit - r.value[PROF__QUANTITY_MEM])
                            ? INFINITY
                            : r.limit - r.value[PROF__QUANTITY_MEM];
    for (unsigned c = 0; c < w->rules.n_clauses; c++)
        if (first[c] >= 0)
            fire((unsigned)first[c], &w->judgement[first[c]]);
    int64_t pause_ms = prof__judge_pause_ms(&w->rules, room, l->growth);
    if (l->sources.capabilities && prof__hooks_how() == PROF__HOOKS_NONE &&
        pause_ms > PRIVILEGED_PAUSE_MS)
        pause_ms = PRIVILEGED_PAUSE_MS; /* sources.c: what the main thread gives up, goes here too;
                                           hooks see to that */
    l->next_ns = l->looked_ns + pause_ms * MS_NS;
    if (l->note_ns != INT64_MAX && pause_ms >= SECOND_MS) /* on the last second before that */
        l->next_ns = l->note_ns + (pause_ms / SECOND_MS - 1) * SECOND_MS * MS_NS;
    if (!isinf(room))
        prof__heap_set_alarm((uint64_t)fmax(room / 8, ALARM_LEAST), ring);
}

/* --- asked for -------------------------------------------------------------------------------- */

/* The oldest that is ready; NULL: there is none. */
static struct prof__request *next_request(void)
{
    struct prof__request *oldest = NULL;

    for (unsigned i = 0; i < PROF__REQUESTS_MAX; i++)
        /* Acquire: what it is filled with. */
        if (atomic_load_explicit(&w->request[i].state, memory_order_acquire) ==
                PROF__REQUEST_READY &&
            (!oldest || w->request[i].number < oldest->number))
            oldest = &w->request[i];
    return oldest;
}

static void serve_requests(void)
{
    struct prof__request *q;

    while ((q = next_request()) != NULL) {
        struct prof__occasion o = { .number = q->number, .exec = w->rules.exec_all };
        struct prof__wanted wanted = q->wanted;

        snprintf(o.rule, sizeof(o.rule), "now%s%s", *q->reason ? ": " : "", q->reason);
        atomic_store_explicit(&q->state, PROF__REQUEST_FREE, memory_order_release);
        take(&wanted, 1, &o);
    }
}

/* --- the end of the process ------------------------------------------------------------------- */

bool prof__watch_wants_end(void)
{
    for (unsigned i = 0; i < w->rules.n; i++)
        if (w->rules.rule[i].what == PROF__QUANTITY_TERM)
            return true;
    return false;
}

/* Sequentially consistent, as in end_in_vain(): either we see that the thread has left, or it that
 * it was asked. Context: signal. */
bool prof__watch_ask_end(void)
{
    atomic_store(&ending, true);
    if (prof__guest_has_left(&prof__watch_guest) && atomic_exchange(&ending, false))
        return false;
    prof__guest_wake(&prof__watch_guest);
    return true;
}

/* All but windows, for which there is no time any more. */
static void take_end(unsigned rule)
{
    struct prof__clause c = w->rules.clause[w->rules.rule[rule].clause];
    struct prof__occasion o = {
        .number = atomic_fetch_add(&w->numbers, 1) + 1,
        .rule = "term",
        .exec = c.exec,
    };
    unsigned n = 0;

    for (unsigned i = 0; i < c.n; i++)
        if (c.wanted[i].seconds == 0)
            c.wanted[n++] = c.wanted[i];
    prof__lock(&w->lock);
    prof__judge_fired(&w->judgement[rule], prof__monotonic_ns() / MS_NS);
    w->fired_wall_ms[rule] = prof__wall_ns() / MS_NS;
    prof__unlock(&w->lock);
    take(c.wanted, n, &o);
}

static void serve_end(void)
{
    if (!atomic_exchange(&ending, false))
        return;
    for (unsigned i = 0; i < w->rules.n; i++)
        if (w->rules.rule[i].what == PROF__QUANTITY_TERM)
            take_end(i);
    w->ended();
}

/* It came when this thread was about to leave: nobody is to wait for that. */
static void end_in_vain(void)
{
    if (atomic_exchange(&ending, false))
        w->ended();
}

/* What any difference begins with: each profile that a rule takes, once. */
static void take_baseline(void)
{
    struct prof__wanted all[PROF__ACTIONS_MAX] = { { "heap", 0 } };
    struct prof__occasion o = { .number = 0, .rule = "baseline" };
    unsigned n = 1;

    for (unsigned c = 0; c < w->rules.n_clauses; c++)
        for (unsigned i = 0; i < w->rules.clause[c].n; i++) {
            const struct prof__wanted *wanted = &w->rules.clause[c].wanted[i];
            unsigned k = 0;

            while (k < n && strcmp(all[k].profile, wanted->profile) != 0)
                k++;
            if (k == n && n < PROF__ACTIONS_MAX && wanted->seconds == 0 &&
                strcmp(wanted->profile, PROF__WANTED_TRACE) != 0)
                all[n++] = *wanted;
        }
    w->has_baseline = true;
    take(all, n, &o);
}

/* --- the thread ------------------------------------------------------------------------------- */

/* Is there a rule of one of these quantities, in the order of their enumeration? */
static bool wants(enum prof__quantity first, enum prof__quantity last)
{
    for (unsigned i = 0; i < w->rules.n; i++)
        if (w->rules.rule[i].what >= first && w->rules.rule[i].what <= last)
            return true;
    return false;
}

/* After a warm-up, if there is one. */
static int64_t baseline_ns(void)
{
    return (w->start_ms + PROF_MAX(w->rules.baseline_ms, w->rules.warmup_ms)) * MS_NS;
}

static void watch(struct look *l)
{
    uint32_t turn;

    while (turn = prof__guest_turn(&prof__watch_guest),
           !prof__guest_is_ending(&prof__watch_guest)) {
        int64_t now_ns = prof__monotonic_ns(), until_ns;

        l->note_ns = prof__vars_note(&l->sources);
        if (atomic_load_explicit(&rung, memory_order_relaxed))
            l->next_ns = PROF_MIN(l->next_ns, l->looked_ns + LEAST_PAUSE_NS);
        /* What is to come at once comes before what it is compared with; later, looking does. */
        if (!l->has_last && !w->has_baseline && now_ns >= baseline_ns())
            take_baseline();
        if (w->rules.n && now_ns >= l->next_ns)
            look(l);
        serve_end();
        serve_requests();
        finish();
        if (!w->has_baseline && now_ns >= baseline_ns())
            take_baseline();

        until_ns = l->note_ns;
        if (w->rules.n)
            until_ns = PROF_MIN(until_ns, l->next_ns);
        if (!w->has_baseline)
            until_ns = PROF_MIN(until_ns, baseline_ns());
        until_ns = PROF_MIN(until_ns, prof__taker_due_ns(&w->taker));
        if (until_ns > prof__monotonic_ns() && !atomic_load_explicit(&rung, memory_order_relaxed))
            prof__guest_wait(&prof__watch_guest, turn, until_ns);
        else if (until_ns > prof__monotonic_ns()) /* it rang right after a look */
            prof__guest_wait(&prof__watch_guest, turn, l->looked_ns + LEAST_PAUSE_NS);
    }
}

/* Without a table of its own it has no business with files. */
static void wait_for_end(void)
{
    uint32_t turn;

    while (turn = prof__guest_turn(&prof__watch_guest),
           !prof__guest_is_ending(&prof__watch_guest)) {
        struct prof__request *q;

        while ((q = next_request()) != NULL) {
            unsigned number = q->number;

            atomic_store_explicit(&q->state, PROF__REQUEST_FREE, memory_order_release);
            done(number, -ENOSYS);
        }
        end_in_vain();
        prof__guest_wait(&prof__watch_guest, turn, INT64_MAX);
    }
}

static void run(void)
{
    static struct look l; /* one thread at a time */
    int error;

    l = (struct look) {
        .wants_tables = wants(PROF__QUANTITY_HEAP, PROF__QUANTITY_ALLOC),
        .wants_spans = wants(PROF__QUANTITY_STALL, PROF__QUANTITY_STALL),
        .wants_events = wants(PROF__QUANTITY_LOW, PROF__QUANTITY_KILL),
        .processors = 1,
    };
    error = prof__sources_open(&l.sources);
    atomic_store(&w->sources_error, error);
    if (error < 0) {
        wait_for_end();
        return;
    }
    prof__taker_open(&w->taker, &w->rules, w->path, w->own_path, w->since_s, &w->counts, done);
    if (!w->start_ms)
        w->start_ms = prof__monotonic_ns() / MS_NS;
    watch(&l);
    prof__heap_set_alarm(0, NULL);
    prof__vars_give_back();
    prof__taker_close(&w->taker);
    prof__limit_close(&l.limit);
    prof__sources_close(&l.sources);
}
