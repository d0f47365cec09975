/*
 * stack.h - the call stack of this thread, of an interrupted one, or of a copied one.
 *
 * What comes back are addresses of instructions, leaf first: of a caller, its call instruction's
 * last byte (return address - 1); of the innermost frame of a signal context, and of a frame that
 * a signal interrupted, the exact pc. So an address can be looked up as it is.
 *
 * A stack that could not be walked to its end has a pseudo frame as its root, saying why. Pseudo
 * frames are small numbers in page 1, where nothing is ever mapped.
 *
 * Safe in a signal handler and in a malloc hook: no malloc, no lock, errno kept, reads only what is
 * known to be this thread's stack or has been probed, and of objects only what stays or through the
 * kernel. What it needs of the stack is PROF__STACK_NEED, its caller's part included.
 */
#ifndef PROF_UNWIND_STACK_H
#define PROF_UNWIND_STACK_H

#include "arch/site.h"
#include "base/compiler.h"

/* Most frames kept of one stack, a pseudo frame included. */
#define PROF__STACK_MAX 128

enum prof__pseudo {
    PROF__PC_LOST = 0x1001, /* [lost: table full] */
    PROF__PC_TRUNCATED,     /* [truncated: deeper than 127 frames] */
    PROF__PC_NO_INFO,       /* [no unwind info] */
    PROF__PC_UNREADABLE,    /* [unreadable stack] */
    PROF__PC_OTHER,         /* [other: below the export limit] */
    PROF__PC_SKIPPED,       /* [skip past the end of the stack] */
    PROF__PC_PROFILER,      /* [libprof at work] */
    PROF__PC_NO_ANSWER,     /* [no answer] */
    PROF__PC_NO_STACK,      /* [no stack] */
    PROF__PC_ENDED,         /* [thread ended before its sample] */
    PROF__PC_FOREIGN,       /* [thread not made by libc] */
    PROF__PC_BLOCKED,       /* [thread blocks SIGPROF] */
    PROF__PC_NO_TIMER,      /* [thread without a timer] */
    PROF__PC_UNSEEN,        /* [threads too brief to be seen] */
    PROF__PC_MAPPED_HEAP,   /* [heap of libc's malloc] */
    PROF__PC_MAPPED_LIBC,   /* [stacks, libc's malloc and others, mapped unseen] */
    PROF__PC_MAPPED_FILES,  /* [program, libraries and files, mapped unseen] */
    PROF__PC_PSEUDO_END,
};

static inline bool prof__pc_is_pseudo(uintptr_t pc)
{
    return pc >= PROF__PC_LOST && pc < PROF__PC_PSEUDO_END;
}

/*
 * The calling thread's stack, from the frame that `return_address` returns into, for a caller that
 * passes its own __builtin_return_address(0): so no frame of ours is ever seen. Should that frame
 * not be met, the stack is that one frame and a pseudo frame. Fills at most `max` (<=
 * PROF__STACK_MAX) and returns how many, at least 1. Context: signal.
 */
size_t prof__stack_here(const void *return_address, uintptr_t *pcs, size_t max);

/* The same from a site on, which may spare the way through our own frames. Context: signal. */
size_t prof__stack_from(const struct prof__site *site, uintptr_t *pcs, size_t max);

/* The stack that a signal interrupted: `ucontext` is the handler's third argument.
 * Context: signal. */
size_t prof__stack_interrupted(const void *ucontext, uintptr_t *pcs, size_t max);

/*
 * The stack of a thread that stands still in a system call, from a copy of its stack: `size` bytes
 * from `sp` up. Of its registers only these two are known, so the walk ends in a pseudo frame where
 * another is needed that no inner frame has saved. Context: normal.
 */
struct prof__stack_copy {
    uintptr_t pc, sp;
    const void *bytes;
    size_t size;
    bool whole; /* the last of them is the last of the stack */
};

/* For each pc, what was found on stepping out of its frame. */
struct prof__stack_frame {
    uintptr_t cfa;  /* the frame's words are below; 0: not known */
    uint32_t known; /* bit n: register n of the caller is known, from this frame or an inner one */
};
/* `frames`: max of them, or NULL. */
size_t prof__stack_copied(const struct prof__stack_copy *copy, uintptr_t *pcs,
                          struct prof__stack_frame *frames, size_t max);

/* What a sample needs of the stack, in bytes, from the frame that asks for it down. */
#ifdef __OPTIMIZE__
#define PROF__STACK_NEED ((size_t)4096)
#else
#define PROF__STACK_NEED ((size_t)16384)
#endif

/* Is there as much below the calling frame? Else that is counted. To be asked before a sample is
 * taken: whoever runs out of stack dies, and without us it would not. No system call, as a rule.
 * Context: signal. */
bool prof__stack_room(void);

/* Where the main thread's stack ends, above all frames; 0: not known. Context: signal. */
uintptr_t prof__stack_main_end(void);

/* What went wrong while walking, since the start of the process. Context: signal. */
struct prof__stack_stats {
    _Atomic uint64_t truncated;  /* deeper than the limit */
    _Atomic uint64_t no_info;    /* a pc without unwind info */
    _Atomic uint64_t unreadable; /* a frame outside readable memory, or going backwards */
    _Atomic uint64_t no_room;    /* samples not taken: too little stack was left */
};
extern struct prof__stack_stats prof__stack_stats;

/* Look up what never goes away, once. Without it walks are slower. */
void prof__stack_init(void);

/* Code may have been unloaded: forget rules that could be stale. Context: normal. */
void prof__stack_code_unloaded(void);

/* Code may have been loaded. Does something only where the dynamic linker has no
 * _dl_find_object(), and objects loaded since have no unwind info until then. It then takes the
 * loader's lock: hold none that somebody may want who has that. Context: normal. */
void prof__stack_code_loaded(void);

/* Where the function that covers `pc` starts, as its unwind info has it; 0: none, or not in the
 * form that compilers give it. Tells functions apart in a stripped program. Context: normal. */
uintptr_t prof__stack_function_start(uintptr_t pc);

#endif
