/*
 * report.c - from ids and bare addresses to a report that only has to be laid out.
 *
 *   samples -> distinct marked address -> module -> symbols -> locations -> samples again
 *
 * Memory: the request's arena, proportional to what is shown.
 */
#include "profile/report.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "base/optional.h"
#include "base/path.h"
#include "profile/locations.h"
#include "profile/places.h"
#include "profile/stack_ends.h"
#include "table/labels.h"
#include "unwind/stack.h"

enum { COMMENTS_OF_STATUS = 14, STATUS_MORE = 1024 };

struct key {
    uint32_t labels;
    uint64_t size;
    const char *kind; /* a constant */
    bool has_age;
    int64_t age_s;
};

struct builder {
    const struct prof_profile *profile;
    const struct prof__report_options *options;
    struct prof__arena *arena;
    struct prof__report *report;
    struct prof__places places;
    struct prof__comments *comments;
    bool *ends; /* of modules: stacks end in it (stack_ends.h) */

    struct prof__report_sample *sample; /* location[] holds place indexes until resolve() */
    struct key *key;                    /* of each sample, beside its locations */
    size_t n_samples;
};

/* --- samples --------------------------------------------------------------------------------- */

static int add_sample(struct builder *b, const struct prof__stack *stack, struct key key,
                      const int64_t value[PROF__VALUES_MAX])
{
    struct prof__report_sample *out = &b->sample[b->n_samples];
    uint32_t *location = prof__arena_array(b->arena, stack->n, sizeof(*location));

    if (!location)
        return -ENOMEM;
    for (uint32_t i = 0; i < stack->n; i++)
        if (!prof__places_find(&b->places, stack->pcs[i], &location[i]))
            return -ENOMEM;
    prof__stack_ends_note(&b->places, location, stack->n, b->ends);
    out->location = location;
    out->n_locations = stack->n;
    memcpy(out->value, value, sizeof(out->value));
    b->key[b->n_samples++] = key;
    return 0;
}

/* The values of a row as they are shown. False: all zero. */
static bool shown(const struct prof_profile *p, const struct prof__sample *s,
                  int64_t ret_value[PROF__VALUES_MAX])
{
    int64_t any = 0;

    prof__values_finish(p, &s->raw, ret_value);
    for (size_t i = 0; i < p->n_values; i++)
        any |= ret_value[i];
    return any != 0;
}

/* What decides which samples stay under a limit: the column shown first, by size. */
static uint64_t importance(const struct prof_profile *p, const int64_t value[PROF__VALUES_MAX])
{
    int64_t v = value[p->n_values - 1];

    if (p->default_type)
        for (size_t i = 0; i < p->n_values; i++)
            if (strcmp(p->value_type[i].type, p->default_type) == 0)
                v = value[i];
    return v < 0 ? -(uint64_t)v : (uint64_t)v;
}

/* The least importance that stays: such that at most `limit` of n samples have more. Counts by
 * leading bits, 16 steps per doubling, so it is one pass and no sort. */
static unsigned importance_class(uint64_t v)
{
    if (v < 16)
        return (unsigned)v;
    unsigned log2 = 63 - (unsigned)__builtin_clzll(v);
    return (log2 - 3) * 16 + (unsigned)((v >> (log2 - 4)) & 15);
}

static unsigned cut_off(const struct prof_profile *p, const struct prof__snapshot *s,
                        uint64_t limit)
{
    size_t of_class[61 * 16] = { 0 };
    int64_t value[PROF__VALUES_MAX];
    uint64_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        if (shown(p, &s->sample[i], value))
            of_class[importance_class(importance(p, value))]++;
    for (unsigned c = ARRAY_LEN(of_class); c-- > 0;) {
        n += of_class[c];
        if (n > limit)
            return c + 1;
    }
    return 0;
}

