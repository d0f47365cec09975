/*
 * threads.h - every thread of another's image: its stack, what it waits for, and whose lock.
 *
 * Stacks are walked by elfutils' libdwfl along the unwind tables of the program's files; memory is
 * the image's. Of a thread that waits only the stack pointer is known (image/foreign.h), which is
 * enough for code whose frames are laid out from it; where a frame is laid out from rbp, what rbp
 * was is looked for on the stack, and believed only if the walk then comes to the stack's end.
 */
#ifndef PROF_OUTSIDE_THREADS_H
#define PROF_OUTSIDE_THREADS_H

#include "encode/encode.h"
#include "image/foreign.h"

enum prof__waits_for {
    PROF__WAITS_UNKNOWN,
    PROF__WAITS_MUTEX, /* `owner` has it */
    PROF__WAITS_JOIN,  /* for `owner` to end */
};

struct prof__outside_thread {
    const struct prof__image_thread *thread;
    uint64_t *pc; /* innermost first; of an instruction of the frame's function */
    const struct prof__symbols **symbols; /* of each */
    size_t n;
    bool complete;   /* to the stack's end */
    bool guessed;    /* with a frame pointer that was looked for */
    const char *why; /* there are no frames; NULL: there are */
    enum prof__waits_for waits;
    uint64_t lock;  /* address of the mutex */
    pid_t owner;    /* 0: not known */
    int cycle;      /* number of the deadlock that it is in; 0: none */
    uint32_t group; /* the first thread with the same stack */
};

struct prof__outside_threads {
    struct prof__outside_thread *thread;
    size_t n;
    int cycles;
    struct prof__modules modules;
};

/* Of an image that was refreshed. Everything is in `a`, and in the image. 0, or a negative errno,
 * the sentence set. */
int prof__outside_threads(struct prof__image *image, struct prof__arena *a,
                          struct prof__outside_threads *ret);

/* The frames of the image's threads (t->frame), so that what a stack holds is named by function.
 * In the image's arena; a thread that cannot be walked gets none. */
void prof__outside_frames(struct prof__image *image, struct prof__arena *a);

/* As text, a block for each stack, deadlocks first. */
int prof__outside_threads_text(const struct prof__outside_threads *t, struct prof__arena *a,
                               prof_sink_fn *sink, void *arg);

/* As a report, of type threads/count. 0 or -ENOMEM. */
int prof__outside_threads_report(const struct prof__outside_threads *t, struct prof__arena *a,
                                 struct prof__report *ret);

#endif
