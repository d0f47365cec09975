/*
 * holders.c - the profile `holders`: who still points at it.
 *
 *   live blocks -> rows -> their sites, looked up -> those asked for
 *   two passes with paths -> where both agree -> frames of their own beside the site's
 *
 * A report of the rows' stacks is made first, as for any profile, since only names tell which
 * function of a stack is the site. Then the stacks are left aside and each sample becomes the site,
 * followed by what holds it, outward. What holds a block is shown as far as two passes agree, from
 * the root on; a block that neither pass could reach is leaked.
 */
#include <errno.h>
#include <prof/prof.h>
#include <regex.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/sampler.h"
#include "base/utf8.h"
#include "encode/functions.h"
#include "profile/builtin.h"
#include "profile/registry.h"
#include "profile/report.h"
#include "record/collect_heap.h"
#include "scan/leaks_text.h"
#include "scan/roots.h"
#include "scan/scan.h"

enum {
    PATHS = 1 << 18,
    SITE_MAX = 256,        /* bytes of the expression */
    FRAMES_START = 0x2000, /* of the mapping [holders]: where nothing is ever mapped */
    FRAMES_MAX = 0xe000,   /* whole pages */
};

/* --- which blocks ----------------------------------------------------------------------------- */

/* A row of the heap profile. */
struct row {
    uint32_t ref;
    uint32_t site;    /* location, */
    uint32_t line;    /* and which of the functions there */
    const char *name; /* of the site, as people read it */
    bool wanted;
};

struct rows {
    struct row *row;
    size_t n;
    uint32_t *slot;
    size_t n_slots;
};

static size_t slot_of(const struct rows *r, uint32_t ref)
{
    size_t at = prof__hash(ref) & (r->n_slots - 1);

    while (r->slot[at] && r->row[r->slot[at] - 1].ref != ref)
        at = (at + 1) & (r->n_slots - 1);
    return at;
}

static struct row *row_of(const struct rows *r, uint32_t ref)
{
    size_t at = slot_of(r, ref);

    return r->slot[at] ? &r->row[r->slot[at] - 1] : NULL;
}

static void collect_rows(struct rows *r, const struct prof__targets *t)
{
    for (size_t i = 0; i < t->n; i++) {
        uint32_t ref = t->target[i].block.row;
        size_t at = slot_of(r, ref);

        if (r->slot[at])
            continue;
        r->row[r->n] = (struct row) { .ref = ref };
        r->slot[at] = (uint32_t)++r->n;
    }
}

static int make_rows(struct rows *r, const struct prof__scan *s, struct prof__arena *a)
{
    size_t n = s->blocks.n + s->fed.n;

    *r = (struct rows) { .n_slots = 64 };
    while (r->n_slots < n * 2)
        r->n_slots *= 2;
    r->row = prof__arena_array(a, n + 1, sizeof(*r->row));
    r->slot = prof__arena_array(a, r->n_slots, sizeof(*r->slot));
    if (!r->row || !r->slot)
        return -ENOMEM;
    collect_rows(r, &s->blocks);
    collect_rows(r, &s->fed);
    return 0;
}

/* A snapshot with one sample for each row, in their order. */
static int snapshot_rows(const struct rows *r, struct prof__snapshot *ret)
{
    *ret = (struct prof__snapshot) { 0 };
    ret->wall_ns = prof__wall_ns();
    ret->sample = prof__arena_array(&ret->arena, r->n + 1, sizeof(*ret->sample));
    if (!ret->sample)
        return -ENOMEM;
    for (size_t i = 0; i < r->n; i++) {
        const struct prof__row *row = prof__rows_at(r->row[i].ref);

        ret->sample[ret->n++] = (struct prof__sample) {
            .row = r->row[i].ref,
            .stack = atomic_load_explicit(&row->stack, memory_order_relaxed),
            .size = row->size,
            .raw.value = { 1 << PROF__OBJECT_SHIFT, 1 << PROF__BYTE_SHIFT },
        };
    }
    return 0;
}

static int compile(const char *site, regex_t *ret)
{
    if (strlen(site) > SITE_MAX || strpbrk(site, "\\{"))
        return prof_set_last_error(-EINVAL,
                                   "site is a regular expression of up to %d bytes, without "
                                   "back-references and counts",
                                   SITE_MAX);
    if (regcomp(ret, site, REG_EXTENDED | REG_NOSUB) != 0)
        return prof_set_last_error(-EINVAL, "site is no regular expression");
    return 0;
}

