/*
 * encode_folded.c - a report as folded stacks, for tools that draw flame graphs:
 *
 *   main;serve;parse 4096
 *
 * One line a sample: functions from the root to the leaf, inlined ones too, as people read them,
 * and one value. What separates in this format is replaced in names: ';' by ':', a line's end by
 * '?'. Labels and sizes are not in it, so a stack may come more than once; readers add equal ones
 * up.
 */
#include "encode/encode.h"

#include <errno.h>
#include <string.h>

#include "encode/encode_order.h"
#include "encode/functions.h"

enum { NAME_SIZE = 4000 };

static void put_name(struct prof__textout *out, const char *name)
{
    size_t left = strnlen(name, NAME_SIZE);

    while (left) {
        size_t n = PROF_MIN(strcspn(name, ";"), left);

        prof__textout_string_n(out, name, n, NAME_SIZE);
        if (n == left)
            return;
        prof__textout_word(out, ":");
        name += n + 1;
        left -= n + 1;
    }
}

static void put_stack(struct prof__textout *out, const struct prof__report *r,
                      const struct prof__report_sample *s, const struct prof__functions *f)
{
    const char *separator = "";

    for (uint32_t i = s->n_locations; i-- > 0;) {
        uint32_t l = s->location[i];

        for (uint32_t line = PROF_MAX(r->location[l].n_lines, 1u); line-- > 0;) {
            prof__textout_word(out, separator);
            put_name(out, f->function[f->line[f->first[l] + line]].name);
            separator = ";";
        }
    }
}

int prof__encode_folded(const struct prof__report *r, const char *type, struct prof__arena *a,
                        prof_sink_fn *sink, void *arg)
{
    size_t at = prof__report_default_value(r);
    struct prof__functions functions;

    if (*type) {
        at = 0;
        while (at < r->n_values && strcmp(r->value_type[at].type, type) != 0)
            at++;
        if (at == r->n_values)
            return prof_set_last_error(-EINVAL, "the profile has no sample type of that name");
    }
    int error = prof__functions_load(r, a, &functions);
    const uint32_t *order = prof__report_order(r, a);
    struct prof__textout *out = prof__arena_alloc(a, sizeof(*out));

    if (error < 0 || !order || !out)
        return -ENOMEM;
    out->sink = sink;
    out->arg = arg;
    for (size_t i = 0; i < r->n_samples && !out->error; i++) {
        const struct prof__report_sample *s = &r->sample[order[i]];

        if (s->value[at] == 0)
            continue;
        put_stack(out, r, s, &functions);
        prof__textout_printf(out, " %lld\n", (long long)s->value[at]);
    }
    return prof__textout_flush(out);
}
