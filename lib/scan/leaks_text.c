/*
 * leaks_text.c - leaks in words, the largest first:
 *
 *   12.40MiB in 1587 blocks are leaked: nothing points to them any more
 *
 *   8.10MiB in 1036 blocks of about 8208 B, unreferenced, 10 min to 2 h old
 *       audit_forget        demo/service.c:81
 *       handle_request      demo/service.c:130
 *
 * Samples of one stack and kind are told together, whatever their sizes and ages. Numbers are
 * estimates, scaled up from the sampled blocks by their weights.
 */
#include "scan/leaks_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "encode/textout.h"

enum { NAME_SHOWN = 160, FRAMES_SHOWN = 32 };

struct group {
    const struct prof__report_sample *sample; /* one of them */
    const char *kind;
    int64_t objects, bytes, youngest, oldest;
};

struct groups {
    struct group *group;
    size_t n;
    uint32_t *slot;
    size_t n_slots;
};

static const struct prof__label *label_of(const struct prof__report_sample *s, const char *key)
{
    for (uint32_t i = 0; i < s->n_labels; i++)
        if (strcmp(s->label[i].key, key) == 0)
            return &s->label[i];
    return NULL;
}

static bool same(const struct group *g, const struct prof__report_sample *s, const char *kind)
{
    return g->kind == kind && g->sample->n_locations == s->n_locations &&
           memcmp(g->sample->location, s->location, s->n_locations * sizeof(*s->location)) == 0;
}

static struct group *group_of(struct groups *g, const struct prof__report_sample *s,
                              const char *kind)
{
    uint64_t hash = prof__hash((uintptr_t)kind);

    for (uint32_t i = 0; i < s->n_locations; i++)
        hash = prof__hash_more(hash, s->location[i]);
    size_t at = hash & (g->n_slots - 1);
    for (; g->slot[at]; at = (at + 1) & (g->n_slots - 1))
        if (same(&g->group[g->slot[at] - 1], s, kind))
            return &g->group[g->slot[at] - 1];
    g->group[g->n] = (struct group) { .sample = s, .kind = kind, .youngest = INT64_MAX };
    g->slot[at] = (uint32_t)++g->n;
    return &g->group[g->n - 1];
}

static void sort(struct group *g, size_t n)
{
    for (size_t gap = n / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < n; i++) {
            struct group one = g[i];
            size_t k = i;

            for (; k >= gap && g[k - gap].bytes < one.bytes; k -= gap)
                g[k] = g[k - gap];
            g[k] = one;
        }
}

static int make_groups(const struct prof__report *r, struct prof__arena *a, struct groups *ret)
{
    *ret = (struct groups) { .n_slots = 64 };
    while (ret->n_slots < r->n_samples * 2)
        ret->n_slots *= 2;
    ret->group = prof__arena_array(a, r->n_samples + 1, sizeof(*ret->group));
    ret->slot = prof__arena_array(a, ret->n_slots, sizeof(*ret->slot));
    if (!ret->group || !ret->slot)
        return -ENOMEM;
    for (size_t i = 0; i < r->n_samples; i++) {
        const struct prof__report_sample *s = &r->sample[i];
        const struct prof__label *kind = label_of(s, "kind"), *age = label_of(s, "age_seconds");
        struct group *g = group_of(ret, s, kind && kind->value ? kind->value : "");

        g->objects += s->value[0];
        g->bytes += s->value[1];
        if (age) {
            g->youngest = PROF_MIN(g->youngest, age->number);
            g->oldest = PROF_MAX(g->oldest, age->number);
        }
    }
    sort(ret->group, ret->n);
    return 0;
}

static const char *duration(char buf[32], int64_t s)
{
    if (s < 60)
        snprintf(buf, 32, "%d s", (int)s);
    else if (s < 3600)
        snprintf(buf, 32, "%d min", (int)(s / 60));
    else if (s < 2 * 86400)
        snprintf(buf, 32, "%d h", (int)(s / 3600));
    else
        snprintf(buf, 32, "%d days", (int)(s / 86400));
    return buf;
}

