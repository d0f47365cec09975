/*
 * scan.c - one scan at a time, in passes.
 */
#include "scan/scan.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fork.h"
#include "profile/registry.h"
#include "scan/flood.h"

enum {
    EXACT_AGE_S = 1,
    INTERVAL_MS = 300,
    CPU_PERCENT = 50,
    DEPTH = 16,
    TARGET_BYTES = 160,
    HEAP_SHARE = 30,
    PATHS_BYTES = 32 << 20,
    TURN_NS = 20 * 1000 * 1000,
    PASSES_MAX = 100,
};

/* --- options --------------------------------------------------------------------------------- */

int prof__scan_setup(const struct prof_scan_options *from, int passes, int age_s,
                     struct prof__scan_setup *ret)
{
    struct prof_scan_options o = PROF_SCAN_OPTIONS_INIT;
    int r =
        from ? prof__struct_read(from, offsetof(struct prof_scan_options, age_s) + sizeof(int64_t),
                                 &o, sizeof(o))
             : 0;

    if (r < 0)
        return prof_set_last_error(r, r == -E2BIG ? "prof_scan_options has an option that this "
                                                    "libprof does not know"
                                                  : "prof_scan_options is not initialized: start "
                                                    "from PROF_SCAN_OPTIONS_INIT");
    if (o.passes < 0 || o.passes > PASSES_MAX || o.interval_ms < 0 || o.cpu_percent < 0 ||
        o.cpu_percent > 100 || o.exact_s < 0 || o.depth < 0 || o.depth > 64)
        return prof_set_last_error(-EINVAL,
                                   "prof_scan_options: up to %d passes, 100 percent, a "
                                   "depth of 64, and nothing negative but age_s",
                                   PASSES_MAX);
    if (o.age_s == 0)
        o.age_s = o.exact_s ? EXACT_AGE_S : age_s;
    o.passes = o.passes ? o.passes : passes;
    o.interval_ms = o.interval_ms ? o.interval_ms : INTERVAL_MS;
    o.cpu_percent = o.cpu_percent ? o.cpu_percent : CPU_PERCENT;
    o.depth = o.depth ? o.depth : DEPTH;
    *ret = (struct prof__scan_setup) {
        .o = o,
        .age_s = (uint32_t)PROF_MIN(PROF_MAX(o.age_s, 0), INT32_MAX),
    };
    return 0;
}

/* --- whose turn it is ------------------------------------------------------------------------ */

static _Atomic bool busy;

static int take_turn(struct prof__pace *pace)
{
    bool expected = false;
    int r = 0;

    while (r == 0 && !atomic_compare_exchange_strong_explicit(
                         &busy, &expected, true, memory_order_acquire, memory_order_relaxed)) {
        expected = false;
        r = prof__pace_sleep(pace, TURN_NS);
    }
    return r;
}

/* In a forked child nobody scans. */
static void fork_child(void)
{
    atomic_store_explicit(&busy, false, memory_order_relaxed);
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, fork_child)

/* --- a scan ---------------------------------------------------------------------------------- */

static int cancelled(int r)
{
    return r == -ECANCELED ? prof_set_last_error(r, "the scan was cancelled") : r;
}

static int out_of_memory(int r)
{
    return r == -ENOMEM ? prof__error_memory("a scan") : cancelled(r);
}

/* Would it leave the program too little? Bytes for the targets, whatever their number; for the walk
 * of what may be heap; and for the rest. */
static int ask_for_memory(struct prof__scan *s, bool paths)
{
    uint64_t room = s->image.ops->headroom(&s->image);
    uint64_t bytes =
        TARGET_BYTES * (uint64_t)(s->blocks.n + s->fed.n) + (1 << 20) + (paths ? PATHS_BYTES : 0);

    for (size_t i = 0; i < s->image.n_maps; i++) {
        const struct prof__image_map *m = &s->image.map[i];

        if (m->anonymous && m->writable && !m->shared)
            bytes += (m->end - m->start) / HEAP_SHARE;
    }
    if (bytes <= room / 2)
        return 0;
    return prof_set_last_error(-ENOBUFS,
                               "a scan takes %.1f MiB, and the limit of the cgroup leaves %.1f",
                               (double)bytes / (1 << 20), (double)room / (1 << 20));
}

static struct prof__image *lent; /* NULL: scans are of the process itself */

void prof__scan_lend(struct prof__image *image)
{
    lent = image;
}

/* What is lent is taken for as long as the scan goes on. */
static int open_image(struct prof__scan *s, uintptr_t entry)
{
    if (!lent)
        return prof__image_self(&s->image, entry);
    s->image = *lent;
    return 0;
}

static void close_image(struct prof__scan *s)
{
    if (lent)
        *lent = s->image;
    else
        prof__image_close(&s->image);
}

