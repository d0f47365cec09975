/*
 * collect.h - what the event sources (hooks, the feeding API) call.
 *
 * The inline parts are the hot path: a few instructions, no call. Everything rare is behind one
 * branch. Context of all of it: hook.
 */
#ifndef PROF_COLLECT_H
#define PROF_COLLECT_H

#include "base/compiler.h"
#include "base/thread.h"
#include "live_table.h"

/* --- heap ----------------------------------------------------------------------------------- */

/*
 * Charge an allocation of `size` bytes to this thread. True: it is due, and once the block is
 * there prof__heap_sample() must be called for it, or prof__heap_undo() if the allocation failed.
 *
 * "Due" is size >= bytes_left, so a new thread, a rate change and a due sample are one branch.
 * A size of 0 counts as 1 and takes the slow path; one too large for any malloc is always due,
 * and undone when malloc has refused it.
 */
static inline bool prof__heap_due(size_t size)
{
    struct prof__thread *t = &prof__self;
    uint64_t left = t->bytes_left;

    t->bytes_left = left - size;
    return PROF_UNLIKELY(left <= size) || PROF_UNLIKELY(size == 0);
}

/* The block `p`, for which prof__heap_due() was true, exists. `return_address` is that of the
 * hook. errno, MXCSR and the x87 state are kept. */
PROF_SHARED PROF_COLD void prof__heap_sample(const void *p, size_t size,
                                             const void *return_address);
PROF_SHARED PROF_COLD void prof__heap_undo(size_t size);

/* Ask before freeing: might this be a sampled block? */
static inline bool prof__heap_is_sampled(const void *p)
{
    return PROF_UNLIKELY(prof__live_maybe((uintptr_t)p));
}

/* Forget `p`, before the real free: once libc has it back, another thread may be given the same
 * address. */
PROF_SHARED PROF_COLD void prof__heap_forget(const void *p);

/* For realloc: take the record of `p` out before the call; put it back if the call failed, else
 * count it as freed. ret_live->row is 0 when there was none. */
PROF_SHARED PROF_COLD void prof__heap_take(const void *p, struct prof__live *ret_live);
PROF_SHARED PROF_COLD void prof__heap_put_back(const void *p, const struct prof__live *live);
PROF_SHARED PROF_COLD void prof__heap_count_free(const struct prof__live *live);

/* --- code ----------------------------------------------------------------------------------- */

/* Around a dlclose(): what was at an address must not be confused with what comes there next.
 * Context: normal. */
PROF_SHARED void prof__code_before_unload(void);
PROF_SHARED void prof__code_after_unload(void);

/* --- start ---------------------------------------------------------------------------------- */

/* The hooks are in this process. `preloaded` rather than linked. */
PROF_SHARED void prof__hooks_present(bool preloaded);

#endif
