/*
 * vars.h - the numbers over time, for the other thread of this room.
 */
#ifndef PROF_CAPTURE_VARS_H
#define PROF_CAPTURE_VARS_H

#include "capture/sources.h"

/* Note what is due, in place of the thread that is there for it, which sleeps from now on. When to
 * come back, a moment of prof__monotonic_ns(); INT64_MAX: nobody wants them noted. One caller. */
int64_t prof__vars_note(struct prof__sources *sources);

/* Its caller has something else to do, or ends: that thread is to go on. */
void prof__vars_give_back(void);

#endif
