/*
 * threads_text.c - threads as text and as a report.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "outside/threads.h"

enum { LINES_MAX = 8 };

/* --- text ------------------------------------------------------------------------------------- */

struct out {
    prof_sink_fn *sink;
    void *arg;
    int error;
};

static PROF_PRINTF(2, 3) void put(struct out *o, const char *format, ...)
{
    char line[4096];
    va_list ap;

    va_start(ap, format);
    int n = vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    if (n > 0 && o->error == 0)
        o->error = o->sink(o->arg, line, PROF_MIN((size_t)n, sizeof(line) - 1));
}

static const char *state_name(char state)
{
    switch (state) {
    case 'R':
        return "running";
    case 'S':
        return "sleeping";
    case 'D':
        return "in uninterruptible sleep";
    case 'T':
        return "stopped";
    case 't':
        return "traced";
    case 'Z':
        return "ended";
    default:
        return "";
    }
}

static void put_frame(struct out *o, const struct prof__outside_threads *t,
                      const struct prof__outside_thread *one, size_t f)
{
    const struct prof__symbols *s = one->symbols[f];

    for (size_t l = 0; l < s->n; l++) {
        const struct prof__line *line = &s->line[l];
        const char *name = line->name ? line->name : "??";

        if (line->file)
            put(o, "    %s  %s:%u\n", name, line->file, line->line);
        else
            put(o, "    %s\n", name);
    }
    if (s->n == 0) {
        const struct prof__module *m = prof__modules_find_loaded(&t->modules, one->pc[f]);

        put(o, "    0x%llx%s%s\n", (unsigned long long)one->pc[f], m ? "  " : "",
            m ? prof__base_name(m->path) : "");
    }
}

static void put_names(struct out *o, const struct prof__outside_threads *t, uint32_t group)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++)
        n += t->thread[i].group == group;
    put(o, n == 1 ? "thread" : "%zu threads:", n);
    for (size_t i = 0, k = 0; i < t->n; i++) {
        const struct prof__image_thread *one = t->thread[i].thread;

        if (t->thread[i].group != group)
            continue;
        if (k++ == LINES_MAX) {
            put(o, " ...");
            break;
        }
        put(o, "%s %d%s%s", k > 1 ? "," : "", (int)one->tid, one->name[0] ? " " : "", one->name);
    }
}

static void put_wait(struct out *o, const struct prof__outside_thread *one)
{
    const struct prof__image_thread *t = one->thread;

    if (t->state)
        put(o, " [%s%s%s]", state_name(t->state), t->waits_in[0] ? ": " : "", t->waits_in);
    if (one->waits == PROF__WAITS_JOIN)
        put(o, ", waits for thread %d to end", (int)one->owner);
    if (one->waits == PROF__WAITS_MUTEX && one->owner)
        put(o, ", waits for mutex 0x%llx, which thread %d has", (unsigned long long)one->lock,
            (int)one->owner);
    else if (one->waits == PROF__WAITS_MUTEX)
        put(o, ", waits for mutex 0x%llx", (unsigned long long)one->lock);
    if (one->cycle)
        put(o, ": DEADLOCK %d", one->cycle);
    put(o, "\n");
}

static void put_cycles(struct out *o, const struct prof__outside_threads *t)
{
    for (int c = 1; c <= t->cycles; c++) {
        put(o, "DEADLOCK %d:\n", c);
        for (size_t i = 0; i < t->n; i++) {
            const struct prof__outside_thread *one = &t->thread[i];

            if (one->cycle == c && one->waits == PROF__WAITS_MUTEX)
                put(o, "    thread %d %s waits for mutex 0x%llx, which thread %d has\n",
                    (int)one->thread->tid, one->thread->name, (unsigned long long)one->lock,
                    (int)one->owner);
            else if (one->cycle == c)
                put(o, "    thread %d %s waits for thread %d to end\n", (int)one->thread->tid,
                    one->thread->name, (int)one->owner);
        }
        put(o, "\n");
    }
}

int prof__outside_threads_text(const struct prof__outside_threads *t, struct prof__arena *a,
                               prof_sink_fn *sink, void *arg)
{
    struct out o = { sink, arg, 0 };

    (void)a;
    put_cycles(&o, t);
    for (uint32_t i = 0; i < t->n && o.error == 0; i++) {
        const struct prof__outside_thread *one = &t->thread[i];

        if (one->group != i)
            continue;
        put_names(&o, t, i);
        put_wait(&o, one);
        for (size_t f = 0; f < one->n; f++)
            put_frame(&o, t, one, f);
        if (one->why)
            put(&o, "    [%s]\n", one->why);
        else if (!one->complete)
            put(&o, "    [the rest of the stack could not be walked%s]\n",
                one->thread->has_kept ? "" : "; --stop reads registers, which may help");
        put(&o, "\n");
    }
    return o.error;
}