static int choose_rows(struct rows *r, const struct prof__report *report, const char *site)
{
    regex_t expression;
    int e = site && *site ? compile(site, &expression) : 0;

    if (e < 0)
        return e;
    for (size_t i = 0; i < r->n && i < report->n_samples; i++) {
        struct row *row = &r->row[i];

        const struct prof__report_sample *s = &report->sample[i];
        uint32_t frame;

        prof__report_start(report, s, &frame, &row->line);
        row->site = s->location[frame];
        const struct prof__location *l = &report->location[row->site];
        row->name = l->n_lines ? l->line[row->line].name : "??";
        row->wanted = !site || !*site || regexec(&expression, row->name, 0, NULL, 0) == 0;
    }
    if (site && *site)
        regfree(&expression);
    return 0;
}

/* --- passes ----------------------------------------------------------------------------------- */

struct found {
    struct prof__paths paths;
    struct prof__roots roots;
    uint32_t *first[2], *last[2]; /* path of each target: of blocks, of fed ones */
};

static int run_passes(struct prof__scan *s, struct found *w)
{
    struct prof__targets *set[2] = { &s->blocks, &s->fed };
    int r = prof__paths_init(&w->paths, &s->arena, PATHS, (uint32_t)s->setup->o.depth + 1);

    w->roots = (struct prof__roots) { .arena = &s->arena, .plan = &s->plan, .heap = &s->heap };
    for (int k = 0; k < 2 && r == 0; k++) {
        w->first[k] = prof__arena_array(&s->arena, set[k]->n + 1, sizeof(uint32_t));
        w->last[k] = prof__arena_array(&s->arena, set[k]->n + 1, sizeof(uint32_t));
        if (!w->first[k] || !w->last[k])
            r = -ENOMEM;
    }
    for (int pass = 0; pass < s->setup->o.passes && r == 0; pass++) {
        struct prof__ways o = { &w->paths, { w->last[0], w->last[1] }, prof__root_kind, &w->roots };

        if (pass > 0 && (r = prof__scan_rest(s)) < 0)
            break;
        for (uint32_t i = 0; i < w->paths.n; i++)
            w->paths.path[i].blocks = 0;
        for (int k = 0; k < 2; k++)
            memset(w->last[k], 0, set[k]->n * sizeof(uint32_t));
        r = prof__scan_pass(s, &o, false);
        for (int k = 0; k < 2 && r == 0; k++)
            for (size_t i = 0; i < set[k]->n; i++) {
                struct prof__target *t = &set[k]->target[i];
                uint32_t path = w->last[k][i];

                t->missed += !(t->state & PROF__TARGET_REACHED);
                w->first[k][i] =
                    pass == 0 ? path : prof__paths_common(&w->paths, w->first[k][i], path);
            }
    }
    if (r == 0) {
        prof__targets_look_again(&s->blocks, &s->image);
        prof__targets_look_again(&s->fed, &s->image);
    }
    return r;
}

/* --- frames ----------------------------------------------------------------------------------- */

struct maker {
    struct prof__scan *s;
    struct found *w;
    const struct rows *rows;
    struct prof__report *report;
    struct prof__arena *arena;
    struct prof__location *location; /* those of the report, then ours */
    size_t n, n_own, room;
    uint32_t mapping;        /* [holders] */
    uint32_t *frame_of_path; /* location + 1 */
    uint32_t *more_of_path;
    uint32_t unknown[3]; /* leaked; not the same in all passes; no room for more */
};

/* A location of the name `text`; UINT32_MAX: out of memory. */
static uint32_t add_frame(struct maker *m, const char *text)
{
    struct prof__line *line = prof__arena_alloc(m->arena, sizeof(*line));

    if (!text || !line)
        return UINT32_MAX;
    if (m->n_own == FRAMES_MAX - 1 || m->n == m->room)
        return m->unknown[2];
    line->function = line->name = text;
    m->location[m->n] = (struct prof__location) {
        .address = FRAMES_START + ++m->n_own,
        .mapping = m->mapping,
        .n_lines = 1,
        .line = line,
    };
    return (uint32_t)m->n++;
}

