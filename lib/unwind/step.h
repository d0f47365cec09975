/*
 * step.h - the state of a walk, and one step of it with every register looked after.
 */
#ifndef PROF_UNWIND_STEP_H
#define PROF_UNWIND_STEP_H

#include "unwind/bounds.h"
#include "unwind/rules.h"
#include "unwind/stack.h"

/* Below it lie null pointers and pseudo frames, and no code. */
#define PROF__CODE_MIN ((uintptr_t)0x2000)

struct prof__walk {
    struct prof__registers regs; /* of the current frame */
    struct prof__bounds bounds;
    struct prof__object object;      /* covers pc, or did lately */
    uintptr_t chain_end;             /* frame pointers up to here lead to code with unwind info */
    bool exact;                      /* pc is where execution stopped, not a return address */
    bool all_registers;              /* the second, slower walk: lose no register */
    bool guessed;                    /* a frame was: from there up nothing is held for certain */
    struct prof__stack_frame *frame; /* of each pc, for who wants them; NULL: nobody does */
};

/* Why a walk ends, beside pseudo frames. */
enum {
    PROF__STEP_OK = 0,
    PROF__STEP_END = 1,   /* the outermost frame */
    PROF__STEP_LIMIT = 2, /* as many frames as asked for */
    PROF__STEP_STOP = 3,  /* the return address to stop at */
    PROF__STEP_AGAIN = 4, /* a register is needed that only all_registers keeps */
};

static inline bool prof__walk_knows(const struct prof__walk *w, unsigned reg)
{
    return w->regs.known >> reg & 1;
}

/* How the objects that this walk meets may be read. */
static inline enum prof__reader_how prof__walk_how(const struct prof__walk *w)
{
    return w->bounds.of == PROF__BOUNDS_COPY ? PROF__READ_NORMAL
           : w->guessed                      ? PROF__READ_FOREIGN
                                             : PROF__READ_HELD;
}

/* From the current frame to its caller. PROF__STEP_OK, _END, _AGAIN or a pseudo frame. Context:
 * signal; of a copy, normal. */
PROF_COLD uintptr_t prof__step(struct prof__walk *w);

#endif
