/*
 * memory_text.c - the largest first:
 *
 *   memory: 2.03GiB resident (RSS), 0B swapped out
 *
 *     1.61GiB  79.3%  free in the heap, whole pages: the main heap
 *                     malloc_trim(0) gives it back to the kernel; ...
 *
 * Parts of one kind are told together, by what they cost: what is resident, and what is in swap.
 */
#include "scan/memory_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "encode/functions.h"
#include "encode/textout.h"

enum { MAPPED, HUGE, SWAPPED, RESIDENT, VALUES }; /* of a sample, as the profile has them */

enum { DETAILS = 6, NAME_SHOWN = 120 };

/* Of one name, whatever the stacks that lead there. */
struct detail {
    const char *name;
    int64_t value[VALUES];
    size_t group; /* index */
};

struct group {
    const char *kind, *words, *advice;
    int64_t sum[VALUES], largest; /* the largest sample's cost, whose advice it is */
    struct detail *detail;        /* the largest first */
    size_t n;
};

struct groups {
    struct group *group;
    size_t n;
    int64_t sum[VALUES], cost;
};

static const char *label_of(const struct prof__report_sample *s, const char *key)
{
    for (uint32_t i = 0; i < s->n_labels; i++)
        if (strcmp(s->label[i].key, key) == 0)
            return s->label[i].value;
    return "";
}

static const char *frame_name(const struct prof__report *r, uint32_t location)
{
    const struct prof__location *l = &r->location[location];

    return l->n_lines ? l->line[0].name : "??";
}

/* The outermost frame says what kind it is, and the innermost, or who among them is the program's
 * own, whose. */
static const char *words_of(const struct prof__report *r, const struct prof__report_sample *s)
{
    return frame_name(r, s->location[s->n_locations - 1]);
}

static const char *name_of(const struct prof__report *r, const struct prof__report_sample *s)
{
    uint32_t frame, line;

    if (s->n_locations < 2)
        return "";
    prof__report_start(r, s, &frame, &line);
    const struct prof__location *l = &r->location[s->location[frame]];
    return line < l->n_lines && l->line[line].name ? l->line[line].name : "??";
}

/* Reserved huge pages are not among what is resident. */
static int64_t cost(const int64_t value[PROF__VALUES_MAX])
{
    return PROF_MAX(value[RESIDENT] + value[SWAPPED], value[HUGE]);
}

static void sort_details(struct detail *d, size_t n)
{
    for (size_t gap = n / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < n; i++) {
            struct detail one = d[i];
            size_t k = i;

            for (; k >= gap && cost(d[k - gap].value) < cost(one.value); k -= gap)
                d[k] = d[k - gap];
            d[k] = one;
        }
}

static void sort_groups(struct group *g, size_t n)
{
    for (size_t i = 1; i < n; i++) { /* there are a dozen */
        struct group one = g[i];
        size_t k = i;

        for (; k > 0 && cost(g[k - 1].sum) < cost(one.sum); k--)
            g[k] = g[k - 1];
        g[k] = one;
    }
}

static struct group *group_of(struct groups *g, const struct prof__report *r,
                              const struct prof__report_sample *s)
{
    const char *kind = label_of(s, "kind");

    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->group[i].kind, kind) == 0)
            return &g->group[i];
    g->group[g->n] = (struct group) { .kind = kind, .words = words_of(r, s), .largest = -1 };
    return &g->group[g->n++];
}

/* Details while they are found: by group and name. */
struct finder {
    struct detail *detail;
    size_t n, n_slots;
    uint32_t *slot;
};

static struct detail *detail_of(struct finder *f, size_t group, const char *name)
{
    size_t at = prof__hash_more(prof__hash(group), prof__hash_bytes(name, strlen(name)));

    for (at &= f->n_slots - 1; f->slot[at]; at = (at + 1) & (f->n_slots - 1)) {
        struct detail *d = &f->detail[f->slot[at] - 1];

        if (d->group == group && strcmp(d->name, name) == 0)
            return d;
    }
    f->detail[f->n] = (struct detail) { .name = name, .group = group };
    f->slot[at] = (uint32_t)++f->n;
    return &f->detail[f->n - 1];
}

