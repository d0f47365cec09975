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

#include "encode/textout.h"

enum { MAPPED, HUGE, SWAPPED, RESIDENT, VALUES }; /* of a sample, as the profile has them */

enum { DETAILS = 6, NAME_SHOWN = 120 };

struct group {
    const char *kind, *words, *advice;
    int64_t sum[VALUES];
    const struct prof__report_sample **sample; /* the largest first */
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

/* The outermost frame says what kind it is, and the innermost whose. */
static const char *words_of(const struct prof__report *r, const struct prof__report_sample *s)
{
    return frame_name(r, s->location[s->n_locations - 1]);
}

static const char *name_of(const struct prof__report *r, const struct prof__report_sample *s)
{
    return s->n_locations > 1 ? frame_name(r, s->location[0]) : "";
}

/* Reserved huge pages are not among what is resident. */
static int64_t cost(const int64_t value[PROF__VALUES_MAX])
{
    return PROF_MAX(value[RESIDENT] + value[SWAPPED], value[HUGE]);
}

static void sort_samples(const struct prof__report_sample **s, size_t n)
{
    for (size_t gap = n / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < n; i++) {
            const struct prof__report_sample *one = s[i];
            size_t k = i;

            for (; k >= gap && cost(s[k - gap]->value) < cost(one->value); k -= gap)
                s[k] = s[k - gap];
            s[k] = one;
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

static struct group *group_of(struct groups *g, const char *kind)
{
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->group[i].kind, kind) == 0)
            return &g->group[i];
    g->group[g->n] = (struct group) { .kind = kind };
    return &g->group[g->n++];
}

static int make_groups(const struct prof__report *r, struct prof__arena *a, struct groups *ret)
{
    *ret = (struct groups) { .group = prof__arena_array(a, r->n_samples + 1, sizeof(*ret->group)) };
    if (!ret->group)
        return -ENOMEM;
    for (size_t i = 0; i < r->n_samples; i++) {
        struct group *g = group_of(ret, label_of(&r->sample[i], "kind"));

        g->n++;
        for (int v = 0; v < VALUES; v++) {
            g->sum[v] += r->sample[i].value[v];
            ret->sum[v] += r->sample[i].value[v];
        }
    }
    for (size_t i = 0; i < ret->n; i++) {
        struct group *g = &ret->group[i];

        g->sample = prof__arena_array(a, g->n, sizeof(void *));
        if (!g->sample)
            return -ENOMEM;
        g->n = 0;
        for (size_t k = 0; k < r->n_samples; k++)
            if (strcmp(label_of(&r->sample[k], "kind"), g->kind) == 0)
                g->sample[g->n++] = &r->sample[k];
        sort_samples(g->sample, g->n);
        ret->cost += cost(g->sum);
        g->words = words_of(r, g->sample[0]);
        g->advice = label_of(g->sample[0], "advice");
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
static void put_details(struct prof__textout *out, const struct prof__report *r,
                        const struct group *g, int64_t total)
{
    size_t i = 0;

    for (; i < g->n && i < DETAILS && cost(g->sample[i]->value) > total / 200; i++) {
        const char *name = name_of(r, g->sample[i]);

        prof__textout_word(out, "      ");
        put_amount(out, g->sample[i]->value, total);
        prof__textout_string(out, *name ? name : "others", NAME_SHOWN);
        put_besides(out, g->sample[i]->value);
    }
    if (i > 0 && i < g->n)
        prof__textout_printf(out, "%24s%zu more\n", "", g->n - i);
}

static void put_group(struct prof__textout *out, const struct prof__report *r,
                      const struct group *g, int64_t total)
{
    const char *name = name_of(r, g->sample[0]);

    if (cost(g->sum) == 0)
        return;
    if (cost(g->sum) > total / 100)
        prof__textout_word(out, "\n");
    put_amount(out, g->sum, total);
    prof__textout_word(out, g->words);
    if (*name && cost(g->sample[0]->value) > cost(g->sum) / 2) {
        prof__textout_word(out, ": ");
        prof__textout_string(out, name, NAME_SHOWN);
    }
    put_besides(out, g->sum);
    if (*g->advice && cost(g->sum) > total / 100) {
        prof__textout_printf(out, "%18s", "");
        prof__textout_string(out, g->advice, 400);
        prof__textout_word(out, "\n");
    }
    if (g->n > 1)
        put_details(out, r, g, total);
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
        put_group(&out, r, &g.group[i], g.cost);
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

static void put_part(struct prof__textout *out, const struct prof__report *r,
                     const struct prof__report_sample *s)
{
    prof__textout_word(out, "{\"name\":");
    prof__textout_quoted(out, name_of(r, s), 4096);
    prof__textout_word(out, ",");
    put_values(out, s->value);
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
            put_part(&out, r, g.group[i].sample[k]);
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