static const char *path_text(struct maker *m, const struct prof__kind *kind)
{
    const struct row *row;
    const char *name;

    switch (kind->of) {
    case PROF__KIND_ROOT:
        name = prof__root_name(&m->w->roots, m->arena, kind);
        return name ? prof__utf8_clean(m->arena, name) : NULL;
    case PROF__KIND_SAMPLED:
        row = row_of(m->rows, kind->who);
        return prof__arena_printf(m->arena, "block %llu B of %.400s",
                                  (unsigned long long)kind->detail,
                                  row && row->name ? row->name : "??");
    default:
        return prof__arena_printf(m->arena,
                                  kind->extra == PROF__SIZE_AT_LEAST
                                      ? "block of %llu B or more (not sampled)"
                                      : "block %llu B (not sampled)",
                                  (unsigned long long)kind->detail);
    }
}

/* The frames of a path, from the nearest holder outward. How many; 0: out of memory. */
static uint32_t path_frames(struct maker *m, uint32_t path, uint32_t *out)
{
    uint32_t n = 0;

    for (uint32_t i = path; i; i = m->w->paths.path[i].parent) {
        const struct prof__path *p = &m->w->paths.path[i];

        if (!m->frame_of_path[i]) {
            m->frame_of_path[i] = add_frame(m, path_text(m, &p->kind)) + 1;
            if (p->kind.of != PROF__KIND_ROOT && p->blocks > 1)
                m->more_of_path[i] =
                    add_frame(m, prof__arena_printf(m->arena, "... %llu more of these",
                                                    (unsigned long long)p->blocks - 1)) +
                    1;
        }
        if (!m->frame_of_path[i])
            return 0;
        out[n++] = m->frame_of_path[i] - 1;
        if (m->more_of_path[i])
            out[n++] = m->more_of_path[i] - 1;
    }
    return n;
}

/* --- samples ---------------------------------------------------------------------------------- */

struct key {
    uint32_t site, path, unknown; /* 1 leaked, 2 not agreed on */
};

struct samples {
    struct key *key;
    int64_t (*value)[2]; /* raw */
    size_t n;
    uint32_t *slot;
    size_t n_slots;
};

static void add_block(struct samples *s, struct key key, const struct prof__image_block *b)
{
    uint64_t hash = prof__hash_more(prof__hash(key.site ^ (uint64_t)key.path << 32), key.unknown);
    size_t at = hash & (s->n_slots - 1);

    for (; s->slot[at]; at = (at + 1) & (s->n_slots - 1)) {
        const struct key *k = &s->key[s->slot[at] - 1];

        if (k->site == key.site && k->path == key.path && k->unknown == key.unknown)
            break;
    }
    if (!s->slot[at]) {
        s->key[s->n] = key;
        s->slot[at] = (uint32_t)++s->n;
    }
    s->value[s->slot[at] - 1][0] += b->objects;
    s->value[s->slot[at] - 1][1] += b->bytes;
}

static int collect(struct maker *m, struct samples *s)
{
    const struct prof__targets *set[2] = { &m->s->blocks, &m->s->fed };
    size_t n = set[0]->n + set[1]->n;

    *s = (struct samples) { .n_slots = 64 };
    while (s->n_slots < n * 2)
        s->n_slots *= 2;
    s->key = prof__arena_array(&m->s->arena, n + 1, sizeof(*s->key));
    s->value = prof__arena_array(&m->s->arena, n + 1, sizeof(*s->value));
    s->slot = prof__arena_array(&m->s->arena, s->n_slots, sizeof(*s->slot));
    if (!s->key || !s->value || !s->slot)
        return -ENOMEM;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < set[k]->n; i++) {
            const struct prof__target *t = &set[k]->target[i];
            const struct row *row = row_of(m->rows, t->block.row);
            uint32_t path = m->w->first[k][i];

            if (!t->live || !row || !row->wanted)
                continue;
            uint32_t unknown = path ? 0 : t->missed == m->s->report.passes ? 1 : 2;
            add_block(s, (struct key) { row->site, path, unknown }, &t->block);
        }
    return 0;
}

static int make_sample(struct maker *m, const struct key *key, const int64_t raw[2],
                       struct prof__report_sample *out)
{
    uint32_t depth = key->path ? m->w->paths.path[key->path].depth : 1;
    uint32_t *location = prof__arena_array(m->arena, 2 + 2 * (size_t)depth, sizeof(*location));
    uint32_t n = 1;

