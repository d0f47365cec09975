/*
 * compile.h - one pc's rule, worked out from the unwind tables.
 */
#ifndef PROF_UNWIND_COMPILE_H
#define PROF_UNWIND_COMPILE_H

#include "unwind/rules.h"

/* Take the compiler for this thread, signals masked and cancellation put off. 0, or PROF__PC_BUSY
 * when another thread has it for too long, or it is not set up yet and `may_init` is false.
 * Context: signal; with `may_init`, hook. */
uintptr_t prof__compile_enter(bool may_init);
void prof__compile_leave(void);

/* The rule of `pc`, which `o` covers. Between the two above. Keeps errno. */
void prof__compile(uintptr_t pc, bool exact, const struct prof__object *o, struct prof__rule *ret);

#endif
