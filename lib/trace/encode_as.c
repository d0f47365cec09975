/*
 * encode_as.c - a timeline as a profile: where its time went, for who knows pprof.
 *
 *   sync    the stacks that waited, and how long
 *   sched   the same stacks: how long after they were woken they ran
 *   io      the stacks that were in system calls, and how long
 *   region  the program's regions as a call tree, and the time in each
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "profile/report.h"
#include "trace/encode.h"
#include "unwind/stack.h"

static const struct prof_profile sync_profile = {
    .name = "sync",
    .n_values = 2,
    .value_type = { { "contentions", "count" }, { "delay", "nanoseconds" } },
    .period_type = { "contentions", "count" },
};
static const struct prof_profile sched_profile = {
    .name = "sched",
    .n_values = 2,
    .value_type = { { "wakeups", "count" }, { "latency", "nanoseconds" } },
    .period_type = { "wakeups", "count" },
};

static const struct prof_profile io_profile = {
    .name = "io",
    .n_values = 2,
    .value_type = { { "calls", "count" }, { "delay", "nanoseconds" } },
    .period_type = { "calls", "count" },
};

/* --- by stacks -------------------------------------------------------------------------------- */

/* When each flow begins. */
static int64_t *flow_times(const struct prof__timeline *t, struct prof__arena *a)
{
    int64_t *ns = prof__arena_array(a, t->flows + 1, sizeof(*ns));

    for (size_t i = 0; ns && i < t->n_items; i++)
        for (uint32_t k = 0; k < t->item[i].out_flows; k++)
            ns[t->item[i].first_flow + k] = t->item[i].begin_ns;
    return ns;
}

static int write_stacks(const struct prof__timeline *t, const struct prof_profile *as,
                        bool no_symbols, struct prof__arena *a, prof_sink_fn *sink, void *arg)
{
    bool latency = as == &sched_profile;
    enum prof__item_kind kind = as == &io_profile ? PROF__ITEM_IO : PROF__ITEM_WAIT;
    struct prof__report_options options = { .no_symbols = no_symbols,
                                            .duration_ns = t->to_ns - t->from_ns };
    uintptr_t none = PROF__PC_NO_STACK;
    prof__stack_id no_stack = prof__stack_table_add(PROF__STORE_KEPT, &none, 1);
    struct prof__snapshot s = { .wall_ns = prof__wall_ns() };
    struct prof__report report;
    int64_t *began = flow_times(t, a);

    s.sample = prof__arena_array(a, t->n_items + 1, sizeof(*s.sample));
    if (!began || !s.sample)
        return -ENOMEM;
    for (size_t i = 0; i < t->n_items; i++) {
        const struct prof__item *item = &t->item[i];
        int64_t from = latency ? began[item->flow_in] : item->begin_ns;

        if (item->kind != (uint8_t)kind || (latency && !item->flow_in))
            continue;
        struct prof__sample *to = &s.sample[s.n++];
        to->stack = item->stack ? item->stack : no_stack;
        to->raw.value[0] = 1;
        to->raw.value[1] = (uint64_t)PROF_MAX(item->end_ns - from, (int64_t)0);
    }
    int r = prof__report_build(as, &s, &options, a, &report);
    return r < 0 ? r : prof__encode_pprof(&report, a, sink, arg);
}

/* --- by regions ------------------------------------------------------------------------------- */

/* A region within others, of the same names. */
struct node {
    const char *text;
    uint32_t parent, child, sibling; /* node 0 is the root */
    uint32_t location, depth;
    int64_t count, self_ns;
};

struct tree {
    struct node *node;
    uint32_t n;
    struct prof__line *line; /* of each name */
    uint32_t names;
};

static uint32_t node_in(struct tree *t, uint32_t parent, const char *text)
{
    uint32_t at = t->node[parent].child, location = 0;

    while (at && t->node[at].text != text)
        at = t->node[at].sibling;
    if (at)
        return at;
    while (location < t->names && t->line[location].function != text)
        location++;
    if (location == t->names)
        t->line[t->names++] = (struct prof__line) { .function = text, .name = text };
    t->node[t->n] = (struct node) { .text = text,
                                    .parent = parent,
                                    .sibling = t->node[parent].child,
                                    .location = location,
                                    .depth = t->node[parent].depth + 1 };
    t->node[parent].child = t->n;
    return t->n++;
}

