/*
 * expression.h - DWARF expressions, as far as they can be worked out without a frame.
 *
 * A value is a number, or a register plus a number, or the word at such an address plus a number:
 * all that linkers' stubs, aligned frames and hand-written assembler ask for. Numbers are computed
 * with, also those that follow from the pc, which is known. Anything else is no value.
 *
 * Operations: DWARF 5, 2.5. Context: signal.
 */
#ifndef PROF_UNWIND_EXPRESSION_H
#define PROF_UNWIND_EXPRESSION_H

#include "unwind/bytes.h"

enum { PROF__REG_CFA = 64 }; /* in place of a register */

enum { PROF__VALUE_NONE, PROF__VALUE_NUMBER, PROF__VALUE_SUM, PROF__VALUE_LOADED };

struct prof__value {
    uint32_t form; /* PROF__VALUE_... */
    uint32_t reg;
    int64_t offset, more; /* offset; reg + offset; *(reg + offset) + more */
};

/* What `b` comes to, at `pc`; with `cfa`, that is on the stack to begin with. */
struct prof__value prof__expression(struct prof__bytes b, uintptr_t pc, bool cfa);

#endif
