/*
 * functions.c - the functions of a report with what they hold, and the ten largest as a table.
 *
 * For whoever reads the text as it comes, `curl .../heap?debug=1 | head`, with no tool at hand. The
 * numbers are what `pprof -top` would print: flat is what ends in the function, cum what passes
 * through it, a function that is in a stack twice counted once. Unless told otherwise, what
 * allocators, containers and libc took is that of the function that called them (mycode.h), for
 * that is whom to ask.
 */
#include "encode/functions.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/path.h"
#include "encode/encode_order.h"
#include "encode/strtab.h"

enum { TOP = 10, NAME_MAX_SHOWN = 120 };

/* "libfoo.so.6+0x1234", the address being that in the file, which nm and addr2line take. */
static const char *unknown_name(const struct prof__report *r, const struct prof__location *l,
                                struct prof__arena *a)
{
    const struct prof__report_mapping *m =
        l->mapping < r->n_mappings ? &r->mapping[l->mapping] : NULL;

    if (!m || !m->file[0])
        return prof__arena_printf(a, "0x%llx", (unsigned long long)l->address);
    uint64_t address = m->is_elf ? l->address - m->bias : l->address - m->start + m->offset;
    return prof__arena_printf(a, "%.200s+0x%llx", prof__base_name(m->file),
                              (unsigned long long)address);
}

/* --- functions ------------------------------------------------------------------------------- */

/* Functions while they are found: by name and file, as numbers of strings. */
struct numbering {
    struct prof__strtab strings;
    uint32_t (*key)[2]; /* of each function; 0 is none */
    uint32_t *slot;     /* open addressing */
    size_t n_slots;     /* a power of two */
    uint32_t n;
};

static uint32_t number(struct numbering *t, const char *name, const char *file)
{
    uint32_t key[2] = { prof__strtab_add(&t->strings, name), prof__strtab_add(&t->strings, file) };
    size_t at = prof__hash_more(prof__hash(key[0]), key[1]) & (t->n_slots - 1);

    while (t->slot[at] && memcmp(t->key[t->slot[at]], key, sizeof(key)) != 0)
        at = (at + 1) & (t->n_slots - 1);
    if (!t->slot[at]) {
        memcpy(t->key[t->n], key, sizeof(key));
        t->slot[at] = t->n++;
    }
    return t->slot[at];
}

/* Give every line of every location its function. */
static int number_lines(const struct prof__report *r, struct prof__arena *a, struct numbering *t,
                        uint32_t *first, uint32_t *line)
{
    uint32_t n = 0;

    for (size_t i = 0; i < r->n_locations; i++) {
        const struct prof__location *l = &r->location[i];

        first[i] = n;
        if (l->n_lines == 0) {
            const char *name = unknown_name(r, l, a);

            if (!name)
                return -ENOMEM;
            line[n++] = number(t, name, NULL);
        }
        for (uint32_t j = 0; j < l->n_lines; j++) {
            const struct prof__line *from = &l->line[j];

            line[n++] = number(t, from->name, from->home ? from->home : from->file);
        }
    }
    return t->strings.error;
}

static bool is_in_brackets(const struct prof__location *l, uint32_t line)
{
    return l->n_lines && l->line[line].name[0] == '[';
}

void prof__report_start(const struct prof__report *r, const struct prof__report_sample *s,
                        uint32_t *ret_location, uint32_t *ret_line)
{
    *ret_location = *ret_line = 0;
    if (!r->has_own_lines || is_in_brackets(&r->location[s->location[0]], 0))
        return;
    for (uint32_t j = 0; j < s->n_locations; j++) {
        const struct prof__location *l = &r->location[s->location[j]];

        if (l->own_line < l->n_lines && !is_in_brackets(l, l->own_line)) {
            *ret_location = j;
            *ret_line = l->own_line;
            return;
        }
    }
}

