/*
 * threads_text.c - a block for each thread, as Go's tracebacks look:
 *
 *   goroutine 4711 [sleeping in system call 202, futex_wait_queue]:
 *   # name: worker 3
 *   # labels: {"queue":"mail"}
 *   wait_for_work()
 *   	/src/pool.c:118 +0x7f12deadbeef
 *
 * So the tools that group such dumps read ours. Context: normal.
 */
#include "threads_text.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/task.h"
#include "demangle.h"
#include "labels.h"
#include "snapshot.h"
#include "textout.h"
#include "thread_stacks.h"

enum { NAME_SIZE = 4000, LABEL_SIZE = 600 };

/* A thread as it was just after its stack was taken. */
struct place {
    struct prof__task_state state;
    struct prof__position position;
    char channel[64]; /* the kernel's function that it sleeps in; "" unknown */
    bool gone;
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
    ret->gone = prof__task_state(tid, &ret->state) < 0;
    if (prof__task_position(tid, &ret->position) < 0)
        ret->position.system_call = -1;
    if (prof__task_read(tid, "wchan", ret->channel, sizeof(ret->channel)) < 0 ||
        strcmp(ret->channel, "0") == 0)
        ret->channel[0] = '\0';
}

static void put_head(struct prof__textout *out, const char *word,
                     const struct prof__thread_stack *t, const struct place *p)
{
    struct prof__label_pair pair[PROF__LABELS_MAX];
    size_t n = prof__labels_get(t->labels, pair, ARRAY_LEN(pair));

    prof__textout_printf(out, "%s %d [%s", word, (int)t->tid,
                         p->gone ? "ended since" : state_name(p->state.state));
    if (p->position.system_call >= 0)
        prof__textout_printf(out, " in system call %d", p->position.system_call);
    if (p->channel[0]) {
        prof__textout_printf(out, ", ");
        prof__textout_string(out, p->channel, sizeof(p->channel));
    }
    prof__textout_printf(out, "]:\n# name: ");
    prof__textout_string(out, p->state.name, sizeof(p->state.name));
    prof__textout_printf(out, "\n");
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

struct text {
    const struct prof__report *report;
    const struct prof__demangler *demangler;
    struct prof__arena *arena;
    struct prof__textout *out;
};

static void put_frames(struct text *t, const struct prof__report_sample *s)
{
    for (uint32_t i = 0; i < s->n_locations; i++) {
        const struct prof__location *l = &t->report->location[s->location[i]];
        const char *object = t->report->mapping[l->mapping].file;

        for (uint32_t k = 0; k < l->n_lines; k++)
            put_line(t->out, prof__demangle(t->demangler, t->arena, l->line[k].function),
                     l->line[k].file ? l->line[k].file : object, l->line[k].line, l->address);
        if (l->n_lines == 0)
            put_line(t->out, "??", object, 0, l->address);
    }
}

static int write_all(const struct prof_profile *p, const struct prof__report *report,
                     const struct prof__thread_stack *thread, const struct place *place, size_t n,
                     struct prof__arena *a, prof_sink_fn *sink, void *arg)
{
    struct prof__textout *out = prof__arena_alloc(a, sizeof(*out));
    const char *word = strcmp(p->name, "goroutine") == 0 ? "goroutine" : "thread";
    struct prof__demangler demangler;
    struct text text = { report, &demangler, a, out };

    if (!out)
        return -ENOMEM;
    out->sink = sink;
    out->arg = arg;
    prof__demangler_init(&demangler);
    for (size_t i = 0; i < report->n_comments; i++) {
        prof__textout_printf(out, "# ");
        prof__textout_string(out, report->comment[i], NAME_SIZE);
        prof__textout_printf(out, "\n");
    }
    for (size_t i = 0; i < n && out->error == 0; i++) {
        put_head(out, word, &thread[i], &place[i]);
        put_frames(&text, &report->sample[i]);
        prof__textout_printf(out, "\n");
    }
    return prof__textout_flush(out);
}

int prof__threads_write_text(const struct prof_profile *p, const struct prof__report_options *o,
                             prof_sink_fn *sink, void *arg)
{
    struct prof__report_options options = { .no_symbols = o->no_symbols };
    struct prof__snapshot s = { .wall_ns = prof__wall_ns(), .monotonic_ns = prof__monotonic_ns() };
    struct prof__thread_stack *thread;
    struct prof__report report;
    struct place *place = NULL;

    int r = prof__threads_take(&s.arena, &thread, &s.n);
    if (r < 0)
        goto out;
    s.sample = prof__arena_array(&s.arena, s.n + 1, sizeof(*s.sample));
    place = prof__arena_array(&s.arena, s.n + 1, sizeof(*place));
    if (!s.sample || !place) {
        r = -ENOMEM;
        goto out;
    }
    for (size_t i = 0; i < s.n; i++) { /* sample i is thread i, in the report too */
        look(thread[i].tid, &place[i]);
        s.sample[i] =
            (struct prof__sample) { .row = (uint32_t)i, .stack = thread[i].stack, .value = { 1 } };
    }
    r = prof__report_build(p, &s, &options, &s.arena, &report);
    if (r == 0)
        r = write_all(p, &report, thread, place, s.n, &s.arena, sink, arg);
out:
    prof__snapshot_free(&s);
    return r;
}
