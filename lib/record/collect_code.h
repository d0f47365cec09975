/*
 * collect_code.h - code that is about to go, as hooks tell it.
 *
 * Defined in lib/process/, since rooms are concerned that recording does not know.
 */
#ifndef PROF_RECORD_COLLECT_CODE_H
#define PROF_RECORD_COLLECT_CODE_H

#include "base/compiler.h"

/* Around a dlclose(): what was at an address must not be confused with what comes there next.
 * Context: normal. */
PROF_SHARED void prof__code_before_unload(void);
PROF_SHARED void prof__code_after_unload(void);

#endif