static int collect_samples(struct builder *b, const struct prof__snapshot *s)
{
    const struct prof_profile *p = b->profile;
    uint64_t limit = b->options->max_samples;
    unsigned least = limit && s->n > limit ? cut_off(p, s, limit - 1) : 0;
    int64_t other[PROF__VALUES_MAX] = { 0 };
    size_t room = (limit && s->n > limit ? limit : s->n) + 1, n_other = 0;

    b->sample = prof__arena_array(b->arena, room, sizeof(*b->sample));
    b->key = prof__arena_array(b->arena, room, sizeof(*b->key));
    b->ends = prof__arena_array(b->arena, b->places.modules.n + 1, sizeof(*b->ends));
    if (!b->sample || !b->key || !b->ends)
        return -ENOMEM;

    for (size_t i = 0; i < s->n; i++) {
        int64_t value[PROF__VALUES_MAX];

        if (!shown(p, &s->sample[i], value))
            continue;
        if (least && importance_class(importance(p, value)) < least) {
            for (size_t v = 0; v < p->n_values; v++)
                other[v] = prof__add_saturate(other[v], value[v]);
            n_other++;
            continue;
        }
        const struct prof__sample *from = &s->sample[i];
        struct key key = { from->labels, from->size, from->kind, from->has_age, from->age_s };
        int r = add_sample(b, prof__stack_table_get(s->sample[i].stack), key, value);
        if (r < 0)
            return r;
    }
    if (n_other) {
        union {
            struct prof__stack stack;
            uintptr_t words[sizeof(struct prof__stack) / sizeof(uintptr_t) + 1];
        } one = { .stack = { .n = 1 } };

        one.words[sizeof(struct prof__stack) / sizeof(uintptr_t)] = PROF__PC_OTHER;
        prof__comment(b->comments,
                      prof__arena_printf(b->arena, "%zu samples, the smallest, are folded into %s",
                                         n_other, prof__pseudo_name(PROF__PC_OTHER)));
        return add_sample(b, &one.stack, (struct key) { 0 }, other);
    }
    return 0;
}

/* Code of the hooks: a thread that libc makes for the program is made through ours. */
static bool is_own(const struct builder *b, const struct prof__location *l)
{
    const char *file = prof__base_name(b->places.mapping[l->mapping].file);

    return strncmp(file, "libprof-hooks.so", 16) == 0 || strcmp(file, "libprof-preload.so") == 0;
}

/* libc's own functions call others of its, which a stripped libc has no name for: a waiting
 * thread's innermost may be one of a few instructions around the system call. Who called it has a
 * name that people know, so that stands for both. */
static bool is_inside_libc(const struct prof__location *leaf, const struct prof__location *caller,
                           const struct prof__report_mapping *mapping)
{
    const char *file = prof__base_name(mapping[leaf->mapping].file);

    return leaf->is_nameless && caller->mapping == leaf->mapping &&
           (strncmp(file, "libc.so.", 8) == 0 || strncmp(file, "libc-2.", 7) == 0);
}

/* How many of a stack's innermost frames are to be left out for that. */
static uint32_t count_inside_libc(const struct builder *b, const struct prof__report_sample *s)
{
    const struct prof__location *known = b->report->location;
    uint32_t n = 0;

    while (n + 1 < s->n_locations &&
           is_inside_libc(&known[s->location[n]], &known[s->location[n + 1]], b->places.mapping))
        n++;
    return n == 0 || known[s->location[n]].is_nameless ? 0 : n;
}

/* Place indexes become locations, less the frames that are nobody's business. */
static void resolve_samples(struct builder *b)
{
    const struct prof__location *known = b->report->location;

    for (size_t i = 0; i < b->n_samples; i++) {
        struct prof__report_sample *s = &b->sample[i];
        uint32_t *location = (uint32_t *)s->location, n = 0;

        for (uint32_t k = 0; k < s->n_locations; k++) {
            uint32_t l = b->places.place[location[k]].location - 1;

            if (!is_own(b, &known[l]) || (n == 0 && k == s->n_locations - 1))
                location[n++] = l;
        }
        s->n_locations = n;
        while (b->profile->has_sizes && s->n_locations > 1 &&
               prof__location_is_allocator(&known[s->location[0]])) {
            s->location++;
            s->n_locations--;
        }
        uint32_t inside = count_inside_libc(b, s);
        s->location += inside;
        s->n_locations -= inside;
    }
}

