/*
 * leaks.c - the profile `leaks`: writing it runs the detection.
 *
 * A block is told as leaked if every pass has missed it and it is still there at the end.
 *
 * Registers. A thread that waits in a system call has some in the kernel, where nobody but a
 * debugger sees them, and one may be all that holds a block: in a loop that waits and then works on
 * it. Each can hide one block, with all that it leads to. So what is not reached is taken apart by
 * sources, blocks that nothing else leads to, and where there are H such registers, the blocks of
 * an allocation stack are leaked if they hang from more than H sources. Also if too many samples
 * are sources themselves: were no more than H in use, one would expect H / w samples of blocks that
 * are sampled one in w, and more than were met have a chance of less than 1 in 1000, by Poisson.
 * Else it is only possible that they are leaked.
 */
#include <errno.h>
#include <math.h>
#include <prof/prof.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/sampler.h"
#include "encode/encode.h"
#include "profile/builtin.h"
#include "profile/gather.h"
#include "profile/registry.h"
#include "record/collect_heap.h"
#include "scan/leaks_text.h"
#include "scan/scan.h"

static const char unreferenced[] = "unreferenced";
static const char only_from_leaked[] = "only from leaked";
static const char possible[] = "possible";

static _Atomic int64_t last_count; /* stacks in the last report */

/* --- verdicts -------------------------------------------------------------------------------- */

static void count_pass(struct prof__targets *t, size_t *left, int pass)
{
    for (size_t i = 0; i < t->n; i++) {
        struct prof__target *k = &t->target[i];

        if (k->state & PROF__TARGET_REACHED || k->missed < pass)
            continue;
        k->missed++;
        ++*left;
    }
}

/* As long as a look finds some in use that the ones before have missed, which are on the move, more
 * are taken, up to twice as many as asked for. Once nothing is left, more find nothing either. */
static int run_passes(struct prof__scan *s)
{
    size_t left = 1, before = 0;
    int asked = s->setup->o.passes, r = 0;

    for (int pass = 0; left > 0 && (pass < asked || (left < before && pass < 2 * asked)); pass++) {
        if (pass > 0 && (r = prof__scan_rest(s)) < 0)
            break;
        if ((r = prof__scan_pass(s, NULL, pass >= asked - 1)) < 0)
            break;
        before = left;
        left = 0;
        count_pass(&s->blocks, &left, pass);
        count_pass(&s->fed, &left, pass);
        if (s->report.swapped_pages)
            break;
    }
    prof__targets_look_again(&s->blocks, &s->image);
    prof__targets_look_again(&s->fed, &s->image);
    return r;
}

static bool is_leaked(const struct prof__scan *s, const struct prof__target *t)
{
    return t->live && t->missed == s->report.passes && !s->report.swapped_pages;
}

/* What is known of the leaked blocks of each row. Rows are numbers without order, so there is a
 * small table by hash, and another of which sources a row has been met with. */
struct groups {
    struct group {
        uint32_t row;
        uint32_t sources;
        uint32_t samples; /* that are sources themselves, */
        int64_t objects;  /* and their weight, as in the row */
    } * group;
    uint64_t *met; /* row and source */
    size_t n_slots;
};

static struct group *group_of(struct groups *g, uint32_t row)
{
    size_t at = prof__hash(row) & (g->n_slots - 1);

    while (g->group[at].row && g->group[at].row != row)
        at = (at + 1) & (g->n_slots - 1);
    g->group[at].row = row;
    return &g->group[at];
}

static bool is_new(struct groups *g, uint32_t row, uint32_t source)
{
    uint64_t key = (uint64_t)row << 32 | source;
    size_t at = prof__hash(key) & (g->n_slots - 1);

    while (g->met[at] && g->met[at] != key)
        at = (at + 1) & (g->n_slots - 1);
    if (g->met[at])
        return false;
    g->met[at] = key;
    return true;
}

static void count_sources(const struct prof__scan *s, const struct prof__targets *t,
                          struct groups *g)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct prof__target *k = &t->target[i];

        if (!is_leaked(s, k) || k->source == 0)
            continue;
        struct group *group = group_of(g, k->block.row);
        group->sources += is_new(g, k->block.row, k->source);
        group->samples += k->first;
        group->objects += k->first ? k->block.objects : 0;
    }
}

/* Could so many hang from no more blocks than there are registers? */
static bool may_be_in_registers(const struct group *g, unsigned registers)
{
    if (g->sources > registers || registers == 0)
        return false;
    if (g->samples == 0)
        return true;
    double weight = (double)g->objects / (1 << PROF__OBJECT_SHIFT) / g->samples;
    if (weight <= 1) /* every block is sampled: there is no chance in it */
        return true;
    double expected = registers / weight;
    double term = exp(-expected), sum = 0; /* of Poisson's terms below */
    if (expected >= g->samples)
        return true;
    for (uint32_t i = 0; i < g->samples; i++) {
        sum += term;
        term *= expected / (i + 1);
    }
    return 1 - sum > 0.001;
}

