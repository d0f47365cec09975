/*
 * memory_report.c - the profile `memory`: parts as stacks, from whose it is, or from who has mapped
 * it outward, to what it is.
 *
 * So flame graphs, `go tool pprof` and folded stacks show it as any other profile. Each sample has
 * the label "kind", and "advice", a sentence on what can be done about it.
 */
#include <errno.h>
#include <prof/prof.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "encode/textout.h"
#include "profile/builtin.h"
#include "profile/report.h"
#include "scan/memory.h"
#include "scan/memory_text.h"
#include "table/rows.h"

enum {
    FRAMES_START = 0x2000, /* as of holders: where nothing is ever mapped */
    FRAMES_END = 0x10000,
};
static_assert(PROF__MEMORY_PARTS + 2 * PROF__MEMORY_KINDS < FRAMES_END - FRAMES_START,
              "each part and each kind has an address");

static const struct kind {
    const char *id, *words, *advice;
} kinds[PROF__MEMORY_KINDS] = {
    [PROF__MEMORY_HEAP] = { "heap", "heap in use, by the heap profile",
                            "/debug/pprof/heap says who allocated it, holders who keeps it, leaks "
                            "what nobody keeps" },
    [PROF__MEMORY_UNTOLD] = { "heap-untold", "heap in use that the heap profile does not tell",
                              "the headers of blocks and their rounding up, what was allocated "
                              "before libprof was there, and blocks freed into threads' caches "
                              "(GLIBC_TUNABLES=glibc.malloc.tcache_count=0)" },
    [PROF__MEMORY_FREE] = { "heap-free", "free in the heap, whole pages",
                            "malloc_trim(0) gives it back to the kernel; where it comes again: "
                            "M_TRIM_THRESHOLD, and MALLOC_ARENA_MAX=2 for arenas of threads" },
    [PROF__MEMORY_HOLES] = { "heap-holes", "free in the heap, between blocks in use",
                             "fragmentation, which malloc_trim() cannot give back: blocks that "
                             "stay lie among others that went; heap?min_age=10m names who made "
                             "those that stay" },
    [PROF__MEMORY_ALLOCATOR] = { "allocator", "held by the allocator, beyond the heap profile",
                                 "what is free, and its tables: the allocator's own statistics "
                                 "tell more" },
    [PROF__MEMORY_ANONYMOUS] = { "anonymous", "mapped by the program, not by malloc",
                                 "memory of mmap(): buffers, pools, the heap of a runtime; "
                                 "/debug/pprof/mmap has the stacks, also of what is not resident" },
    [PROF__MEMORY_STACKS] = { "stacks", "stacks of threads",
                              "/debug/pprof/threads says what they are for: fewer threads, or "
                              "less on each stack; what was once used of one stays" },
    [PROF__MEMORY_ENDED] = { "stacks-kept", "stacks that libc keeps for threads to come",
                             "up to 40 MiB; GLIBC_TUNABLES=glibc.pthread.stack_cache_size bounds "
                             "it" },
    [PROF__MEMORY_DATA] = { "data", "variables of the program and its libraries",
                            "nm -S --size-sort FILE lists the large ones" },
    [PROF__MEMORY_CODE] = { "code", "code and constants of the program and its libraries",
                            "shared with all processes that run it, and dropped by the kernel "
                            "when memory is short" },
    [PROF__MEMORY_FILES] = { "files", "files mapped",
                             "page cache, which the kernel takes back when memory is short, "
                             "unless it has been written to" },
    [PROF__MEMORY_SHARED] = { "shared", "shared memory",
                              "each process that has it counts it whole in its RSS; it is there "
                              "until the last one leaves it" },
    [PROF__MEMORY_HUGETLB] = { "hugetlb", "in reserved huge pages, which RSS does not count",
                               "vm.nr_hugepages reserves them for the whole machine" },
    [PROF__MEMORY_KERNEL] = { "kernel", "mapped by the kernel", "" },
    [PROF__MEMORY_OWN] = { "libprof", "libprof itself", "LIBPROF_MEMORY_LIMIT bounds its tables" },
};