static bool same_sample(const struct builder *b, size_t i, size_t k)
{
    const struct prof__report_sample *x = &b->sample[i], *y = &b->sample[k];

    return b->key[i].labels == b->key[k].labels && b->key[i].size == b->key[k].size &&
           b->key[i].kind == b->key[k].kind && b->key[i].has_age == b->key[k].has_age &&
           b->key[i].age_s == b->key[k].age_s && x->n_locations == y->n_locations &&
           memcmp(x->location, y->location, x->n_locations * sizeof(*x->location)) == 0;
}

/* What has gone from one stack and come to another that is now the same. */
static void drop_zeros(struct builder *b)
{
    size_t kept = 0;

    for (size_t i = 0; i < b->n_samples; i++) {
        int64_t any = 0;

        for (size_t v = 0; v < b->profile->n_values; v++)
            any |= b->sample[i].value[v];
        if (any == 0)
            continue;
        b->sample[kept] = b->sample[i];
        b->key[kept++] = b->key[i];
    }
    b->n_samples = kept;
}

/* Without those frames, or with code unloaded and loaded again, two stacks may have become one. */
static int merge_samples(struct builder *b)
{
    size_t n_slots = 64, kept = 0;

    while (n_slots < b->n_samples * 2)
        n_slots *= 2;
    uint32_t *slot = prof__arena_array(b->arena, n_slots, sizeof(*slot));
    if (!slot)
        return -ENOMEM;
    for (size_t i = 0; i < b->n_samples; i++) {
        uint64_t hash = prof__hash_more(prof__hash(b->key[i].size), b->key[i].labels);

        for (uint32_t k = 0; k < b->sample[i].n_locations; k++)
            hash = prof__hash_more(hash, b->sample[i].location[k]);
        size_t at = hash & (n_slots - 1);
        while (slot[at] && !same_sample(b, slot[at] - 1, i))
            at = (at + 1) & (n_slots - 1);
        if (slot[at]) {
            for (size_t v = 0; v < b->profile->n_values; v++)
                b->sample[slot[at] - 1].value[v] =
                    prof__add_saturate(b->sample[slot[at] - 1].value[v], b->sample[i].value[v]);
            continue;
        }
        b->sample[kept] = b->sample[i];
        b->key[kept] = b->key[i];
        slot[at] = (uint32_t)++kept;
    }
    b->n_samples = kept;
    drop_zeros(b);
    return 0;
}

/* The program's own label of that name stays, under another: one key has one value in a sample, or
 * some readers reject the profile. */
static const char *key_of(const struct prof_profile *p, const char *key)
{
    return p->has_sizes && strcmp(key, "bytes") == 0 ? "exported_bytes" : key;
}

/*
 * The label "bytes" is, as in Go, the size of the blocks: for those of different sizes in one row,
 * that of the first. Not their average, which would change, and with it the identity of the sample
 * for readers that subtract one profile from the next.
 */
static int label_samples(struct builder *b)
{
    struct prof__label_pair pair[PROF__LABELS_MAX];

    for (size_t i = 0; i < b->n_samples; i++) {
        struct prof__report_sample *s = &b->sample[i];
        size_t n = prof__labels_get(b->key[i].labels, pair, ARRAY_LEN(pair));

        if (n + b->profile->has_sizes + (b->key[i].kind != NULL) + b->key[i].has_age == 0)
            continue;
        struct prof__label *label = prof__arena_array(b->arena, n + 3, sizeof(*label));
        if (!label)
            return -ENOMEM;
        s->label = label;
        for (size_t k = 0; k < n; k++)
            label[k] = (struct prof__label) { .key = key_of(b->profile, pair[k].key),
                                              .value = pair[k].value };
        if (b->profile->has_sizes)
            label[n++] = (struct prof__label) { .key = "bytes", .number = (int64_t)b->key[i].size };
        if (b->key[i].kind)
            label[n++] = (struct prof__label) { .key = "kind", .value = b->key[i].kind };
        if (b->key[i].has_age)
            label[n++] = (struct prof__label) { .key = "age_seconds",
                                                .number = b->key[i].age_s,
                                                .unit = "seconds" };
        s->n_labels = (uint32_t)n;
    }
    return 0;
}

