/*
 * write.h - what writing a profile and writing a window share.
 */
#ifndef PROF_PROCESS_WRITE_H
#define PROF_PROCESS_WRITE_H

#include <prof/prof.h>

#include "arch/arithmetic.h"
#include "base/reserve.h"
#include "base/thread.h"
#include "profile/registry.h"
#include "profile/snapshot.h"

/* The caller's options, as this library knows them. -EINVAL, -E2BIG; the sentence set. */
int prof__write_options_read(const struct prof_write_options *from, struct prof_write_options *ret);

/* What `p` has now, into an empty snapshot. */
int prof__take_snapshot(const struct prof_profile *p, const struct prof_write_options *w,
                        struct prof__snapshot *ret);

/* The caller's own sink, which may allocate what the profiles are to show, or count on its traps.
 */
struct prof__sink {
    prof_sink_fn *fn;
    void *arg;
    bool entered;     /* the profiler, here: not when the thread is hidden anyway */
    uintptr_t busy;   /* where it was entered */
    uint32_t program; /* its arithmetic */
    bool is_used;     /* there is no starting afresh */
};

/* The program goes on. */
static inline void prof__sink_leave(const struct prof__sink *s)
{
    prof__arithmetic_end(s->program);
    if (s->entered)
        prof__leave(&prof__self);
}

/* What is allocated until prof__sink_leave() by the libraries we use is not the program's, and what
 * is computed, is in our way. Inlined, since public functions enter the profiler in their own
 * frame: a dump of all threads shows the calling one from the caller of that frame on
 * (prof__entered_from()). */
static inline __attribute__((always_inline)) struct prof__sink prof__sink_enter(prof_sink_fn *fn,
                                                                                void *arg)
{
    bool entered = prof__enter(&prof__self);

    return (
        struct prof__sink) { fn, arg, entered, prof__self.busy, prof__arithmetic_begin(), false };
}

/* Write a snapshot, of the window of that length if it is not 0. */
int prof__write_snapshot(const struct prof_profile *p, const struct prof__snapshot *s,
                         int64_t duration_ns, const struct prof_write_options *o,
                         struct prof__claim *claim, struct prof__sink *sink);

/* Windows may hold some times this many bytes together. */
void prof__windows_set_limit(size_t memory_limit);

#endif
