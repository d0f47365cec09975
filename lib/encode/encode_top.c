/*
 * encode_top.c - the functions of a report with what they hold, and the ten largest as a table.
 *
 * For whoever reads the text as it comes, `curl .../heap?debug=1 | head`, with no tool at hand. The
 * numbers are what `pprof -top` would print: flat is what ends in the function, cum what passes
 * through it, a function that is in a stack twice counted once.
 */
#include "encode/encode_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "encode/strtab.h"
#include "symbol/demangle.h"

enum { TOP = 10, NAME_MAX_SHOWN = 120 };

/* "libfoo.so.6+0x1234", the offset being that in the file, which addr2line and objdump take. */
static const char *unknown_name(const struct prof__report *r, const struct prof__location *l,
                                struct prof__arena *a)
{
    const struct prof__report_mapping *m =
        l->mapping < r->n_mappings ? &r->mapping[l->mapping] : NULL;

    if (!m || !m->file[0])
        return prof__arena_printf(a, "0x%llx", (unsigned long long)l->address);
    const char *slash = strrchr(m->file, '/');
    return prof__arena_printf(a, "%.200s+0x%llx", slash ? slash + 1 : m->file,
                              (unsigned long long)(l->address - m->start + m->offset));
}

/* Give every line of every location its function. */
static int number_lines(const struct prof__report *r, struct prof__arena *a,
                        struct prof__strtab *names, uint32_t *first, uint32_t *line)
{
    uint32_t n = 0;

    for (size_t i = 0; i < r->n_locations; i++) {
        const struct prof__location *l = &r->location[i];

        first[i] = n;
        if (l->n_lines == 0) {
            const char *name = unknown_name(r, l, a);

            if (!name)
                return -ENOMEM;
            line[n++] = prof__strtab_add(names, name);
        }
        for (uint32_t j = 0; j < l->n_lines; j++)
            line[n++] = prof__strtab_add(names, l->line[j].function);
    }
    return names->error;
}

static void add_samples(const struct prof__report *r, const uint32_t *first, const uint32_t *line,
                        struct prof__function *function, uint32_t *last_seen)
{
    size_t v = prof__report_default_value(r);

    for (size_t i = 0; i < r->n_samples; i++) {
        const struct prof__report_sample *s = &r->sample[i];

        for (uint32_t j = 0; j < s->n_locations; j++) {
            uint32_t l = s->location[j];
            uint32_t lines = PROF_MAX(r->location[l].n_lines, 1u);

            for (uint32_t k = 0; k < lines; k++) {
                uint32_t f = line[first[l] + k];

                if (j == 0 && k == 0)
                    function[f].flat = prof__add_saturate(function[f].flat, s->value[v]);
                if (last_seen[f] != i + 1) {
                    last_seen[f] = (uint32_t)i + 1;
                    function[f].cum = prof__add_saturate(function[f].cum, s->value[v]);
                }
            }
        }
    }
}

int prof__functions_load(const struct prof__report *r, struct prof__arena *a,
                         struct prof__functions *ret)
{
    struct prof__demangler demangler;
    struct prof__strtab names;
    size_t n_lines = 0;
    int error = prof__strtab_init(&names, a);

    for (size_t i = 0; i < r->n_locations; i++)
        n_lines += PROF_MAX(r->location[i].n_lines, 1u);
    uint32_t *first = prof__arena_array(a, r->n_locations, sizeof(*first));
    uint32_t *line = prof__arena_array(a, n_lines, sizeof(*line));
    if (error < 0 || !first || !line || number_lines(r, a, &names, first, line) < 0)
        return -ENOMEM;

    struct prof__function *function = prof__arena_array(a, names.n, sizeof(*function));
    uint32_t *last_seen = prof__arena_array(a, names.n, sizeof(*last_seen));
    if (!function || !last_seen)
        return -ENOMEM;
    prof__demangler_init(&demangler);
    function[0].name = "?"; /* of a line without a name */
    for (uint32_t i = 1; i < names.n; i++)
        function[i].name = prof__demangle(&demangler, a, names.string[i]);
    add_samples(r, first, line, function, last_seen);
    *ret = (struct prof__functions) { function, names.n, first, line };
    return 0;
}

/* --- the table ------------------------------------------------------------------------------- */

