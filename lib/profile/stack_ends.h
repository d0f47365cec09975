/*
 * stack_ends.h - why stacks end where nothing says what called, if the object's file tells.
 */
#ifndef PROF_PROFILE_STACK_ENDS_H
#define PROF_PROFILE_STACK_ENDS_H

#include "profile/locations.h"
#include "profile/places.h"

/* A stack, leaf first, as indexes of places: note which object it ends in for want of unwind info.
 * `ends` has a bool for each module of the places. */
void prof__stack_ends_note(const struct prof__places *p, const uint32_t *place, uint32_t n,
                           bool *ends);

/* A comment for each of these objects that was built without tables for this. */
void prof__stack_ends_comment(const struct prof__places *p, const bool *ends,
                              struct prof__comments *comments);

#endif
