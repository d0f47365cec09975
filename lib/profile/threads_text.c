/*
 * threads_text.c - a block for each thread, as Go's tracebacks look:
 *
 *   goroutine 4711 [sleeping in futex(), futex_wait_queue]:
 *   # name: worker 3
 *   # processor time: 0.520 s
 *   # labels: {"queue":"mail"}
 *   # waits for mutex 0x55d0c0de1040 for 1.250 s, held by thread 4712 (reader)
 *   wait_for_work()
 *   	/src/pool.c:118 +0x7f12deadbeef
 *
 * So the tools that group such dumps read ours. Context: normal.
 */
#include "profile/threads_text.h"

#include <errno.h>
#include <string.h>

#include "arch/call_names.h"
#include "base/clock.h"
#include "base/task.h"
#include "encode/textout.h"
#include "profile/locks_text.h"
#include "profile/lockstate.h"
#include "profile/snapshot.h"
#include "profile/thread_stacks.h"
#include "record/thread_timer.h"
#include "table/labels.h"

enum { NAME_SIZE = 4000, LABEL_SIZE = 600 };

/* A thread as it was just after its stack was taken. */
struct place {
    struct prof__task_state state;
    struct prof__position position;
    char channel[64]; /* the kernel's function that it sleeps in; "" unknown */
    uint64_t cpu_ns;  /* processor time it has had */
    bool gone;
};

/* All threads, each at the same index of the arrays. */
struct dump {
    size_t n;
    struct prof__thread_stack *thread;
    struct place *place;
    struct prof__waiting *waiting;
    unsigned deadlocks;
};

static const char *state_name(char state)
{
    switch (state) {
    case 'R':
        return "running";
    case 'S':
        return "sleeping";
    case 'D':
        return "in the kernel, not interruptible";
    case 'T':
        return "stopped";
    case 't':
        return "stopped by a debugger";
    case 'Z':
    case 'X':
        return "ended";
    default:
        return "idle";
    }
}

static void look(pid_t tid, struct place *ret)
{
    *ret = (struct place) { .position.system_call = -1 };
    ret->gone = prof__task_state(tid, &ret->state) < 0 || !prof__thread_time(tid, &ret->cpu_ns);
    if (prof__task_position(tid, &ret->position) < 0)
        ret->position.system_call = -1;
    if (prof__task_read(tid, "wchan", ret->channel, sizeof(ret->channel)) < 0 ||
        strcmp(ret->channel, "0") == 0)
        ret->channel[0] = '\0';
}

static void put_call(struct prof__textout *out, int number)
{
    const char *name = prof__call_name(number);

    if (name)
        prof__textout_printf(out, " in %s()", name);
    else
        prof__textout_printf(out, " in system call %d", number);
}

static void put_head(struct prof__textout *out, const char *word,
                     const struct prof__thread_stack *t, const struct place *p)
{
    struct prof__label_pair pair[PROF__LABELS_MAX];
    size_t n = prof__labels_get(t->labels, pair, ARRAY_LEN(pair));

    prof__textout_printf(out, "%s %d [%s", word, (int)t->tid,
                         p->gone ? "ended since" : state_name(p->state.state));
    if (p->position.system_call >= 0)
        put_call(out, p->position.system_call);
    if (p->channel[0]) {
        prof__textout_printf(out, ", ");
        prof__textout_string(out, p->channel, sizeof(p->channel));
    }
    prof__textout_printf(out, "]:\n# name: ");
    prof__textout_string(out, p->state.name, sizeof(p->state.name));
    prof__textout_printf(out, "\n");
    if (!p->gone)
        prof__textout_printf(out, "# processor time: %.3f s\n", (double)p->cpu_ns / 1e9);
    for (size_t i = 0; i < n; i++) {
        prof__textout_printf(out, i == 0 ? "# labels: {" : ", ");
        prof__textout_quoted(out, pair[i].key, LABEL_SIZE);
        prof__textout_printf(out, ":");
        prof__textout_quoted(out, pair[i].value, LABEL_SIZE);
    }
    if (n > 0)
        prof__textout_printf(out, "}\n");
}

static void put_line(struct prof__textout *out, const char *function, const char *file,
                     uint32_t line, uint64_t address)
{
    prof__textout_string(out, function, NAME_SIZE);
    prof__textout_printf(out, "()\n\t");
    prof__textout_string(out, file && *file ? file : "??", NAME_SIZE);
    prof__textout_printf(out, ":%u", line);
    prof__textout_hex(out, " +0x", address);
    prof__textout_printf(out, "\n");
}

