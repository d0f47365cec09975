/*
 * heap.c - what the heap and allocs profiles show of the rows that collect_heap.c fills.
 *
 * The same rows twice: a reader opens one on memory in use, the other on memory allocated.
 */
#include "base/sampler.h"
#include "profile/builtin.h"
#include "profile/gather.h"
#include "record/collect_heap.h"
#include "record/presence.h"

/* Of what is in use, which may have become less. */
static int64_t in_use(uint64_t allocated, uint64_t freed, int shift)
{
    return ((int64_t)(allocated - freed) + ((int64_t)1 << (shift - 1))) >> shift;
}

static void heap_finish(const struct prof__values *raw, int64_t ret_value[PROF__VALUES_MAX])
{
    const uint64_t *v = raw->value;

    ret_value[0] = prof__values_total(raw, 0, PROF__OBJECT_SHIFT);
    ret_value[1] = prof__values_total(raw, 1, PROF__BYTE_SHIFT);
    ret_value[2] = in_use(v[0], v[2], PROF__OBJECT_SHIFT);
    ret_value[3] = in_use(v[1], v[3], PROF__BYTE_SHIFT);
}

static int64_t heap_period(void)
{
    return (int64_t)prof__heap_rate();
}

static void append_pools(char *buf, size_t size, int *length)
{
    unsigned seen = prof__heap_pools_seen();

    if (seen & PROF__POOL_PYTHON)
        prof__append(buf, size, length,
                     "Python has a pool of its own, of which nothing is seen: start it "
                     "with PYTHONMALLOC=malloc to see its objects\n");
    if (seen & PROF__POOL_PHP)
        prof__append(buf, size, length,
                     "PHP has a pool of its own, of which nothing is seen: start it with "
                     "USE_ZEND_ALLOC=0 to see what scripts allocate\n");
    if (seen & PROF__POOL_RUBY)
        prof__append(buf, size, length,
                     "Ruby keeps its objects in pages of its own, which are seen as such or not at "
                     "all; no setting changes that\n");
}

int prof__heap_status(char *buf, size_t size)
{
    enum prof__hooks how = prof__hooks_how();
    uint64_t rate = prof__heap_rate();
    int length = 0;

    if (rate == 0)
        prof__append(buf, size, &length,
                     "heap sampling is off: set LIBPROF_HEAP_RATE=512k or call "
                     "prof_set_heap_rate(524288)\n");
    if (how == PROF__HOOKS_NONE)
        prof__append(
            buf, size, &length,
            "malloc is not watched: link libprof-hooks, or run under profrun; only blocks fed "
            "by prof_heap_alloc() show\n");
    else if (how == PROF__HOOKS_ASIDE)
        prof__append(
            buf, size, &length,
            "malloc is not watched: it belongs to a sanitizer in this process; only blocks fed by "
            "prof_heap_alloc() show\n");
    else if (how == PROF__HOOKS_WRAPPED)
        prof__append(buf, size, &length,
                     "malloc is watched where the program itself calls it, not in shared "
                     "libraries: link libprof-hooks for those\n");
    else if (how == PROF__HOOKS_BYPASSED)
        prof__append(
            buf, size, &length,
            "malloc is not watched: that of %s comes before libprof-hooks in the link order or in "
            "LD_PRELOAD, or libprof-hooks was loaded with dlopen()\n",
            prof__hooks_before());
    if (prof__heap_bypassed_objects())
        prof__append(buf, size, &length,
                     "%u loaded objects have a malloc of their own, whose blocks are not seen: "
                     "%s\n",
                     prof__heap_bypassed_objects(), prof__heap_bypassed_names());
    append_pools(buf, size, &length);
    if (prof__heap_lost())
        prof__append(buf, size, &length, "%llu live blocks are missing from heap: out of memory\n",
                     (unsigned long long)prof__heap_lost());
    if (prof__heap_unseen_frees())
        prof__append(
            buf, size, &length,
            "%llu sampled blocks were freed where no hook sees it (RTLD_DEEPBIND, an "
            "allocator's own functions); such a block counts as in use until its memory is "
            "handed out again\n",
            (unsigned long long)prof__heap_unseen_frees());
    if (prof__heap_foreign_frees())
        prof__append(buf, size, &length,
                     "prof_heap_free() was given %llu blocks that were not live\n",
                     (unsigned long long)prof__heap_foreign_frees());
    prof__append_losses(buf, size, &length);
    return length;
}

struct aged {
    struct prof__gather gather;
    int64_t now_s, min_s, max_s;
};

static int add_aged(uintptr_t key, const struct prof__live *live, void *arg)
{
    struct aged *a = arg;
    int64_t age = PROF_MAX(a->now_s - (int64_t)live->birth_s, 0);

    (void)key;
    if (live->row && age >= a->min_s && (a->max_s == 0 || age <= a->max_s))
        prof__gather_add(&a->gather, live->row, NULL, age, live->objects, live->bytes);
    return 0;
}

/* Only blocks of some age, which rows do not know: from the live blocks themselves. */
static int heap_take(const struct prof_write_options *w, struct prof__snapshot *ret)
{
    if (!w || (w->min_age_s <= 0 && w->max_age_s <= 0))
        return prof__snapshot_take(PROF__TABLE_HEAP, ret);
    struct aged aged = { .min_s = w->min_age_s, .max_s = PROF_MAX(w->max_age_s, 0) };
    size_t n = prof__live_count();
    int r = prof__gather_start(&aged.gather, ret, n + n / 8 + 64);
    aged.now_s = ret->monotonic_ns / 1000000000;
    if (r == 0)
        prof__live_each(add_aged, &aged);
    return r;
}

/* clang-format off */
#define HEAP_TABLE                                                                                 \
    .table = PROF__TABLE_HEAP, .text = PROF__TEXT_HEAP, .n_values = 4,                             \
    .value_type = {                                                                                \
        { "alloc_objects", "count" }, { "alloc_space", "bytes" },                                  \
        { "inuse_objects", "count" }, { "inuse_space", "bytes" },                                  \
    },                                                                                             \
    .period_type = { "space", "bytes" }, .period = heap_period, .has_sizes = true,                 \
    .finish = heap_finish, .take = heap_take, .status = prof__heap_status
/* clang-format on */

struct prof_profile prof__profile_heap = {
    .name = "heap",
    .description = "Memory in use now, by who allocated it: where to look for a leak.",
    HEAP_TABLE,
};

struct prof_profile prof__profile_allocs = {
    .name = "allocs",
    .description = "All memory allocated since the start, freed or not: where the churn is.",
    .default_type = "alloc_space",
    HEAP_TABLE,
};