    if (!location)
        return -ENOMEM;
    location[0] = key->site;
    if (key->path)
        n += path_frames(m, key->path, location + 1);
    else
        location[n++] = m->unknown[key->unknown - 1];
    if (n < 2)
        return -ENOMEM;
    *out = (struct prof__report_sample) {
        .location = location,
        .n_locations = n,
        .value = { (raw[0] + (1 << (PROF__OBJECT_SHIFT - 1))) >> PROF__OBJECT_SHIFT,
                   (raw[1] + (1 << (PROF__BYTE_SHIFT - 1))) >> PROF__BYTE_SHIFT },
    };
    return 0;
}

/* A site is one function, whatever is inlined into it. */
static void cut_sites(struct maker *m)
{
    for (size_t i = 0; i < m->rows->n; i++) {
        const struct row *row = &m->rows->row[i];
        struct prof__location *l = &m->location[row->site];

        if (l->n_lines > 1) {
            l->line += row->line;
            l->n_lines = 1;
        }
    }
}

/* What is said of mappings is of locations that are there. */
static void correct_flags(struct prof__report *r)
{
    struct prof__report_mapping *mapping = (struct prof__report_mapping *)r->mapping;

    for (size_t i = 0; i < r->n_mappings; i++)
        mapping[i].has_functions = mapping[i].has_filenames = mapping[i].has_line_numbers =
            mapping[i].has_inline_frames = false;
    for (size_t i = 0; i < r->n_locations; i++) {
        const struct prof__location *l = &r->location[i];
        struct prof__report_mapping *of = &mapping[l->mapping];

        of->has_functions |= l->n_lines > 0;
        for (uint32_t k = 0; k < l->n_lines; k++) {
            of->has_filenames |= l->line[k].file != NULL;
            of->has_line_numbers |= l->line[k].line != 0;
        }
    }
}

/* Locations that no sample has go. */
static int compact(struct maker *m)
{
    struct prof__report *r = m->report;
    uint32_t *to = prof__arena_array(m->arena, m->n + 1, sizeof(*to));
    uint32_t n = 0;

    if (!to)
        return -ENOMEM;
    for (size_t i = 0; i < r->n_samples; i++)
        for (uint32_t k = 0; k < r->sample[i].n_locations; k++)
            to[r->sample[i].location[k]] = 1;
    for (size_t i = 0; i < m->n; i++)
        if (to[i]) {
            m->location[n] = m->location[i];
            to[i] = n++;
        }
    for (size_t i = 0; i < r->n_samples; i++) {
        uint32_t *location = (uint32_t *)r->sample[i].location;

        for (uint32_t k = 0; k < r->sample[i].n_locations; k++)
            location[k] = to[location[k]];
    }
    r->location = m->location;
    r->n_locations = n;
    correct_flags(r);
    return 0;
}

static int add_mapping(struct maker *m)
{
    struct prof__report *r = m->report;
    struct prof__report_mapping *mapping =
        prof__arena_array(m->arena, r->n_mappings + 1, sizeof(*mapping));

    if (!mapping)
        return -ENOMEM;
    if (r->n_mappings)
        memcpy(mapping, r->mapping, r->n_mappings * sizeof(*mapping));
    mapping[r->n_mappings] = (struct prof__report_mapping) {
        .start = FRAMES_START,
        .limit = FRAMES_START + FRAMES_MAX,
        .file = "[holders]",
        .build_id = "",
        .has_functions = true,
    };
    m->mapping = (uint32_t)r->n_mappings++;
    r->mapping = mapping;
    return 0;
}

