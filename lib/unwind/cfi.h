/*
 * cfi.h - unwind tables: at one pc, where the caller's frame begins, and where registers are.
 *
 * Everything that DWARF's tables can say is understood; what a rule (rules.h) cannot express is
 * found to be that. Expressions are worked out without a frame: over registers whose values are
 * unknown, as far as a sum or a loaded word goes (expression.h).
 *
 * Layouts: Linux Standard Base, "Exception Frames" (.eh_frame); operations: DWARF 5, 6.4.2.
 * Context: signal.
 */
#ifndef PROF_UNWIND_CFI_H
#define PROF_UNWIND_CFI_H

#include "arch/rule.h"
#include "unwind/reader.h"

/* Where the caller's value of a register is. In words, which all but damaged tables count in. */
enum {
    PROF__AT_REGISTER = 0,                  /* still there; nothing is said, or just that */
    PROF__AT_CFA_MAX = PROF__SAVE_LOST - 1, /* up to here: so many words below the CFA */
    PROF__AT_LOST = PROF__SAVE_LOST,        /* where a rule cannot say */
    PROF__AT_UNDEFINED =
        1 << PROF__SAVE_BITS,             /* nowhere. Of the return address: the outermost frame */
    PROF__AT_BASE = 4 << PROF__SAVE_BITS, /* so many words, less 2048, above a base register */
    PROF__AT_BASE_MAX = PROF__AT_BASE + PROF__AT_CFA_MAX,
};

enum {
    PROF__COLUMN_FP,
    PROF__COLUMN_SAVED,
    PROF__COLUMN_SP = PROF__COLUMN_SAVED + PROF__SAVED,
    PROF__COLUMN_PC,
    PROF__COLUMNS
};

struct prof__cfi_row {
    enum { PROF__CFA_UNKNOWN, PROF__CFA_SUM, PROF__CFA_LOADED } cfa;
    uint8_t cfa_register;
    uint8_t base; /* the register of PROF__AT_BASE */
    int16_t more;
    int32_t offset; /* register + offset; or *(register + offset) + more */
    prof__save at[PROF__COLUMNS];
};

/* A function, as far as one entry of the table covers it, without what its rows say. */
struct prof__cfi_entry {
    uintptr_t start, end;
    bool of_signal; /* the frame is one that the kernel made */
    bool usual;     /* prof__common_is_usual(): it has no common operations to carry out */
    uint64_t code_unit;
    int64_t data_unit;
    uint64_t return_column;
    uint8_t encoding; /* of addresses among the operations */
    uintptr_t own, own_end, common, common_end;
};

/* The entry that covers `pc`, in the reader's object. False: none, or none that can be read. */
bool prof__cfi_entry(struct prof__reader *r, uintptr_t pc, struct prof__cfi_entry *ret);

/* The row of `pc`, which is inside the instruction. False: the operations are damaged. */
bool prof__cfi_row(struct prof__reader *r, const struct prof__cfi_entry *e, uintptr_t pc,
                   struct prof__cfi_row *ret);

#endif
