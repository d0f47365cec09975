/*
 * bounds.h - which memory a walk may read.
 *
 * A window [low, high) that is known to be readable: this thread's own stack, from the innermost
 * frame up, as a rule. On any other stack (a coroutine's, an alternate signal stack) it is a page
 * or two around the current frame, probed as the walk goes up.
 */
#ifndef PROF_UNWIND_BOUNDS_H
#define PROF_UNWIND_BOUNDS_H

#include "arch/thread.h"
#include "base/thread.h"

struct prof__bounds {
    uintptr_t low, high;
    uintptr_t shift; /* added to an address before it is read: a copy lies elsewhere */
    enum {
        PROF__BOUNDS_OWN,     /* the thread's own stack: `high` is its end */
        PROF__BOUNDS_OTHER,   /* one that it stands on */
        PROF__BOUNDS_KERNEL,  /* the same, but the way up was guessed: the kernel reads */
        PROF__BOUNDS_DOUBTED, /* the thread's own, but the same, as its beginning is not known */
        PROF__BOUNDS_COPY,
    } of;
    bool whole; /* of a copy: `high` is the end of the stack */
};

PROF_COLD void prof__bounds_locate(struct prof__bounds *b, uintptr_t sp);

/* The window for a walk that starts at `sp`. Never fails: it may be empty. Context: signal. */
static inline void prof__bounds_start(struct prof__bounds *b, uintptr_t sp)
{
    b->low = sp;
    b->high = prof__self.stack_high;
    b->shift = 0;
    b->of = PROF__BOUNDS_OWN;
    if (PROF_UNLIKELY(sp < prof__self.stack_low || sp >= b->high))
        prof__bounds_locate(b, sp);
}

/* Read the word at `at` of a frame whose innermost word is at `sp`, or in the red zone below it,
 * moving the window if need be. False: not readable, or too far away to be of that frame. Context:
 * signal. */
bool prof__bounds_read(struct prof__bounds *b, uintptr_t sp, uintptr_t at, uintptr_t *ret);

/* Is [at, ...) beyond the end of the stack, so that nobody's frame can be there? */
static inline bool prof__bounds_ends(const struct prof__bounds *b, uintptr_t at)
{
    if (b->of == PROF__BOUNDS_DOUBTED)
        return at >= prof__self.stack_high;
    return at >= b->high && (b->of == PROF__BOUNDS_OWN || (b->of == PROF__BOUNDS_COPY && b->whole));
}

/* From here on what is on the stack is believed without proof. */
void prof__bounds_doubt(struct prof__bounds *b);

/* How far from a thread's control block libc keeps the stack's beginning; 0: not known. */
extern int32_t prof__stack_block_at;

#endif
