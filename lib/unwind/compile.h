/*
 * compile.h - one pc's rule, worked out from the unwind tables.
 */
#ifndef PROF_UNWIND_COMPILE_H
#define PROF_UNWIND_COMPILE_H

#include "unwind/rules.h"

/* The rule of `pc`, which `o` covers. Nothing is remembered, and nobody waited for. Context:
 * signal, unless `how` says normal. */
void prof__compile(uintptr_t pc, bool exact, const struct prof__object *o,
                   enum prof__reader_how how, struct prof__rule *ret);

/* Of an ordinary rule only the first half. */
void prof__compile_first(uintptr_t pc, const struct prof__object *o, enum prof__reader_how how,
                         struct prof__rule *ret);

#endif
