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

/* A text that never changes, and what it is; written once. */
struct prof__trace_literal {
    _Atomic(const char *) text;
    _Atomic uint32_t name;
};
enum { PROF__TRACE_LITERALS = 512 };
extern PROF_HIDDEN struct prof__trace_literal prof__trace_literal[PROF__TRACE_LITERALS];

static inline struct prof__trace_literal *prof__trace_literal_of(const char *text)
{
    return &prof__trace_literal[(uintptr_t)text % PROF__TRACE_LITERALS];
}

uint32_t prof__trace_name_look_up(const char *name);

/* Takes no lock. Context: signal. */
static inline uint32_t prof__trace_name(const char *name)
{
    struct prof__trace_literal *l = prof__trace_literal_of(name);

    /* Acquire: its number, which was written before. */
    if (PROF_LIKELY(atomic_load_explicit(&l->text, memory_order_acquire) == name))
        return atomic_load_explicit(&l->name, memory_order_relaxed);
    return prof__trace_name_look_up(name);
}

/* Find out which texts never change. Before that none is known to; again does no harm. */
void prof__trace_names_begin(void);

/* "[other]" for that one. Never freed. Any context. */
const char *prof__trace_name_text(uint32_t name);

#endif