/* --- who has mapped it ------------------------------------------------------------------------ */

/* A snapshot with one sample for each part that somebody has mapped, in their order. */
static int snapshot_rows(const struct prof__memory *m, struct prof__snapshot *ret)
{
    ret->wall_ns = prof__wall_ns();
    ret->sample = prof__arena_array(&ret->arena, m->n + 1, sizeof(*ret->sample));
    if (!ret->sample)
        return -ENOMEM;
    for (size_t i = 0; i < m->n; i++) {
        uint32_t ref = m->part[i].row;

        if (ref)
            ret->sample[ret->n++] = (struct prof__sample) {
                .row = ref,
                .stack = atomic_load_explicit(&prof__rows_at(ref)->stack, memory_order_relaxed),
                .raw.value = { 1 },
            };
    }
    return 0;
}

/* --- frames ----------------------------------------------------------------------------------- */

struct maker {
    const struct prof__memory *memory;
    struct prof__report *report;
    struct prof__arena *arena;
    struct prof__location *location; /* those of the report, then ours */
    size_t n, n_own;
    uint32_t mapping;                        /* [memory] */
    uint32_t kind_frame[PROF__MEMORY_KINDS]; /* location + 1 */
};

static bool add_frame(struct maker *m, const char *text, uint32_t *ret)
{
    struct prof__line *line = prof__arena_alloc(m->arena, sizeof(*line));

    if (!line)
        return false;
    line->function = line->name = text;
    *ret = (uint32_t)m->n;
    m->location[m->n++] = (struct prof__location) {
        .address = FRAMES_START + ++m->n_own,
        .mapping = m->mapping,
        .n_lines = 1,
        .own_line = 1, /* none */
        .line = line,
    };
    return true;
}

static bool add_mapping(struct maker *m)
{
    struct prof__report *r = m->report;
    struct prof__report_mapping *mapping =
        prof__arena_array(m->arena, r->n_mappings + 1, sizeof(*mapping));

    if (!mapping)
        return false;
    if (r->n_mappings)
        memcpy(mapping, r->mapping, r->n_mappings * sizeof(*mapping));
    mapping[r->n_mappings] = (struct prof__report_mapping) {
        .start = FRAMES_START,
        .limit = FRAMES_END,
        .file = "[memory]",
        .build_id = "",
        .has_functions = true,
    };
    m->mapping = (uint32_t)r->n_mappings++;
    r->mapping = mapping;
    return true;
}

/* --- samples ---------------------------------------------------------------------------------- */

static const char *allocator_advice(const struct prof__memory *m)
{
    static const char *const known[][2] = {
        { "jemalloc", "jemalloc: mallctl(\"arena.4096.purge\") gives back what is free, "
                      "MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0 keeps none; "
                      "malloc_stats_print() tells the rest" },
        { "tcmalloc", "tcmalloc: MallocExtension_ReleaseFreeMemory() gives back what is free, "
                      "TCMALLOC_RELEASE_RATE says how soon; MallocExtension_GetStats() tells the "
                      "rest" },
        { "mimalloc", "mimalloc: mi_collect(true) gives back what is free, "
                      "MIMALLOC_PURGE_DELAY says how soon; mi_stats_print() tells the rest" },
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(m->allocator, known[i][0]) == 0)
            return known[i][1];
    return kinds[PROF__MEMORY_ALLOCATOR].advice;
}

