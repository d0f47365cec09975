/*
 * cfi.h - what compilers write into unwind tables, read without detours.
 *
 * DWARF's tables can say nearly anything; what compilers make them say is nearly always the same:
 * the CFA is a register plus an offset, and registers are saved at offsets from it. That is read
 * here in a tenth of the instructions that a general reader needs. Whatever is not of this kind (an
 * expression, a signal's frame, another encoding, damage) is left to libunwind, which reads all.
 *
 * Layouts: Linux Standard Base, "Exception Frames" (.eh_frame, .eh_frame_hdr); operations: DWARF 4,
 * 6.4.2. Context: signal.
 */
#ifndef PROF_UNWIND_CFI_H
#define PROF_UNWIND_CFI_H

#include "unwind/reader.h"

enum { PROF__CFI_RA = 16, PROF__CFI_COLUMNS };

struct prof__cfi_row {
    unsigned cfa_register;            /* DWARF's number */
    int32_t cfa_offset;               /* bytes */
    int32_t saved[PROF__CFI_COLUMNS]; /* bytes from the CFA; 0: still in its register */
};

/* The table of an object: pairs of 32-bit offsets from `hdr` (function, its entry), by function.
 * False: there is none, or not in the encoding that linkers use. */
struct prof__cfi_table {
    uintptr_t hdr, pairs;
    uint32_t count;
};
bool prof__cfi_table(struct prof__reader *r, uintptr_t hdr, struct prof__cfi_table *ret);

/* Where the function begins that `pc` is in. False: not known, or not of the usual kind. */
bool prof__cfi_function(struct prof__reader *r, const struct prof__cfi_table *table, uintptr_t pc,
                        uintptr_t *ret_start);

/* The row of `pc`, which is inside the instruction. False: not of the usual kind. */
bool prof__cfi_row(struct prof__reader *r, const struct prof__cfi_table *table, uintptr_t pc,
                   struct prof__cfi_row *ret);

#endif