/* --- the rest ------------------------------------------------------------------------------- */

/* A comment for each sentence, up to `max` in all; the last says that there are more. */
static int add_comments(struct builder *b, const char *sentences, size_t max)
{
    const char *end;

    for (const char *line = sentences; *line && b->comments->n < max; line = *end ? end + 1 : end) {
        end = strchrnul(line, '\n');
        if (b->comments->n + 1 == max && end[0] && end[1]) {
            prof__comment(b->comments, "there is more to be said, but no room for it here: "
                                       "prof_profile_status() has it");
            break;
        }
        const char *copy = prof__arena_strndup(b->arena, line, (size_t)(end - line));
        if (!copy)
            return -ENOMEM;
        prof__comment(b->comments, copy);
    }
    return 0;
}

static int make_comments(struct builder *b, const struct prof__snapshot *s)
{
    int size = prof_profile_status(b->profile, NULL, 0);
    size_t room = size < 0 ? 1 : (size_t)size + STATUS_MORE; /* it may have grown by then */
    char *status = prof__arena_alloc(b->arena, room);

    b->comments = prof__arena_alloc(b->arena, sizeof(*b->comments));
    if (!b->comments || !status)
        return -ENOMEM;
    if (b->options->comment)
        prof__comment(b->comments, b->options->comment);
    if (b->options->short_of_memory)
        prof__comment(b->comments, "memory has run out: this is made of a reserve, and names are "
                                   "not looked up");
    if (!b->options->modules) /* what it says is of this process */
        prof_profile_status(b->profile, status, room);
    int r = add_comments(b, status, COMMENTS_OF_STATUS);
    return r == 0 && s->notes ? add_comments(b, s->notes, COMMENTS_OF_STATUS) : r;
}

/* Of the libraries that were needed for this. */
static int add_missed(struct builder *b)
{
    char missed[1024];

    return prof__optional_missed(missed, sizeof(missed)) > 0
               ? add_comments(b, missed, ARRAY_LEN(b->comments->text))
               : 0;
}

int prof__report_build(const struct prof_profile *p, const struct prof__snapshot *s,
                       const struct prof__report_options *o, struct prof__arena *a,
                       struct prof__report *ret)
{
    struct builder b = { .profile = p, .options = o, .arena = a, .report = ret };
    int r;

    *ret = (struct prof__report) {
        .name = p->name,
        .text = p->text,
        .n_values = p->n_values,
        .value_type = p->value_type,
        .default_type = p->default_type,
        .period_type = p->period_type,
        .period = p->period ? p->period() : 1,
        .time_ns = s->wall_ns,
        .duration_ns = o->duration_ns,
    };
    if ((r = prof__places_start(&b.places, o->modules, a)) < 0 || (r = make_comments(&b, s)) < 0 ||
        (r = collect_samples(&b, s)) < 0 || (r = prof__places_map(&b.places)) < 0 ||
        (r = prof__locations_make(&b.places, p, o, b.comments, ret)) < 0 ||
        (r = add_missed(&b)) < 0)
        return r;
    prof__stack_ends_comment(&b.places, b.ends, b.comments);
    resolve_samples(&b);
    if (!o->one_by_one && (r = merge_samples(&b)) < 0)
        return r;
    if ((r = label_samples(&b)) < 0)
        return r;
    ret->mapping = b.places.mapping;
    ret->n_mappings = b.places.n_mappings;
    ret->comment = b.comments->text;
    ret->n_comments = b.comments->n;
    ret->sample = b.sample;
    ret->n_samples = b.n_samples;
    return 0;
}
