/*
 * trace_names.h - the names of regions and tasks, each distinct one kept once and named by a
 * number.
 */
#ifndef PROF_TABLE_TRACE_NAMES_H
#define PROF_TABLE_TRACE_NAMES_H

#include "base/compiler.h"

enum { PROF__TRACE_NAME_MAX = 128 }; /* longer ones are cut, between characters */

/* What stands for all names for which there was no room. */
#define PROF__TRACE_NAME_OTHER ((uint32_t)0)

/* Takes no lock. Context: signal. */
uint32_t prof__trace_name(const char *name);

/* "[other]" for that one. Never freed. Any context. */
const char *prof__trace_name_text(uint32_t name);

#endif