static const char *advice_of(struct maker *m, const struct prof__memory_part *p)
{
    const char *advice =
        p->kind == PROF__MEMORY_ALLOCATOR ? allocator_advice(m->memory) : kinds[p->kind].advice;

    /* Half of it in huge pages: then a page of 4 KiB that is touched may cost 2 MiB. */
    if (p->kind == PROF__MEMORY_HUGETLB || p->huge < p->resident / 2 || p->huge == 0)
        return advice;
    char huge[PROF__HUMAN_SIZE];
    return prof__arena_printf(m->arena,
                              "%s in transparent huge pages, where one byte that is touched takes "
                              "2 MiB: madvise(MADV_NOHUGEPAGE) or prctl(PR_SET_THP_DISABLE); %s",
                              prof__human(huge, (int64_t)p->huge, "bytes"), advice);
}

/* What has no name of its own but a number. */
static const char *name_of(struct maker *m, const struct prof__memory_part *p)
{
    if (*p->name)
        return p->name;
    if (p->kind == PROF__MEMORY_STACKS)
        return prof__arena_printf(m->arena, "%u thread%s", m->memory->threads,
                                  m->memory->threads == 1 ? "" : "s");
    if (p->kind == PROF__MEMORY_ALLOCATOR)
        return m->memory->allocator;
    return "";
}

/* `by`: the stack that has mapped it, or NULL. */
static bool make_sample(struct maker *m, const struct prof__memory_part *p,
                        const struct prof__report_sample *by, struct prof__report_sample *out)
{
    const char *advice = advice_of(m, p), *name = name_of(m, p);
    uint32_t n = by ? by->n_locations : 0;
    uint32_t *location = prof__arena_array(m->arena, n + 2, sizeof(*location));
    struct prof__label *label = prof__arena_array(m->arena, 2, sizeof(*label));

    if (!advice || !name || !location || !label)
        return false;
    if (by)
        memcpy(location, by->location, n * sizeof(*location));
    else if (*name && !add_frame(m, name, &location[n++]))
        return false;
    if (!m->kind_frame[p->kind]) {
        if (!add_frame(m, kinds[p->kind].words, &location[n]))
            return false;
        m->kind_frame[p->kind] = location[n] + 1;
    }
    location[n++] = m->kind_frame[p->kind] - 1;
    label[0] = (struct prof__label) { .key = "kind", .value = kinds[p->kind].id };
    label[1] = (struct prof__label) { .key = "advice", .value = advice };
    *out = (struct prof__report_sample) {
        .location = location,
        .n_locations = n,
        .label = label,
        .n_labels = *advice ? 2 : 1,
        .value = { (int64_t)p->mapped, (int64_t)p->huge, (int64_t)p->swapped,
                   (int64_t)p->resident },
    };
    return true;
}

static int make_samples(struct maker *m)
{
    struct prof__report *r = m->report;
    const struct prof__report_sample *by = r->sample; /* of the parts that have a row */
    struct prof__report_sample *sample =
        prof__arena_array(m->arena, m->memory->n + 1, sizeof(*sample));
    size_t n = 0;

    m->location = prof__arena_array(
        m->arena, r->n_locations + m->memory->n + PROF__MEMORY_KINDS + 1, sizeof(*m->location));
    if (!sample || !m->location || !add_mapping(m))
        return -ENOMEM;
    if (r->n_locations)
        memcpy(m->location, r->location, r->n_locations * sizeof(*m->location));
    m->n = r->n_locations;
    for (size_t i = 0; i < m->memory->n; i++) {
        const struct prof__memory_part *p = &m->memory->part[i];
        const struct prof__report_sample *stack = p->row ? by++ : NULL;

        if ((p->resident | p->swapped | p->huge | p->mapped) == 0)
            continue;
        if (!make_sample(m, p, stack, &sample[n++]))
            return -ENOMEM;
    }
    r->sample = sample;
    r->n_samples = n;
    r->location = m->location;
    r->n_locations = m->n;
    return 0;
}

/* --- notes ------------------------------------------------------------------------------------ */