static void put_group(struct prof__textout *out, const struct group *g)
{
    char bytes[PROF__HUMAN_SIZE], young[32], old[32];

    prof__textout_printf(out, "\n%s in %lld block%s", prof__human(bytes, g->bytes, "bytes"),
                         (long long)g->objects, g->objects == 1 ? "" : "s");
    if (g->objects > 1)
        prof__textout_printf(out, " of %lld B on average", (long long)(g->bytes / g->objects));
    prof__textout_printf(out, ", %s", g->kind);
    if (g->oldest == g->youngest)
        prof__textout_printf(out, ", at least %s old\n", duration(old, g->oldest));
    else if (g->youngest < g->oldest)
        prof__textout_printf(out, ", at least %s to %s old\n", duration(young, g->youngest),
                             duration(old, g->oldest));
    else
        prof__textout_word(out, "\n");
}

static void put_line(struct prof__textout *out, const struct prof__line *l)
{
    const char *name = l->name ? l->name : "??";

    prof__textout_word(out, "    ");
    prof__textout_string(out, name, NAME_SHOWN);
    if (l->file) {
        size_t n = strlen(name);

        for (size_t i = PROF_MIN(n, 39); i < 40; i++)
            prof__textout_word(out, " ");
        prof__textout_string(out, l->file, NAME_SHOWN);
        if (l->line)
            prof__textout_printf(out, ":%u", l->line);
    }
    prof__textout_word(out, "\n");
}

static void put_stack(struct prof__textout *out, const struct prof__report *r,
                      const struct prof__report_sample *s)
{
    unsigned shown = 0;

    for (uint32_t i = 0; i < s->n_locations; i++) {
        const struct prof__location *l = &r->location[s->location[i]];

        if (shown >= FRAMES_SHOWN) {
            prof__textout_printf(out, "    ... %u more\n", s->n_locations - i);
            return;
        }
        if (l->n_lines == 0)
            prof__textout_printf(out, "    0x%llx\n", (unsigned long long)l->address);
        for (uint32_t k = 0; k < l->n_lines; k++, shown++)
            put_line(out, &l->line[k]);
    }
}

static void put_comments(struct prof__textout *out, const struct prof__report *r)
{
    for (size_t i = 0; i < r->n_comments; i++) {
        prof__textout_word(out, "# ");
        prof__textout_string(out, r->comment[i], 400);
        prof__textout_word(out, "\n");
    }
}

/* Each stack is a site and what holds it, outward. */
static void put_holders(struct prof__textout *out, const struct prof__report *r,
                        const struct group *g)
{
    char bytes[PROF__HUMAN_SIZE];

    prof__textout_printf(out, "\n%s in %lld block%s\n", prof__human(bytes, g->bytes, "bytes"),
                         (long long)g->objects, g->objects == 1 ? "" : "s");
    for (uint32_t i = 0; i < g->sample->n_locations; i++) {
        const struct prof__location *l = &r->location[g->sample->location[i]];

        if (l->n_lines) {
            bool more = strncmp(l->line[0].name, "... ", 4) == 0;

            prof__textout_word(out, i == 0 ? "    of " : more ? "      " : "      held by ");
            prof__textout_string(out, l->line[0].name, NAME_SHOWN);
            prof__textout_word(out, "\n");
        }
    }
}

int prof__holders_write_text(const struct prof__report *r, struct prof__arena *a,
                             prof_sink_fn *sink, void *arg)
{
    struct prof__textout out = { .sink = sink, .arg = arg };
    struct groups g;
    int e = make_groups(r, a, &g);

    if (e < 0)
        return e;
    prof__textout_printf(&out, "who holds it: %zu ways\n", g.n);
    put_comments(&out, r);
    for (size_t i = 0; i < g.n && !out.error; i++)
        put_holders(&out, r, &g.group[i]);
    return prof__textout_flush(&out);
}

int prof__leaks_write_text(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink,
                           void *arg)
{
    struct prof__textout out = { .sink = sink, .arg = arg };
    char bytes[PROF__HUMAN_SIZE];
    struct groups g;
    int64_t total[2] = { 0 };
    int e = make_groups(r, a, &g);

    if (e < 0)
        return e;
    for (size_t i = 0; i < g.n; i++) {
        total[0] += g.group[i].objects;
        total[1] += g.group[i].bytes;
    }
    if (g.n == 0)
        prof__textout_word(&out, "no leaks were found\n");
    else
        prof__textout_printf(&out,
                             "%s in %lld blocks of %zu stacks: nothing in use points to them "
                             "any more\n",
                             prof__human(bytes, total[1], "bytes"), (long long)total[0], g.n);
    put_comments(&out, r);
    for (size_t i = 0; i < g.n && !out.error; i++) {
        put_group(&out, &g.group[i]);
        put_stack(&out, r, g.group[i].sample);
    }
    return prof__textout_flush(&out);
}