static int make_groups(struct prof__scan *s, struct groups *g)
{
    size_t n = s->blocks.n + s->fed.n;

    g->n_slots = 64;
    while (g->n_slots < n * 2)
        g->n_slots *= 2;
    g->group = prof__arena_array(&s->arena, g->n_slots, sizeof(*g->group));
    g->met = prof__arena_array(&s->arena, g->n_slots, sizeof(*g->met));
    if (!g->group || !g->met)
        return -ENOMEM;
    count_sources(s, &s->blocks, g);
    count_sources(s, &s->fed, g);
    return 0;
}

static const char *kind_of(const struct prof__scan *s, const struct prof__target *t,
                           struct groups *g)
{
    if (t->state & PROF__TARGET_DOUBTFUL ||
        may_be_in_registers(group_of(g, t->block.row), s->report.hidden_regs))
        return possible;
    return t->state & PROF__TARGET_HELD ? only_from_leaked : unreferenced;
}

static void gather(struct prof__scan *s, const struct prof__targets *t, struct groups *groups,
                   struct prof__gather *g, uint32_t now_s)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct prof__target *k = &t->target[i];

        if (is_leaked(s, k))
            prof__gather_add(g, k->block.row, kind_of(s, k, groups),
                             (int64_t)(now_s - k->block.birth_s), k->block.objects, k->block.bytes);
    }
}

static size_t count_leaked(const struct prof__scan *s, const struct prof__targets *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++)
        n += is_leaked(s, &t->target[i]);
    return n;
}

/* --- exact ----------------------------------------------------------------------------------- */

/* Every block for so many seconds; then the rate is as it was, unless somebody else set it. */
static int sample_all(struct prof__scan_setup *setup)
{
    struct prof__pace pace = { .cancelled = setup->o.cancelled, .arg = setup->o.cancel_arg };
    uint64_t before = prof__heap_rate_set(1);

    setup->since_s = (uint32_t)(prof__clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000000) + 1;
    int r = prof__pace_sleep(&pace, (int64_t)setup->o.exact_s * 1000000000);
    if (prof__heap_rate() == 1)
        prof__heap_rate_set(before);
    return r < 0 ? prof_set_last_error(r, "the scan was cancelled") : 0;
}

/* --- the profile ----------------------------------------------------------------------------- */

static int snapshot_of(struct prof__scan *s, struct prof__snapshot *ret)
{
    struct prof__gather g;
    struct groups groups;
    int r = make_groups(s, &groups);

    if (r == 0)
        r = prof__gather_start(&g, ret, count_leaked(s, &s->blocks) + count_leaked(s, &s->fed));
    if (r < 0)
        return r;
    uint32_t now_s = s->image.ops->now_s(&s->image);
    gather(s, &s->blocks, &groups, &g, now_s);
    gather(s, &s->fed, &groups, &g, now_s);
    ret->notes = prof__scan_notes(s, &ret->arena);
    return ret->notes ? 0 : -ENOMEM;
}

__attribute__((noinline)) static int take_from(const struct prof__scan_setup *setup,
                                               uintptr_t entry, struct prof__snapshot *ret)
{
    struct prof__scan s;
    int r = prof__scan_begin(&s, setup, entry);

    if (r == 0)
        r = run_passes(&s);
    if (r == 0)
        r = snapshot_of(&s, ret);
    if (r == 0)
        atomic_store_explicit(&last_count, (int64_t)ret->n, memory_order_relaxed);
    prof__scan_end(&s);
    return r;
}

__attribute__((noinline)) static int below_entry(const struct prof__scan_setup *setup,
                                                 struct prof__snapshot *ret)
{
    return take_from(setup, (uintptr_t)__builtin_frame_address(0), ret);
}

static int take(const struct prof_write_options *w, struct prof__snapshot *ret)
{
    struct prof__scan_setup setup;
    int r = prof__scan_setup(w ? w->scan : NULL, 3, 60, &setup);

    *ret = (struct prof__snapshot) { .arena = ret->arena };
    if (r == 0 && setup.o.exact_s)
        r = sample_all(&setup);
    if (r < 0)
        return r;
    /* What the caller keeps in registers goes to this frame, which is above the next and so is part
     * of what is looked at. */
    __builtin_unwind_init();
    return below_entry(&setup, ret);
}

static void finish(const struct prof__values *raw, int64_t ret_value[PROF__VALUES_MAX])
{
    ret_value[0] = prof__values_total(raw, 0, PROF__OBJECT_SHIFT);
    ret_value[1] = prof__values_total(raw, 1, PROF__BYTE_SHIFT);
}

static int64_t period(void)
{
    return (int64_t)prof__heap_rate();
}

/* Writing it is what takes time: here is what the last time has found. */
static int64_t count(const struct prof_profile *p)
{
    (void)p;
    return atomic_load_explicit(&last_count, memory_order_relaxed);
}

struct prof_profile prof__profile_leaks = {
    .name = "leaks",
    .description = "Memory in use that nothing points to any more. Reading it looks for it.",
    .table = PROF__TABLE_HEAP,
    .text = PROF__TEXT_HEAP,
    .n_values = 2,
    .value_type = { { "inuse_objects", "count" }, { "inuse_space", "bytes" } },
    .period_type = { "space", "bytes" },
    .period = period,
    .has_sizes = true,
    .no_window = true,
    .count = count,
    .finish = finish,
    .take = take,
    .write_text = prof__leaks_write_text,
    .status = prof__heap_status,
};