/* Items of a track come outer ones first; those around one are its parents. */
static void grow(struct tree *t, const struct prof__timeline *line, const struct prof__track *track,
                 uint32_t *open, int64_t *end)
{
    size_t depth = 0;

    for (size_t i = track->first; i < track->first + track->n; i++) {
        const struct prof__item *item = &line->item[i];
        int64_t ns = item->end_ns - item->begin_ns;

        if (item->kind != PROF__ITEM_REGION)
            continue;
        while (depth > 0 && end[depth - 1] <= item->begin_ns)
            depth--;
        uint32_t parent = depth > 0 ? open[depth - 1] : 0;
        uint32_t at = node_in(t, parent, item->text);
        t->node[at].count++;
        t->node[at].self_ns += ns;
        t->node[parent].self_ns -= ns;
        open[depth] = at;
        end[depth++] = item->end_ns;
    }
}

static int write_regions(const struct prof__timeline *t, struct prof__arena *a, prof_sink_fn *sink,
                         void *arg)
{
    static const struct prof__value_type types[] = { { "regions", "count" },
                                                     { "time", "nanoseconds" } };
    size_t most = t->n_items + 1;
    struct tree tree = { .node = prof__arena_array(a, most, sizeof(*tree.node)),
                         .n = 1,
                         .line = prof__arena_array(a, most, sizeof(*tree.line)) };
    uint32_t *open = prof__arena_array(a, most, sizeof(*open));
    int64_t *end = prof__arena_array(a, most, sizeof(*end));

    if (!tree.node || !tree.line || !open || !end)
        return -ENOMEM;
    for (size_t i = 0; i < t->n_tracks; i++)
        grow(&tree, t, &t->track[i], open, end);

    struct prof__location *location = prof__arena_array(a, tree.names + 1, sizeof(*location));
    struct prof__report_sample *sample = prof__arena_array(a, tree.n, sizeof(*sample));
    struct prof__report_mapping mapping = {
        .start = 0x1000,
        .limit = 0x1000 + ((uint64_t)most + 0xfff) / 0x1000 * 0x1000,
        .file = "[regions]",
        .build_id = "",
        .has_functions = tree.names > 0,
    };
    struct prof__report report = {
        .name = "region",
        .n_values = ARRAY_LEN(types),
        .value_type = types,
        .period_type = types[0],
        .period = 1,
        .time_ns = prof__wall_ns(),
        .duration_ns = t->to_ns - t->from_ns,
        .location = location,
        .n_locations = tree.names,
        .sample = sample,
        .n_samples = tree.n - 1,
        .mapping = &mapping,
        .n_mappings = 1,
        .comment = t->note,
        .n_comments = t->n_notes,
    };

    if (!location || !sample)
        return -ENOMEM;
    for (uint32_t i = 0; i < tree.names; i++)
        location[i] = (struct prof__location) {
            .address = mapping.start + i, .n_lines = 1, .own_line = 1, .line = &tree.line[i]
        };
    for (uint32_t i = 1; i < tree.n; i++) {
        uint32_t *path = prof__arena_array(a, tree.node[i].depth, sizeof(*path)), n = 0;

        if (!path)
            return -ENOMEM;
        for (uint32_t at = i; at; at = tree.node[at].parent)
            path[n++] = tree.node[at].location;
        sample[i - 1] = (struct prof__report_sample) {
            .location = path,
            .n_locations = n,
            .value = { tree.node[i].count, PROF_MAX(tree.node[i].self_ns, (int64_t)0) },
        };
    }
    return prof__encode_pprof(&report, a, sink, arg);
}

int prof__encode_trace_as(const struct prof__timeline *t, const char *as, bool no_symbols,
                          struct prof__arena *a, prof_sink_fn *sink, void *arg)
{
    static const struct prof_profile *const by_stack[] = { &sync_profile, &sched_profile,
                                                           &io_profile };

    if (strcmp(as, "region") == 0)
        return write_regions(t, a, sink, arg);
    for (size_t i = 0; i < ARRAY_LEN(by_stack); i++)
        if (strcmp(as, by_stack[i]->name) == 0)
            return write_stacks(t, by_stack[i], no_symbols, a, sink, arg);
    return -EINVAL;
}