/* Returns whether any was charged to another than its leaf. */
static bool add_samples(const struct prof__report *r, const uint32_t *first, const uint32_t *line,
                        struct prof__function *function, uint32_t *last_seen)
{
    size_t v = prof__report_default_value(r);
    bool is_charged = false;

    for (size_t i = 0; i < r->n_samples; i++) {
        const struct prof__report_sample *s = &r->sample[i];
        uint32_t start, k;

        prof__report_start(r, s, &start, &k);
        is_charged |= start || k;
        for (uint32_t j = start; j < s->n_locations; j++, k = 0) {
            uint32_t l = s->location[j];
            uint32_t lines = PROF_MAX(r->location[l].n_lines, 1u);

            for (bool is_first = j == start; k < lines; k++, is_first = false) {
                uint32_t f = line[first[l] + k];

                if (is_first)
                    function[f].flat = prof__add_saturate(function[f].flat, s->value[v]);
                if (last_seen[f] != i + 1) {
                    last_seen[f] = (uint32_t)i + 1;
                    function[f].cum = prof__add_saturate(function[f].cum, s->value[v]);
                }
            }
        }
    }
    return is_charged;
}

int prof__functions_load(const struct prof__report *r, struct prof__arena *a,
                         struct prof__functions *ret)
{
    struct numbering t = { .n = 1, .n_slots = 64 };
    size_t n_lines = 0;
    int error = prof__strtab_init(&t.strings, a);

    for (size_t i = 0; i < r->n_locations; i++)
        n_lines += PROF_MAX(r->location[i].n_lines, 1u);
    while (t.n_slots < n_lines * 2)
        t.n_slots *= 2;
    uint32_t *first = prof__arena_array(a, r->n_locations, sizeof(*first));
    uint32_t *line = prof__arena_array(a, n_lines, sizeof(*line));
    t.key = prof__arena_array(a, n_lines + 1, sizeof(*t.key));
    t.slot = prof__arena_array(a, t.n_slots, sizeof(*t.slot));
    if (error < 0 || !first || !line || !t.key || !t.slot ||
        number_lines(r, a, &t, first, line) < 0)
        return -ENOMEM;

    struct prof__function *function = prof__arena_array(a, t.n, sizeof(*function));
    uint32_t *last_seen = prof__arena_array(a, t.n, sizeof(*last_seen));
    if (!function || !last_seen)
        return -ENOMEM;
    for (uint32_t i = 0; i < t.n; i++) {
        function[i].name = t.key[i][0] ? t.strings.string[t.key[i][0]] : "?";
        function[i].file = t.strings.string[t.key[i][1]];
    }
    bool is_charged = add_samples(r, first, line, function, last_seen);
    *ret = (struct prof__functions) { function, t.n, first, line, is_charged };
    return 0;
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

/* The name, with the file where another function has the same. */
static void put_name(struct prof__textout *out, const struct prof__functions *f,
                     const struct prof__function *of)
{
    size_t same = 0;

    for (size_t i = 0; i < f->n; i++)
        same += f->function[i].name == of->name; /* equal strings are stored once */
    prof__textout_string(out, of->name, NAME_MAX_SHOWN);
    if (same > 1 && of->file[0]) {
        prof__textout_word(out, " (");
        prof__textout_string(out, prof__base_name(of->file), NAME_MAX_SHOWN);
        prof__textout_word(out, ")");
    }
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
    if (n > 0 && f->is_charged)
        prof__textout_word(out, "# with what allocators, containers and system libraries took for "
                                "it; ?mycode=0 shows them\n");
    for (size_t i = 0; i < n; i++) {
        prof__textout_printf(
            out, "# %11s %5.1f%% %11s %5.1f%%  ", prof__human(flat, top[i]->flat, unit),
            100 * (double)top[i]->flat / whole, prof__human(cum, top[i]->cum, unit),
            100 * (double)top[i]->cum / whole);
        put_name(out, f, top[i]);
        prof__textout_word(out, "\n");
    }
    prof__textout_word(out, "\n");
}
