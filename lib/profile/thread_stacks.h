/*
 * thread_stacks.h - the stacks of all threads of the process, as they are now.
 */
#ifndef PROF_PROFILE_THREAD_STACKS_H
#define PROF_PROFILE_THREAD_STACKS_H

#include <sys/types.h>

#include "arch/registers.h"
#include "base/arena.h"
#include "table/stack_table.h"
#include "unwind/stack.h"

/* Where a thread stood when its stack was taken. */
struct prof__thread_place {
    uintptr_t sp, pc; /* 0: not known */
    uintptr_t word[PROF__CONTEXT_WORDS];
    unsigned n_words; /* of its registers: all, or what the kernel tells of a thread that waits */
    /* Of a thread that waits: its frames, if it could be walked. */
    size_t n_frames;
    const uintptr_t *frame_pc;
    const struct prof__stack_frame *frame;
};

struct prof__thread_stack {
    pid_t tid;
    prof__stack_id stack; /* where there is none, a pseudo frame that says why */
    uint32_t labels;
    bool asked; /* it was running */
    bool hidden;
    struct prof__thread_place *place; /* NULL: not asked for */
};

/*
 * All threads but the hidden ones, in the order of the kernel's list. Threads that wait are not
 * disturbed; those that run are asked, and have 100 ms for the answer, all together, or a second if
 * there are too few processors for them. -ENOENT and the like without /proc, the sentence set;
 * -ENOMEM.
 */
int prof__threads_take(struct prof__arena *a, struct prof__thread_stack **ret, size_t *ret_n);

/* The same of all threads, the hidden ones too, each with its place. */
int prof__threads_take_places(struct prof__arena *a, struct prof__thread_stack **ret,
                              size_t *ret_n);

/* How many there are, or a negative errno. */
int64_t prof__threads_count(void);

/* Of the last time. */
struct prof__threads_missing {
    unsigned no_answer;  /* running threads that did not answer */
    int ask_error;       /* they could not be asked; 0: they could, or block the signal */
    unsigned unreadable; /* waiting threads at whose place nothing may look */
    int error;           /* why not */
    int64_t waited_ns;   /* for all that were running */
};
void prof__threads_missing(struct prof__threads_missing *ret);

#endif