static const char *notes_of(const struct prof__memory *m, struct prof__arena *a)
{
    const char *line[8];
    char bytes[PROF__HUMAN_SIZE];
    size_t n = 0;

    if (m->page_tables)
        line[n++] = prof__arena_printf(a, "beside RSS the kernel has %s of page tables for it\n",
                                       prof__human(bytes, (int64_t)m->page_tables, "bytes"));
    if (m->look_bytes)
        line[n++] = prof__arena_printf(a, "without %s that this look takes meanwhile\n",
                                       prof__human(bytes, (int64_t)m->look_bytes, "bytes"));
    if (m->arena_heaps)
        line[n++] = prof__arena_printf(a, "malloc has %u heaps of arenas beside the main one\n",
                                       m->arena_heaps);
    if (!m->walked && m->why_not)
        line[n++] = prof__arena_printf(a, "malloc's heap was not walked: %s\n", m->why_not);
    if (m->garbled_bytes)
        line[n++] = prof__arena_printf(a, "%s of the heap changed too fast, and count as in use\n",
                                       prof__human(bytes, (int64_t)m->garbled_bytes, "bytes"));
    if (m->counted)
        line[n++] = "there is no /proc/self/smaps: pages were counted, those of zeros too, and "
                    "huge pages are not told\n";
    if (m->presence_unknown)
        line[n++] = "/proc/self/pagemap cannot be read: what is resident of parts of one mapping "
                    "is estimated, and swap within them is missed\n";
    return prof__arena_join(a, line, n);
}

/* --- the profile ------------------------------------------------------------------------------ */

static int build(const struct prof_profile *p, struct prof__scan *s,
                 const struct prof__memory_own *before, const struct prof__report_options *o,
                 struct prof__arena *a, struct prof__report *ret)
{
    struct prof__report_options one_by_one = *o;
    struct prof__snapshot rows = { 0 };
    struct prof__memory memory;
    struct maker m = { .memory = &memory, .report = ret, .arena = a };
    int r = prof__memory_take(s, before, a, &memory);

    one_by_one.one_by_one = one_by_one.own_lines = true;
    one_by_one.max_samples = 0;
    if (r == 0)
        r = snapshot_rows(&memory, &rows);
    if (r == 0 && !(rows.notes = notes_of(&memory, a)))
        r = -ENOMEM;
    if (r == 0)
        r = prof__report_build(p, &rows, &one_by_one, a, ret);
    if (r == 0)
        r = make_samples(&m);
    prof__snapshot_free(&rows);
    return r;
}

__attribute__((noinline)) static int report(const struct prof_profile *p,
                                            const struct prof_write_options *w,
                                            const struct prof__report_options *o,
                                            struct prof__arena *a, struct prof__report *ret)
{
    struct prof__memory_own *before = prof__arena_alloc(a, sizeof(*before));
    struct prof__scan_setup setup;
    struct prof__scan s;
    int r = prof__scan_setup(w->scan, 1, -1, &setup);

    if (r < 0 || !before)
        return r < 0 ? r : -ENOMEM;
    prof__memory_begin(before);
    r = prof__scan_begin(&s, &setup, (uintptr_t)__builtin_frame_address(0));
    if (r == 0)
        r = build(p, &s, before, o, a, ret);
    prof__scan_end(&s);
    return r;
}

static int64_t count(const struct prof_profile *p)
{
    (void)p;
    return 0;
}

struct prof_profile prof__profile_memory = {
    .name = "memory",
    .description = "Where memory is: what RSS is made of, heap, what malloc keeps beyond it, "
                   "stacks, mappings, and what can be done about each.",
    .table = PROF__TABLE_HEAP,
    .text = PROF__TEXT_COUNT,
    .n_values = 4,
    .value_type = { { "mapped", "bytes" },
                    { "huge", "bytes" },
                    { "swapped", "bytes" },
                    { "resident", "bytes" } },
    .period_type = { "space", "bytes" },
    .no_window = true,
    .count = count,
    .report = report,
    .write_text = prof__memory_write_text,
    .write_json = prof__memory_write_json,
};