int prof__scan_begin(struct prof__scan *s, const struct prof__scan_setup *setup, uintptr_t entry)
{
    const struct prof_scan_options *o = &setup->o;
    int r;

    *s = (struct prof__scan) {
        .pace = { .cpu_percent = (unsigned)o->cpu_percent,
                  .cancelled = o->cancelled,
                  .arg = o->cancel_arg },
        .start_ns = prof__monotonic_ns(),
    };
    prof__pace_start(&s->pace);
    r = take_turn(&s->pace);
    if (r < 0)
        return cancelled(r);
    s->setup = setup; /* the turn is ours */
    s->sweep = (struct prof__sweep) { .image = &s->image, .pace = &s->pace, .swap = o->swap != 0 };
    s->sweep.buf = prof__arena_alloc(&s->arena, PROF__SWEEP_BYTES);
    if (!s->sweep.buf || (r = open_image(s, entry)) < 0)
        return out_of_memory(-ENOMEM);
    uint32_t now = s->image.ops->now_s(&s->image);
    uint32_t birth = now > setup->age_s ? now - setup->age_s : 0;
    if (o->age_s < 0)
        birth = UINT32_MAX;
    if ((r = prof__targets_take(&s->blocks, &s->image, &s->arena, setup->since_s, birth, false)) <
            0 ||
        (r = prof__targets_take(&s->fed, &s->image, &s->arena, setup->since_s, birth, true)) < 0)
        return out_of_memory(r);
    s->report.blocks = s->blocks.n + s->fed.n;
    s->report.young = s->blocks.young + s->fed.young;
    return 0;
}

void prof__scan_init(void)
{
    prof__registry_add(&prof__profile_leaks);
    prof__registry_add(&prof__profile_holders);
    prof__registry_add(&prof__profile_memory);
}

void prof__scan_end(struct prof__scan *s)
{
    prof__arena_free(&s->pass_arena);
    prof__arena_free(&s->arena);
    if (s->image.ops)
        close_image(s);
    if (s->setup)
        /* Release: the next one finds our memory given back. */
        atomic_store_explicit(&busy, false, memory_order_release);
    s->setup = NULL;
}

static int make_plan(struct prof__scan *s, struct prof__plan *plan, const struct prof__named *named,
                     bool without_heap)
{
    int r = prof__plan_begin(plan, &s->image, &s->pass_arena);

    plan->ignored = named->ignored;
    plan->n_ignored = named->n_ignored;
    if (r == 0 && without_heap)
        r = prof__heap_walk(&s->heap, plan, &s->blocks, &s->sweep, &s->pass_arena);
    if (r == 0 && without_heap && s->blocks.n == 0)
        s->heap.why = "no block is sampled";
    return r;
}

static void note_pass(struct prof__scan *s, const struct prof__pass_count *count, uint64_t before)
{
    struct prof__scan_report *r = &s->report;

    r->passes++;
    r->walked = s->blocks.n > 0 && !s->heap.why;
    r->why_not = s->heap.why;
    r->read_bytes = s->sweep.read_bytes - before;
    r->swapped_pages = s->sweep.swapped_pages;
    r->lost_bytes = s->sweep.lost_bytes;
    r->own_unlisted = s->image.own_unlisted;
    r->garbled_bytes = s->heap.garbled_bytes;
    r->chunks = s->heap.chunks;
    r->missed = s->heap.missed;
    r->tagged = count->words_tagged;
    r->threads = (unsigned)s->image.n_threads;
    r->silent = s->image.threads_silent;
    r->unreadable = s->image.threads_unreadable;
    r->descriptors = s->image.descriptors_unreadable;
    r->dead_stacks = s->plan.dead_stacks;
    r->presence_unknown = s->image.presence_unknown;
    r->hidden_regs = prof__image_hidden_regs(&s->image);
}

/* Blocks that the walk did not come by, and those fed, are judged by references. */
static bool wants_references(const struct prof__scan *s)
{
    return s->fed.n > 0 || (s->blocks.n > 0 && (s->heap.why || s->heap.missed > 0));
}

static int look(struct prof__scan *s, bool walk, bool paths, struct prof__named *ret_named)
{
    int r;

    prof__arena_free(&s->pass_arena);
    s->heap = (struct prof__heap) { 0 };
    s->sweep.swapped_pages = s->sweep.lost_bytes = 0;
    for (size_t i = 0; i < s->blocks.n; i++)
        s->blocks.target[i].state = 0;
    if ((r = prof__image_refresh(&s->image)) < 0)
        return out_of_memory(r);
    if (walk && (r = ask_for_memory(s, paths)) < 0)
        return r;
    if ((r = prof__named_take(&s->pass_arena, ret_named)) < 0 ||
        (r = make_plan(s, &s->plan, ret_named, walk)) < 0)
        return out_of_memory(r);
    return out_of_memory(prof__plan_finish(&s->plan, ret_named->root, ret_named->n_roots));
}