const char *prof__human(char buf[PROF__HUMAN_SIZE], int64_t value, const char *unit)
{
    static const struct {
        const char *unit, *shown;
        double size;
    } scale[] = {
        { "bytes", "TiB", 0x1p40 },  { "bytes", "GiB", 0x1p30 },   { "bytes", "MiB", 0x1p20 },
        { "bytes", "KiB", 0x1p10 },  { "bytes", "B", 1 },          { "nanoseconds", "h", 3600e9 },
        { "nanoseconds", "s", 1e9 }, { "nanoseconds", "ms", 1e6 }, { "nanoseconds", "us", 1e3 },
        { "nanoseconds", "ns", 1 },
    };
    double magnitude = value < 0 ? -(double)value : (double)value;

    for (size_t i = 0; i < ARRAY_LEN(scale); i++) {
        if (strcmp(scale[i].unit, unit) != 0 || (magnitude < scale[i].size && scale[i].size > 1))
            continue;
        if (scale[i].size == 1)
            snprintf(buf, PROF__HUMAN_SIZE, "%lld%s", (long long)value, scale[i].shown);
        else
            snprintf(buf, PROF__HUMAN_SIZE, "%.2f%s", (double)value / scale[i].size,
                     scale[i].shown);
        return buf;
    }
    snprintf(buf, PROF__HUMAN_SIZE, "%lld", (long long)value);
    return buf;
}

static uint64_t magnitude(int64_t v)
{
    return v < 0 ? -(uint64_t)v : (uint64_t)v;
}

/* Larger flat first; among equals larger cum. */
static bool before(const struct prof__function *a, const struct prof__function *b)
{
    if (magnitude(a->flat) != magnitude(b->flat))
        return magnitude(a->flat) > magnitude(b->flat);
    return magnitude(a->cum) > magnitude(b->cum);
}

static size_t pick_top(const struct prof__functions *f, const struct prof__function *top[TOP])
{
    size_t n = 0;

    for (size_t i = 0; i < f->n; i++) {
        const struct prof__function *candidate = &f->function[i];
        size_t at = n;

        if (candidate->flat == 0)
            continue;
        while (at > 0 && before(candidate, top[at - 1]))
            at--;
        if (at == TOP)
            continue;
        n = PROF_MIN(n + 1, (size_t)TOP);
        memmove(&top[at + 1], &top[at], (n - 1 - at) * sizeof(top[0]));
        top[at] = candidate;
    }
    return n;
}

void prof__functions_print_top(const struct prof__functions *f, const struct prof__report *r,
                               struct prof__textout *out)
{
    size_t v = prof__report_default_value(r);
    const char *unit = r->value_type[v].unit;
    const struct prof__function *top[TOP];
    char flat[PROF__HUMAN_SIZE], cum[PROF__HUMAN_SIZE];
    double whole = 0; /* as pprof does: of a difference, what grew and what shrank */

    for (size_t i = 0; i < r->n_samples; i++)
        whole += (double)magnitude(r->sample[i].value[v]);
    for (size_t i = 0; i < r->n_values; i++) {
        int64_t sum = 0;

        for (size_t j = 0; j < r->n_samples; j++)
            sum = prof__add_saturate(sum, r->sample[j].value[i]);
        prof__textout_word(out, i ? ", " : "# ");
        prof__textout_string(out, r->value_type[i].type, NAME_MAX_SHOWN);
        prof__textout_printf(out, " %s", prof__human(flat, sum, r->value_type[i].unit));
    }
    prof__textout_printf(out, " in %zu rows\n", r->n_samples);
    size_t n = pick_top(f, top);
    if (n > 0) {
        prof__textout_printf(out, "#\n# %11s  flat%% %11s   cum%%  function, by ", "flat", "cum");
        prof__textout_string(out, r->value_type[v].type, NAME_MAX_SHOWN);
        prof__textout_word(out, "\n");
    }
    for (size_t i = 0; i < n; i++) {
        prof__textout_printf(
            out, "# %11s %5.1f%% %11s %5.1f%%  ", prof__human(flat, top[i]->flat, unit),
            100 * (double)top[i]->flat / whole, prof__human(cum, top[i]->cum, unit),
            100 * (double)top[i]->cum / whole);
        prof__textout_string(out, top[i]->name, NAME_MAX_SHOWN);
        prof__textout_word(out, "\n");
    }
    prof__textout_word(out, "\n");
}
