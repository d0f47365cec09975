/*
 * thread.h - the little that libprof keeps for each thread.
 *
 * One struct in initial-exec thread-local storage: reached by one %fs-relative access from every
 * object, never allocated, never freed. Zeroed memory is a valid new thread. A dlopen()ed library
 * shares a small reserve of such storage, hence the size limit.
 */
#ifndef PROF_BASE_THREAD_H
#define PROF_BASE_THREAD_H

#include "base/compiler.h"

struct prof__thread {
    uint64_t bytes_left;     /* to the next heap sample; an allocation >= this is the one */
    volatile uintptr_t busy; /* not 0: in the profiler, or hidden, so record nothing */
    uint32_t labels;         /* the current label set, an id of labels.h */
    uint32_t cut;         /* not 0: bytes_left is part of a gap, of which the rest is to be drawn */
    uint64_t interval;    /* mean of the gap now running; 0: none has been drawn */
    uint64_t rng;         /* state of random.h; 0: unseeded */
    uint64_t samples;     /* heap samples taken: tells a hook whether an inner one recorded */
    uintptr_t stack_low;  /* bounds of this thread's own stack, found by unwind/bounds.c; */
    uintptr_t stack_high; /* 0: not looked for yet */
};

static_assert(sizeof(struct prof__thread) <= 64, "one cache line of a scarce kind of memory");

extern PROF_SHARED _Thread_local struct prof__thread prof__self
    __attribute__((tls_model("initial-exec")));

/* `busy` of a thread that is left out of every profile. */
#define PROF__HIDDEN UINTPTR_MAX

/* In `busy` beside the place: libprof itself is calling a function that it hooks. Of a thread that
 * is only busy, or hidden, that is not known: it may be in the program's code. */
#define PROF__OWN_CALL ((uintptr_t)1)

static inline bool prof__thread_in_own_call(const struct prof__thread *t)
{
    return t->busy & PROF__OWN_CALL && t->busy != PROF__HIDDEN;
}

/*
 * Everything the profiler does that may allocate, lock or be interrupted by its own hooks goes
 * between these two. False: already inside, so leave at once. Context: signal.
 *
 * `busy` is where on the stack the profiler was entered. A frame above that place on the same stack
 * proves that the entry is history: a signal handler of the program's has jumped out of it with
 * longjmp(), and without this the thread would be blind for ever. Where stacks are more than one it
 * counts as history only if no handler can stand on another one above the profiler.
 */
PROF_SHARED PROF_COLD bool prof__entry_is_history(const struct prof__thread *t, uintptr_t sp);

static inline __attribute__((always_inline)) bool prof__enter_at(struct prof__thread *t,
                                                                 uintptr_t here)
{
    if (t->busy && (here < t->busy || !prof__entry_is_history(t, here)))
        return false;
    t->busy = here;
    atomic_signal_fence(memory_order_seq_cst);
    return true;
}

static inline __attribute__((always_inline)) bool prof__enter(struct prof__thread *t)
{
    return prof__enter_at(t, (uintptr_t)__builtin_frame_address(0));
}

static inline void prof__leave(struct prof__thread *t)
{
    atomic_signal_fence(memory_order_seq_cst);
    t->busy = 0;
}

/* Where the function returns to that has entered; NULL: none has. The word behind the one that a
 * frame address points to, in every ABI that has frame records. Context: signal. */
static inline const void *prof__entered_from(const struct prof__thread *t)
{
    uintptr_t frame = t->busy == PROF__HIDDEN ? t->busy : t->busy & ~PROF__OWN_CALL;

    return frame && frame != PROF__HIDDEN ? ((const void *const *)frame)[1] : NULL;
}

/* Give the thread's random generator a first state. Context: signal. */
void prof__thread_seed(struct prof__thread *t);

#endif
