/*
 * entered.h - the caller's own sink, called from inside the profiler.
 *
 * While something is written, what the libraries we use allocate is not the program's, and what is
 * computed is in our way. But the sink is the program's: it may allocate what the profiles are to
 * show, and count on its traps.
 */
#ifndef PROF_ENCODE_ENTERED_H
#define PROF_ENCODE_ENTERED_H

#include <prof/prof.h>

#include "arch/arithmetic.h"
#include "base/thread.h"

struct prof__sink {
    prof_sink_fn *fn;
    void *arg;
    bool entered;     /* the profiler, here: not when the thread is hidden anyway */
    uintptr_t busy;   /* where it was entered */
    uint64_t program; /* its arithmetic */
    bool is_used;     /* there is no starting afresh */
};

/* Inlined, since public functions enter the profiler in their own frame: a dump of all threads
 * shows the calling one from the caller of that frame on (prof__entered_from()). */
static inline __attribute__((always_inline)) struct prof__sink prof__sink_enter(prof_sink_fn *fn,
                                                                                void *arg)
{
    bool entered = prof__enter(&prof__self);

    return (
        struct prof__sink) { fn, arg, entered, prof__self.busy, prof__arithmetic_begin(), false };
}

static inline void prof__sink_leave(const struct prof__sink *s)
{
    prof__arithmetic_end(s->program);
    if (s->entered)
        prof__leave(&prof__self);
}

/* A prof_sink_fn; `sink` is a struct prof__sink. */
static inline int prof__sink_pass(void *sink, const void *data, size_t size)
{
    struct prof__sink *s = sink;

    s->is_used = true;
    prof__sink_leave(s);
    int r = s->fn(s->arg, data, size);
    prof__self.busy = s->busy;
    s->program = prof__arithmetic_begin();
    return r;
}

#endif