static void add_sample(struct groups *all, struct finder *f, const struct prof__report *r,
                       const struct prof__report_sample *s)
{
    struct group *g = group_of(all, r, s);
    struct detail *d = detail_of(f, (size_t)(g - all->group), name_of(r, s));

    for (int v = 0; v < VALUES; v++) {
        d->value[v] += s->value[v];
        g->sum[v] += s->value[v];
        all->sum[v] += s->value[v];
    }
    if (cost(s->value) > g->largest) {
        g->largest = cost(s->value);
        g->advice = label_of(s, "advice");
    }
}

static int make_groups(const struct prof__report *r, struct prof__arena *a, struct groups *ret)
{
    struct finder f = { .n_slots = 64 };

    while (f.n_slots < r->n_samples * 2)
        f.n_slots *= 2;
    f.detail = prof__arena_array(a, r->n_samples + 1, sizeof(*f.detail));
    f.slot = prof__arena_array(a, f.n_slots, sizeof(*f.slot));
    *ret = (struct groups) { .group = prof__arena_array(a, r->n_samples + 1, sizeof(*ret->group)) };
    if (!f.detail || !f.slot || !ret->group)
        return -ENOMEM;
    for (size_t i = 0; i < r->n_samples; i++)
        add_sample(ret, &f, r, &r->sample[i]);
    for (size_t i = 0; i < ret->n; i++) {
        struct group *g = &ret->group[i];

        g->detail = prof__arena_array(a, f.n + 1, sizeof(*g->detail));
        if (!g->detail)
            return -ENOMEM;
        for (size_t k = 0; k < f.n; k++)
            if (f.detail[k].group == i)
                g->detail[g->n++] = f.detail[k];
        sort_details(g->detail, g->n);
        ret->cost += cost(g->sum);
    }
    sort_groups(ret->group, ret->n);
    return 0;
}

static int64_t heap_in_use(const struct groups *g)
{
    int64_t sum = 0;

    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->group[i].kind, "heap") == 0 || strcmp(g->group[i].kind, "heap-untold") == 0)
            sum += g->group[i].sum[RESIDENT];
    return sum;
}

/* --- text ------------------------------------------------------------------------------------- */

static void put_amount(struct prof__textout *out, const int64_t value[PROF__VALUES_MAX],
                       int64_t total)
{
    char bytes[PROF__HUMAN_SIZE];

    prof__textout_printf(out, "%9s %5.1f%%  ", prof__human(bytes, cost(value), "bytes"),
                         total ? 100.0 * (double)cost(value) / (double)total : 0);
}

static void put_besides(struct prof__textout *out, const int64_t value[PROF__VALUES_MAX])
{
    char bytes[PROF__HUMAN_SIZE];

    if (value[SWAPPED])
        prof__textout_printf(out, ", %s of it swapped out",
                             prof__human(bytes, value[SWAPPED], "bytes"));
    if (value[HUGE])
        prof__textout_printf(out, ", %s in huge pages", prof__human(bytes, value[HUGE], "bytes"));
    if (value[MAPPED] / 2 > cost(value))
        prof__textout_printf(out, ", of %s mapped", prof__human(bytes, value[MAPPED], "bytes"));
    prof__textout_word(out, "\n");
}

/* Those that matter to the whole. */
static void put_details(struct prof__textout *out, const struct group *g, int64_t total)
{
    size_t i = 0;

    for (; i < g->n && i < DETAILS && cost(g->detail[i].value) > total / 200; i++) {
        const struct detail *d = &g->detail[i];

        prof__textout_word(out, "      ");
        put_amount(out, d->value, total);
        prof__textout_string(out, *d->name ? d->name : "not known whose", NAME_SHOWN);
        put_besides(out, d->value);
    }
    if (i > 0 && i < g->n)
        prof__textout_printf(out, "%24s%zu more\n", "", g->n - i);
}