/* --- report ----------------------------------------------------------------------------------- */

/* One location for each frame of each group: few enough not to be worth sharing. */
struct builder {
    const struct prof__outside_threads *t;
    struct prof__arena *arena;
    struct prof__location *location;
    size_t n_locations;
    struct prof__report_mapping *mapping;
    size_t n_mappings;
};

static uint32_t location_of(struct builder *b, const struct prof__outside_thread *one, size_t f)
{
    for (uint32_t i = 0; i < b->n_locations; i++)
        if (b->location[i].address == one->pc[f])
            return i;
    static const struct prof__line unknown = { .function = "??", .name = "??" };
    const struct prof__symbols *s = one->symbols[f];
    const struct prof__module *m = prof__modules_find_loaded(&b->t->modules, one->pc[f]);
    struct prof__line *line = prof__arena_array(b->arena, s->n + 1, sizeof(*line));
    uint32_t mapping = m ? (uint32_t)(m - b->t->modules.module) : (uint32_t)b->t->modules.n;

    for (size_t l = 0; line && l < s->n; l++) {
        line[l] = s->line[l];
        line[l].function = line[l].function ? line[l].function : "??";
        line[l].name = line[l].name ? line[l].name : line[l].function;
    }
    b->location[b->n_locations] = (struct prof__location) {
        .address = one->pc[f],
        .mapping = mapping,
        .n_lines = line && s->n ? (uint32_t)s->n : 1,
        .line = line && s->n ? line : &unknown,
        .is_nameless = s->n == 0,
    };
    return (uint32_t)b->n_locations++;
}

static void hex(char *to, const uint8_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++)
        snprintf(to + 2 * i, 3, "%02x", id[i]);
}

static bool make_mappings(struct builder *b)
{
    const struct prof__modules *m = &b->t->modules;

    b->mapping = prof__arena_array(b->arena, m->n + 1, sizeof(*b->mapping));
    for (size_t i = 0; b->mapping && i < m->n; i++) {
        char *id = prof__arena_alloc(b->arena, 2 * PROF__BUILD_ID_MAX + 1);

        if (!id)
            return false;
        hex(id, m->module[i].build_id, m->module[i].build_id_size);
        b->mapping[i] = (struct prof__report_mapping) {
            .start = m->module[i].start,
            .limit = m->module[i].limit,
            .offset = m->module[i].offset,
            .bias = m->module[i].bias,
            .is_elf = m->module[i].is_elf,
            .is_program = i == 0,
            .file = m->module[i].path,
            .build_id = id,
            .has_functions = true,
        };
    }
    if (b->mapping)
        b->mapping[m->n] = (struct prof__report_mapping) { .start = 0,
                                                           .limit = UINT64_MAX,
                                                           .file = "[unknown]",
                                                           .build_id = "",
                                                           .has_functions = true };
    b->n_mappings = m->n + 1;
    return b->mapping != NULL;
}

int prof__outside_threads_report(const struct prof__outside_threads *t, struct prof__arena *a,
                                 struct prof__report *ret)
{
    static const struct prof__value_type type = { "threads", "count" };
    struct builder b = { .t = t, .arena = a };
    size_t frames = 0, n = 0;

    for (size_t i = 0; i < t->n; i++)
        frames += PROF_MAX(t->thread[i].n, 1);
    struct prof__report_sample *sample = prof__arena_array(a, t->n + 1, sizeof(*sample));
    b.location = prof__arena_array(a, frames + 1, sizeof(*b.location));
    if (!sample || !b.location || !make_mappings(&b))
        return -ENOMEM;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct prof__outside_thread *one = &t->thread[i];
        struct prof__report_sample *s = &sample[n];
        uint32_t *location = prof__arena_array(a, one->n + 1, sizeof(*location));
        struct prof__label *label = prof__arena_array(a, 2, sizeof(*label));

        if (!location || !label)
            return -ENOMEM;
        if (one->n == 0)
            continue;
        for (size_t f = 0; f < one->n; f++)
            location[f] = location_of(&b, one, f);
        label[0] = (struct prof__label) { .key = "tid", .number = one->thread->tid };
        label[1] = (struct prof__label) { .key = "thread", .value = one->thread->name };
        *s = (struct prof__report_sample) { .location = location,
                                            .n_locations = (uint32_t)one->n,
                                            .label = label,
                                            .n_labels = one->thread->name[0] ? 2 : 1,
                                            .value = { 1 } };
        n++;
    }
    *ret = (struct prof__report) {
        .name = "threads",
        .text = PROF__TEXT_COUNT,
        .n_values = 1,
        .value_type = &type,
        .period_type = type,
        .period = 1,
        .time_ns = prof__wall_ns(),
        .n_samples = n,
        .n_locations = b.n_locations,
        .n_mappings = b.n_mappings,
        .sample = sample,
        .location = b.location,
        .mapping = b.mapping,
    };
    return 0;
}
