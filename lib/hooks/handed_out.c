/*
 * handed_out.c - functions that come between the hooks and the real ones when frees go by the
 * hooks.
 *
 * A block whose free was not seen stays in the profile until something else is at its address. That
 * could be found out at each allocation; but malloc()'s hook ends in a jump and never sees the
 * address, and most programs have no such frees. So nothing is done until a sampled block turns up
 * at an address that has a record. From then on the entries of prof__real lead here: each calls the
 * real function and ends whatever is recorded of the memory that it returns.
 *
 * An allocator may implement one door by another and reach that through us; then the inner one has
 * looked, and the block may have a record by now. realloc() that does not move keeps its block, in
 * which a pool's own blocks may live. Context: hook.
 */
#include "hooks/handed_out.h"

#include <stddef.h>

#include "hooks/real.h"
#include "record/collect_heap.h"

static struct prof__real plain; /* the real functions, from before */

static inline void *handed_out(void *p, size_t size, uint64_t samples_before)
{
    if (p && prof__self.samples == samples_before)
        prof__heap_handed_out(p, size);
    return p;
}

#define LOOK(size, call)                  \
    uint64_t before = prof__self.samples; \
    return handed_out(plain.call, size, before)

static void *look_malloc(size_t size)
{
    LOOK(size, malloc(size));
}

static void *look_calloc(size_t n, size_t size)
{
    LOOK(n * size, calloc(n, size));
}

static void *look_realloc(void *p, size_t size)
{
    uint64_t before = prof__self.samples;
    void *q = plain.realloc(p, size);

    return q == p ? q : handed_out(q, size, before);
}

static int look_posix_memalign(void **ret, size_t alignment, size_t size)
{
    uint64_t before = prof__self.samples;
    int r = plain.posix_memalign(ret, alignment, size);

    if (r == 0)
        handed_out(*ret, size, before);
    return r;
}

static void *look_aligned_alloc(size_t alignment, size_t size)
{
    LOOK(size, aligned_alloc(alignment, size));
}

static void *look_memalign(size_t alignment, size_t size)
{
    LOOK(size, memalign(alignment, size));
}

static void *look_valloc(size_t size)
{
    LOOK(size, valloc(size));
}

static void *look_pvalloc(size_t size)
{
    LOOK(size, pvalloc(size));
}

/* Any number of threads may be calling through the entries meanwhile. */
#define TAKE_OVER(door) __atomic_store_n(&prof__real.door, look_##door, __ATOMIC_RELEASE)

static void begin(void)
{
    TAKE_OVER(malloc);
    TAKE_OVER(calloc);
    TAKE_OVER(realloc);
    TAKE_OVER(posix_memalign);
    TAKE_OVER(aligned_alloc);
    TAKE_OVER(memalign);
    TAKE_OVER(valloc);
    TAKE_OVER(pvalloc);
}

void prof__handed_out_prepare(void)
{
    plain = prof__real;
    prof__heap_can_watch(begin);
}