int prof__scan_look(struct prof__scan *s, bool walk, struct prof__named *ret_named)
{
    return look(s, walk, false, ret_named);
}

int prof__scan_pass(struct prof__scan *s, const struct prof__ways *ways, bool explain)
{
    struct prof__pass_count count = { 0 };
    struct prof__named named;
    uint64_t before = s->sweep.read_bytes;
    int r = look(s, true, ways != NULL, &named);

    if (r < 0)
        return r;
    if (!s->heap.why && s->blocks.n > 0)
        r = prof__flood(&s->heap, &s->blocks, &s->plan, &s->sweep, &s->pass_arena, &count, ways,
                        explain);
    if (r == 0 && wants_references(s)) {
        r = make_plan(s, &s->all, &named, false);
        if (r == 0)
            r = prof__plan_finish(&s->all, named.root, named.n_roots);
        if (r == 0 && s->blocks.n > 0 && (s->heap.why || s->heap.missed > 0))
            r = prof__refs_pass(&s->blocks, &s->all, &s->sweep, &s->pass_arena, &count, ways, false,
                                explain);
        if (r == 0 && s->fed.n > 0)
            r = prof__refs_pass(&s->fed, &s->all, &s->sweep, &s->pass_arena, &count, ways, true,
                                explain);
    }
    if (r == 0)
        note_pass(s, &count, before);
    s->report.cpu_ns = s->pace.used_ns;
    s->report.wall_ns = prof__monotonic_ns() - s->start_ns;
    return out_of_memory(r);
}

int prof__scan_rest(struct prof__scan *s)
{
    return cancelled(prof__pace_sleep(&s->pace, (int64_t)s->setup->o.interval_ms * 1000 * 1000));
}

/* --- what to say of it ----------------------------------------------------------------------- */

static const char *looked_at(const struct prof__scan_report *r, struct prof__arena *a)
{
    return prof__arena_printf(
        a,
        "looked for %zu sampled blocks in %d passes over %.1f MiB, %s; %zu younger ones were left "
        "out; %.1f s, %.1f s of processor time\n",
        r->blocks, r->passes, (double)r->read_bytes / (1 << 20),
        r->walked ? "along glibc's heap" : "by references from all memory", r->young,
        (double)r->wall_ns / 1e9, (double)r->cpu_ns / 1e9);
}

const char *prof__scan_notes(const struct prof__scan *s, struct prof__arena *a)
{
    const struct prof__scan_report *r = &s->report;
    const char *line[16];
    size_t n = 0;

    line[n++] = looked_at(r, a);
    if (!r->walked && r->why_not && r->blocks)
        line[n++] = prof__arena_printf(a,
                                       "%s: what only unsampled leaked blocks point to counts as "
                                       "in use\n",
                                       r->why_not);
    if (r->garbled_bytes || (r->walked && r->missed))
        line[n++] = prof__arena_printf(a,
                                       "%.1f KiB of the heap changed too fast to be walked and "
                                       "count as in use; %zu sampled blocks were judged by "
                                       "references\n",
                                       (double)r->garbled_bytes / 1024, r->missed);
    if (r->swapped_pages)
        line[n++] = prof__arena_printf(a,
                                       "%llu pages are swapped out and were not read, so there is "
                                       "no verdict; swap=1 reads them\n",
                                       (unsigned long long)r->swapped_pages);
    if (r->presence_unknown)
        line[n++] = "/proc/self/pagemap cannot be read: pages that are swapped out were missed\n";
    if (r->silent || r->unreadable)
        line[n++] = prof__arena_printf(a,
                                       "registers and stack pointers of %u threads could not be "
                                       "read\n",
                                       r->silent + r->unreadable);
    if (r->hidden_regs)
        line[n++] = prof__arena_printf(a,
                                       "%u registers of waiting threads could not be read: what "
                                       "hangs from no more blocks than that is only possibly "
                                       "leaked\n",
                                       r->hidden_regs);
    if (r->descriptors)
        line[n++] = prof__arena_printf(a,
                                       "%u descriptors could not be looked at: pointers in their "
                                       "epoll sets were missed\n",
                                       r->descriptors);
    if (r->own_unlisted)
        line[n++] = prof__arena_printf(a,
                                       "%llu bytes of libprof's own memory were taken for the "
                                       "program's: leaks may be missing\n",
                                       (unsigned long long)r->own_unlisted);
    if (r->tagged)
        line[n++] = prof__arena_printf(a, "%llu pointers had a tag in their upper 16 bits\n",
                                       (unsigned long long)r->tagged);
    return prof__arena_join(a, line, n);
}