static void put_group(struct prof__textout *out, const struct group *g, int64_t total)
{
    const struct detail *first = &g->detail[0];

    if (cost(g->sum) == 0)
        return;
    if (cost(g->sum) > total / 100)
        prof__textout_word(out, "\n");
    put_amount(out, g->sum, total);
    prof__textout_word(out, g->words);
    if (*first->name && cost(first->value) > cost(g->sum) / 2) {
        prof__textout_word(out, ": ");
        prof__textout_string(out, first->name, NAME_SHOWN);
    }
    put_besides(out, g->sum);
    if (*g->advice && cost(g->sum) > total / 100) {
        prof__textout_printf(out, "%18s", "");
        prof__textout_string(out, g->advice, 400);
        prof__textout_word(out, "\n");
    }
    if (g->n > 1)
        put_details(out, g, total);
}

int prof__memory_write_text(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink,
                            void *arg)
{
    struct prof__textout out = { .sink = sink, .arg = arg };
    char resident[PROF__HUMAN_SIZE], heap[PROF__HUMAN_SIZE], swapped[PROF__HUMAN_SIZE];
    struct groups g;
    int e = make_groups(r, a, &g);

    if (e < 0)
        return e;
    prof__textout_printf(&out, "memory: %s resident (RSS), %s of it heap in use; %s swapped out\n",
                         prof__human(resident, g.sum[RESIDENT], "bytes"),
                         prof__human(heap, heap_in_use(&g), "bytes"),
                         prof__human(swapped, g.sum[SWAPPED], "bytes"));
    for (size_t i = 0; i < r->n_comments; i++) {
        prof__textout_word(&out, "# ");
        prof__textout_string(&out, r->comment[i], 400);
        prof__textout_word(&out, "\n");
    }
    for (size_t i = 0; i < g.n && !out.error; i++)
        put_group(&out, &g.group[i], g.cost);
    return prof__textout_flush(&out);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void put_values(struct prof__textout *out, const int64_t value[PROF__VALUES_MAX])
{
    prof__textout_printf(out,
                         "\"resident_bytes\":%lld,\"swapped_bytes\":%lld,\"huge_bytes\":%lld,"
                         "\"mapped_bytes\":%lld",
                         (long long)value[RESIDENT], (long long)value[SWAPPED],
                         (long long)value[HUGE], (long long)value[MAPPED]);
}

static void put_part(struct prof__textout *out, const struct detail *d)
{
    prof__textout_word(out, "{\"name\":");
    prof__textout_quoted(out, d->name, 4096);
    prof__textout_word(out, ",");
    put_values(out, d->value);
    prof__textout_word(out, "}");
}

int prof__memory_write_json(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink,
                            void *arg)
{
    struct prof__textout out = { .sink = sink, .arg = arg };
    struct groups g;
    int e = make_groups(r, a, &g);

    if (e < 0)
        return e;
    prof__textout_word(&out, "{");
    put_values(&out, g.sum);
    prof__textout_word(&out, ",\"kinds\":[");
    for (size_t i = 0; i < g.n && !out.error; i++) {
        prof__textout_printf(&out, "%s\n{\"kind\":\"%s\",\"is\":", i ? "," : "", g.group[i].kind);
        prof__textout_quoted(&out, g.group[i].words, 400);
        prof__textout_word(&out, ",\"advice\":");
        prof__textout_quoted(&out, g.group[i].advice, 400);
        prof__textout_word(&out, ",");
        put_values(&out, g.group[i].sum);
        prof__textout_word(&out, ",\"parts\":[");
        for (size_t k = 0; k < g.group[i].n && !out.error; k++) {
            prof__textout_word(&out, k ? "," : "");
            put_part(&out, &g.group[i].detail[k]);
        }
        prof__textout_word(&out, "]}");
    }
    prof__textout_word(&out, "],\n\"notes\":[");
    for (size_t i = 0; i < r->n_comments; i++) {
        prof__textout_word(&out, i ? "," : "");
        prof__textout_quoted(&out, r->comment[i], 400);
    }
    prof__textout_word(&out, "]}\n");
    return prof__textout_flush(&out);
}