static int make_samples(struct maker *m)
{
    struct prof__report *r = m->report;
    struct prof__report_sample *sample;
    struct samples s;
    int e = collect(m, &s);

    if (e < 0 || (e = add_mapping(m)) < 0)
        return e;
    m->room = r->n_locations + 2 * (size_t)m->w->paths.n + 8;
    m->location = prof__arena_array(m->arena, m->room, sizeof(*m->location));
    m->frame_of_path = prof__arena_array(m->arena, m->w->paths.n, sizeof(uint32_t));
    m->more_of_path = prof__arena_array(m->arena, m->w->paths.n, sizeof(uint32_t));
    sample = prof__arena_array(m->arena, s.n + 1, sizeof(*sample));
    if (!m->location || !m->frame_of_path || !m->more_of_path || !sample)
        return -ENOMEM;
    if (r->n_locations)
        memcpy(m->location, r->location, r->n_locations * sizeof(*m->location));
    m->n = r->n_locations;
    cut_sites(m);
    m->unknown[0] = add_frame(m, m->s->report.swapped_pages ? "[not known: memory is swapped out]"
                                                            : "[nothing: leaked]");
    m->unknown[1] = add_frame(m, "[not the same from one look to the next]");
    m->unknown[2] = add_frame(m, "[other]");
    for (size_t i = 0; i < s.n && e == 0; i++)
        e = make_sample(m, &s.key[i], s.value[i], &sample[i]);
    r->sample = sample;
    r->n_samples = s.n;
    return e == 0 ? compact(m) : e;
}

/* --- the profile ------------------------------------------------------------------------------ */

static int build(const struct prof_profile *p, struct prof__scan *s,
                 const struct prof__report_options *o, struct prof__arena *a,
                 struct prof__report *ret)
{
    struct prof__report_options one_by_one = *o;
    struct prof__snapshot snapshot = { 0 };
    struct found ways;
    struct rows rows;
    int r = make_rows(&rows, s, &s->arena);

    one_by_one.one_by_one = one_by_one.own_lines = true;
    one_by_one.no_symbols = false; /* sites are known by name */
    one_by_one.max_samples = 0;
    if (r == 0)
        r = run_passes(s, &ways);
    if (r == 0)
        r = snapshot_rows(&rows, &snapshot);
    snapshot.notes = r == 0 ? prof__scan_notes(s, &s->arena) : NULL;
    if (r == 0)
        r = prof__report_build(p, &snapshot, &one_by_one, a, ret);
    if (r == 0)
        r = choose_rows(&rows, ret, s->setup->o.site);
    if (r == 0)
        ret->has_own_lines = false; /* a stack is no stack of calls any more */
    if (r == 0)
        r = make_samples(
            &(struct maker) { .s = s, .w = &ways, .rows = &rows, .report = ret, .arena = a });
    prof__snapshot_free(&snapshot);
    return r;
}

__attribute__((noinline)) static int below_entry(const struct prof_profile *p,
                                                 const struct prof__scan_setup *setup,
                                                 const struct prof__report_options *o,
                                                 struct prof__arena *a, struct prof__report *ret)
{
    struct prof__scan s;
    int r = prof__scan_begin(&s, setup, (uintptr_t)__builtin_frame_address(0));

    if (r == 0)
        r = build(p, &s, o, a, ret);
    prof__scan_end(&s);
    return r;
}

static int report(const struct prof_profile *p, const struct prof_write_options *w,
                  const struct prof__report_options *o, struct prof__arena *a,
                  struct prof__report *ret)
{
    struct prof__scan_setup setup;
    regex_t expression;
    int r = prof__scan_setup(w->scan, 2, 1, &setup);

    if (r == 0 && setup.o.site && *setup.o.site) { /* before any work */
        r = compile(setup.o.site, &expression);
        if (r == 0)
            regfree(&expression);
    }
    if (r < 0)
        return r;
    __builtin_unwind_init(); /* as in leaks.c */
    return below_entry(p, &setup, o, a, ret);
}

static int64_t period(void)
{
    return (int64_t)prof__heap_rate();
}

static int64_t count(const struct prof_profile *p)
{
    (void)p;
    return 0;
}

static void finish(const struct prof__values *raw, int64_t ret_value[PROF__VALUES_MAX])
{
    ret_value[0] = prof__values_total(raw, 0, PROF__OBJECT_SHIFT);
    ret_value[1] = prof__values_total(raw, 1, PROF__BYTE_SHIFT);
}

struct prof_profile prof__profile_holders = {
    .name = "holders",
    .description = "Who still points at memory in use: each stack leads from who allocated it, by "
                   "what holds it, to a root. ?site= chooses.",
    .table = PROF__TABLE_HEAP,
    .text = PROF__TEXT_HEAP,
    .n_values = 2,
    .value_type = { { "inuse_objects", "count" }, { "inuse_space", "bytes" } },
    .period_type = { "space", "bytes" },
    .period = period,
    .no_window = true,
    .count = count,
    .finish = finish,
    .report = report,
    .write_text = prof__holders_write_text,
    .status = prof__heap_status,
};