static void put_frames(struct prof__textout *out, const struct prof__report *r,
                       const struct prof__report_sample *s)
{
    for (uint32_t i = 0; i < s->n_locations; i++) {
        const struct prof__location *l = &r->location[s->location[i]];
        const char *object = r->mapping[l->mapping].file;

        for (uint32_t k = 0; k < l->n_lines; k++)
            put_line(out, l->line[k].name, l->line[k].file ? l->line[k].file : object,
                     l->line[k].line, l->address);
        if (l->n_lines == 0)
            put_line(out, "??", object, 0, l->address);
    }
}

static int write_all(const struct prof_profile *p, const struct prof__report *report,
                     const struct dump *d, int64_t now_ns, struct prof__arena *a,
                     prof_sink_fn *sink, void *arg)
{
    struct prof__textout *out = prof__arena_alloc(a, sizeof(*out));
    const char *word = strcmp(p->name, "goroutine") == 0 ? "goroutine" : "thread";

    if (!out)
        return -ENOMEM;
    out->sink = sink;
    out->arg = arg;
    for (size_t i = 0; i < report->n_comments; i++) {
        if (strncmp(report->comment[i], "deadlock: ", strlen("deadlock: ")) == 0)
            continue; /* told in full below */
        prof__textout_printf(out, "# ");
        prof__textout_string(out, report->comment[i], NAME_SIZE);
        prof__textout_printf(out, "\n");
    }
    prof__locks_text_deadlocks(out, "# ", d->waiting, d->n, d->deadlocks);
    if (d->deadlocks)
        prof__textout_printf(out, "\n");
    for (size_t i = 0; i < d->n && out->error == 0; i++) {
        put_head(out, word, &d->thread[i], &d->place[i]);
        prof__locks_text_waiting(out, &d->waiting[i], now_ns);
        put_frames(out, report, &report->sample[i]);
        prof__textout_printf(out, "\n");
    }
    return prof__textout_flush(out);
}

/* What the threads wait for; those of a deadlock come first. */
static int look_at_locks(struct dump *d, struct prof__arena *a)
{
    pid_t *tid = prof__arena_array(a, d->n + 1, sizeof(*tid));
    struct prof__thread_stack *thread = prof__arena_array(a, d->n + 1, sizeof(*thread));
    struct prof__waiting *waiting = prof__arena_array(a, d->n + 1, sizeof(*waiting));
    size_t made = 0;

    d->waiting = prof__arena_array(a, d->n + 1, sizeof(*waiting));
    if (!tid || !thread || !waiting || !d->waiting)
        return -ENOMEM;
    for (size_t i = 0; i < d->n; i++)
        tid[i] = d->thread[i].tid;
    d->deadlocks = prof__lockstate_read(tid, d->n, waiting);
    for (int dead = 1; dead >= 0; dead--)
        for (size_t i = 0; i < d->n; i++)
            if ((waiting[i].cycle != 0) == dead) {
                thread[made] = d->thread[i];
                d->waiting[made++] = waiting[i];
            }
    d->thread = thread;
    return 0;
}

int prof__threads_write_text(const struct prof_profile *p, const struct prof__report_options *o,
                             prof_sink_fn *sink, void *arg)
{
    struct prof__report_options options = *o;
    struct prof__snapshot s = { .wall_ns = prof__wall_ns(), .monotonic_ns = prof__monotonic_ns() };
    struct dump d = { 0 };
    struct prof__report report;

    options.one_by_one = true;
    int r = prof__threads_take(&s.arena, &d.thread, &d.n);
    if (r < 0 || (r = look_at_locks(&d, &s.arena)) < 0)
        goto out;
    s.n = d.n;
    s.sample = prof__arena_array(&s.arena, s.n + 1, sizeof(*s.sample));
    d.place = prof__arena_array(&s.arena, s.n + 1, sizeof(*d.place));
    if (!s.sample || !d.place) {
        r = -ENOMEM;
        goto out;
    }
    for (size_t i = 0; i < s.n; i++) { /* sample i is thread i, in the report too */
        look(d.thread[i].tid, &d.place[i]);
        s.sample[i] = (struct prof__sample) {
            .row = (uint32_t)i,
            .stack = d.thread[i].stack,
            .raw.value = { 1 },
        };
    }
    r = prof__report_build(p, &s, &options, &s.arena, &report);
    if (r == 0)
        r = write_all(p, &report, &d, s.monotonic_ns, &s.arena, sink, arg);
out:
    prof__snapshot_free(&s);
    return r;
}
