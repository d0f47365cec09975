/*
 * handed_out.c - functions that come between the hooks and the real ones when frees go by the
 * hooks.
 *
 * A block whose free was not seen stays in the profile until something else is at its address. That
 * could be found out at each allocation; but malloc()'s hook ends in a jump and never sees the
 * address, and most programs have no such frees. So nothing is done until a sampled block turns up
 * at an address that has a record. From then on the entries of prof__real lead here where a hook
 * ends in a jump: each calls the real function and ends whatever is recorded of the memory that it
 * returns. Hooks that charge after the call, as those of an allocator's own doors, know the
 * address, and need but a flag.
 *
 * An allocator may implement one door by another and reach that through us; then the inner one has
 * looked, and the block may have a record by now. realloc() that does not move keeps its block, in
 * which a pool's own blocks may live. Context: hook.
 */
#include "hooks/handed_out.h"

#include <stddef.h>

#include "hooks/real.h"
#include "record/collect_heap.h"

_Atomic bool prof__handed_out_watched;
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

/* Any number of threads may be calling through the entries meanwhile. */
#define TAKE_OVER(door) __atomic_store_n(&prof__real.door, look_##door, __ATOMIC_RELEASE)

static void begin(void)
{
    TAKE_OVER(malloc);
    TAKE_OVER(calloc);
    TAKE_OVER(realloc);
    prof__handed_out_watched = true;
}

void prof__handed_out_prepare(void)
{
    plain = prof__real;
    prof__heap_can_watch(begin);
}
