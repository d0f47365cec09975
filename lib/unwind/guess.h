/*
 * guess.h - the frame pointer of a function in a thread that only its stack is known of.
 */
#ifndef PROF_UNWIND_GUESS_H
#define PROF_UNWIND_GUESS_H

#include "unwind/step.h"

/*
 * Work out the frame pointer for the current frame of a walk over a copy, whose rule needs it. 0
 * and it is known, or a pseudo frame: PROF__PC_UNREADABLE when it may lie beyond the copy. Context:
 * normal.
 */
uintptr_t prof__guess_frame_pointer(struct prof__walk *w);

#endif
