/*
 * step.h - the state of a walk, and one step of it with every register looked after.
 */
#ifndef PROF_UNWIND_STEP_H
#define PROF_UNWIND_STEP_H

#include "unwind/bounds.h"
#include "unwind/rules.h"

struct prof__registers {
    uintptr_t pc;
    uintptr_t r[PROF__REGISTERS]; /* by DWARF's numbers */
    uint32_t known;               /* bit n: r[n] is right */
};

#define PROF__KNOWN_ALL  ((uint32_t)0xffff)
#define PROF__KNOWN_FAST ((uint32_t)(1 << PROF__RSP | 1 << PROF__RBP))
#define PROF__KNOWN_KEPT /* the registers that a function must restore */ \
    ((uint32_t)(1 << PROF__RBX | 1 << PROF__RBP | 1 << PROF__RSP | 15 << PROF__R12))

struct prof__walk {
    struct prof__registers regs; /* of the current frame */
    struct prof__bounds bounds;
    struct prof__object object; /* covers pc, or did lately */
    bool exact;                 /* pc is where execution stopped, not a return address */
    bool may_init;              /* malloc can be called */
    bool guessed;               /* the one guess has been made */
    bool all_registers;         /* the second, slower walk: lose no register */
};

/* Why a walk ends, beside pseudo frames. */
enum {
    PROF__STEP_OK = 0,
    PROF__STEP_END = 1,   /* the outermost frame */
    PROF__STEP_LIMIT = 2, /* as many frames as asked for */
    PROF__STEP_STOP = 3,  /* the return address to stop at */
    PROF__STEP_AGAIN = 4, /* a register is needed that only all_registers keeps */
};

/* From the current frame to its caller, by the rule of its pc. PROF__STEP_OK, _END, _AGAIN or a
 * pseudo frame. Context: signal. */
PROF_COLD uintptr_t prof__step(struct prof__walk *w, const struct prof__rule *r);

/* The same where no object covers the pc, or nothing is known of it. */
PROF_COLD uintptr_t prof__step_guess(struct prof__walk *w);

/* Start from the registers of a ucontext, or of the mcontext a signal frame keeps. */
void prof__registers_from_signal(struct prof__registers *regs, const long long *gregs);

#endif
