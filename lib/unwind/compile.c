/*
 * compile.c - a row of the unwind tables to a rule; and rules for code that has no tables.
 */
#include "unwind/compile.h"

#include "arch/code.h"
#include "unwind/cfi.h"

/* --- from a row ------------------------------------------------------------------------------- */

static uint64_t kind(enum prof__rule_kind k)
{
    return (uint64_t)k << 48;
}

static uint64_t save_at(int64_t words)
{
    return words > PROF__SAVE_NONE && words < PROF__SAVE_LOST ? (uint64_t)words : PROF__SAVE_LOST;
}

static uint64_t save_from_base(const struct prof__cfi_row *row, int64_t words, bool based)
{
    if (row->base != row->cfa_register)
        return PROF__SAVE_LOST;
    if (!based && row->cfa == PROF__CFA_SUM) /* both are so far from the same register */
        words = row->offset / (int64_t)sizeof(uintptr_t) - (words - PROF__SAVE_BIAS);
    else if (!based)
        return PROF__SAVE_LOST;
    return save_at(words);
}

/* Where a register is saved, as 12 bits. `based`: as in PROF__RULE_ALIGNED. */
static inline uint64_t save_of(const struct prof__cfi_row *row, unsigned column, bool based)
{
    int64_t words = row->at[column];

    if (words == PROF__AT_REGISTER)
        return PROF__SAVE_NONE;
    if (PROF_UNLIKELY(words >= PROF__AT_BASE))
        return save_from_base(row, words - PROF__AT_BASE, based);
    return based ? PROF__SAVE_LOST : save_at(words);
}

/* Is what is saved found from the base register of a CFA that was loaded? */
static bool is_aligned(const struct prof__cfi_row *row)
{
    if (row->cfa != PROF__CFA_LOADED)
        return false;
    for (unsigned i = 0; i < PROF__COLUMN_SP; i++)
        if (row->at[i] >= PROF__AT_BASE)
            return true;
    return false;
}

static enum prof__rule_kind kind_of(const struct prof__cfi_row *row)
{
    if (row->cfa == PROF__CFA_LOADED)
        return is_aligned(row) ? PROF__RULE_ALIGNED : PROF__RULE_DEREF;
    return row->cfa_register == PROF__REG_SP   ? PROF__RULE_SP
           : row->cfa_register == PROF__REG_FP ? PROF__RULE_FP
                                               : PROF__RULE_BASE;
}

static void rule_of(const struct prof__cfi_row *row, bool first, struct prof__rule *ret)
{
    bool based = is_aligned(row);
    const struct prof__rule_parts parts = {
        .kind = kind_of(row),
        .base = row->cfa_register,
        .offset = row->offset,
        .more = row->cfa == PROF__CFA_LOADED ? row->more : 0,
        .fp = save_of(row, PROF__COLUMN_FP, based),
        .pc = row->at[PROF__COLUMN_PC],
    };
    prof__save code[PROF__SAVED];

    ret->step =
        kind(row->at[PROF__COLUMN_PC] == PROF__AT_UNDEFINED ? PROF__RULE_END : PROF__RULE_LOST);
    if (row->cfa == PROF__CFA_UNKNOWN || parts.pc > PROF__AT_CFA_MAX ||
        row->at[PROF__COLUMN_SP] != PROF__AT_REGISTER || !prof__rule_pack(&parts, &ret->step))
        return;
    if (first && prof__rule_is_ordinary(ret->step))
        return;
    for (unsigned i = 0; i < PROF__SAVED; i++)
        code[i] = (prof__save)save_of(row, PROF__COLUMN_SAVED + i, based);
    ret->saves = prof__rule_pack_saves(code);
}

/* What holds before a function's first instruction. */
static void rule_of_first(struct prof__rule *ret)
{
    struct prof__cfi_row row = {
        .cfa = PROF__CFA_SUM,
        .cfa_register = PROF__REG_SP,
        .offset = PROF__COMMON_CFA,
    };

    row.at[PROF__COLUMN_PC] = PROF__COMMON_PC;
    rule_of(&row, true, ret);
}

/* --- without -------------------------------------------------------------------------------- */

/* The bytes around `pc`; PROF__CODE_BEFORE of them in front. What cannot be read is 0. */
static void read_code(struct prof__reader *r, uintptr_t pc, uint8_t *to)
{
    uint8_t *at = to + PROF__CODE_BEFORE;

    for (int i = 0; i < PROF__CODE_BEFORE + PROF__CODE_SIZE; i++)
        to[i] = 0;
    prof__read_bytes(r, pc, at, PROF__CODE_SIZE);
    prof__read_bytes(r, pc - PROF__CODE_BEFORE, to, PROF__CODE_BEFORE);
}

static bool is_sigreturn(struct prof__reader *r, uintptr_t pc, bool exact)
{
    uint8_t code[PROF__CODE_BEFORE + PROF__CODE_SIZE];

    read_code(r, pc, code);
    return prof__code_is_sigreturn(code + PROF__CODE_BEFORE, exact);
}

static void rule_without_info(struct prof__reader *r, uintptr_t pc, bool exact,
                              struct prof__rule *ret)
{
    uint8_t code[PROF__CODE_BEFORE + PROF__CODE_SIZE];

    read_code(r, pc, code);
    if (prof__code_is_sigreturn(code + PROF__CODE_BEFORE, exact))
        ret->step = kind(PROF__RULE_SIGNAL);
    else if (exact && prof__code_is_stub(code + PROF__CODE_BEFORE)) /* has pushed nothing yet */
        rule_of_first(ret);
    else if (!exact && prof__code_is_context_start(code + PROF__CODE_BEFORE))
        ret->step = kind(PROF__RULE_END);
    else
        ret->step = kind(PROF__RULE_NO_INFO);
}

static void compile(uintptr_t pc, bool exact, const struct prof__object *o,
                    enum prof__reader_how how, bool first, struct prof__rule *ret)
{
    uintptr_t at = exact ? pc : pc - 1; /* inside the instruction */
    struct prof__cfi_entry entry;
    struct prof__cfi_row row;
    struct prof__reader r;

    prof__reader_start(&r, o, how);
    ret->saves = PROF__SAVES_NOTHING;
    if (!prof__cfi_entry(&r, at, &entry))
        rule_without_info(&r, pc, exact, ret);
    /* Without an entry of its own, a handler's return may come right behind another function. */
    else if ((entry.of_signal || pc >= entry.end) && is_sigreturn(&r, pc, exact))
        ret->step = kind(PROF__RULE_SIGNAL);
    else if (prof__cfi_row(&r, &entry, at, &row))
        rule_of(&row, first, ret);
    else
        ret->step = kind(PROF__RULE_LOST);
}

void prof__compile(uintptr_t pc, bool exact, const struct prof__object *o,
                   enum prof__reader_how how, struct prof__rule *ret)
{
    compile(pc, exact, o, how, false, ret);
}

void prof__compile_first(uintptr_t pc, const struct prof__object *o, enum prof__reader_how how,
                         struct prof__rule *ret)
{
    compile(pc, false, o, how, true, ret);
}
