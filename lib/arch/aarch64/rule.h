/*
 * aarch64/rule.h - the return address is in its register, or saved; as a rule in the frame record,
 * behind the caller's frame pointer. An ordinary frame has that record.
 *
 *   step    0..23   offset, words, signed
 *          24..43   where the record, or what there is of it, lies: words below the CFA
 *          44..47   what is there (enum prof__record)
 *          48..51   kind
 *          52..56   base register, in DWARF's numbers; 0 of an ordinary rule
 *          57..63   PROF__RULE_DEREF, _ALIGNED: signed words added after the load
 *   saves   0..11   of x19..x28 the one nearest to the CFA: its code
 *          12..61   for each of them 5 bits: 0 it is not saved, 31 nobody knows where, else so many
 *                   words, less 1, further down
 */
#ifndef PROF_ARCH_AARCH64_RULE_H
#define PROF_ARCH_AARCH64_RULE_H

typedef uint32_t prof__save;

enum {
    PROF__SAVE_BITS = 20, /* the frame record lies below all that a function has on the stack */
    PROF__SAVE_NONE = 0,
    PROF__SAVE_LOST = 0xfffff,
    PROF__SAVE_BIAS = 2048,
};

enum prof__record {
    PROF__RECORD_NONE,    /* nothing is saved */
    PROF__RECORD_WHOLE,   /* the frame pointer, and above it the return address */
    PROF__RECORD_PC,      /* the return address only */
    PROF__RECORD_FP,      /* the frame pointer only */
    PROF__RECORD_PC_LOST, /* the return address; and nobody knows where the frame pointer is */
};

static inline enum prof__record prof__rule_record(uint64_t step)
{
    return (enum prof__record)(step >> 44 & 15);
}

static inline int64_t prof__rule_offset(uint64_t step)
{
    return (int64_t)(step << 40) >> 40 << 3;
}

static inline unsigned prof__rule_fp(uint64_t step)
{
    switch (prof__rule_record(step)) {
    case PROF__RECORD_WHOLE:
    case PROF__RECORD_FP:
        return step >> 24 & 0xfffff;
    case PROF__RECORD_PC_LOST:
        return PROF__SAVE_LOST;
    default:
        return PROF__SAVE_NONE;
    }
}

static inline unsigned prof__rule_pc(uint64_t step)
{
    unsigned words = step >> 24 & 0xfffff;

    switch (prof__rule_record(step)) {
    case PROF__RECORD_WHOLE:
        return words - 1;
    case PROF__RECORD_PC:
    case PROF__RECORD_PC_LOST:
        return words;
    default:
        return 0;
    }
}

static inline unsigned prof__rule_base(uint64_t step)
{
    return prof__rule_kind(step) == PROF__RULE_SP   ? PROF__REG_SP
           : prof__rule_kind(step) == PROF__RULE_FP ? PROF__REG_FP
                                                    : step >> 52 & 31;
}

static inline int64_t prof__rule_more(uint64_t step)
{
    return (int64_t)step >> 57 << 3;
}

static inline bool prof__rule_pack(const struct prof__rule_parts *p, uint64_t *ret)
{
    enum { OFFSET_MAX = 1 << 23, SLOT_MAX = 1 << 20, MORE_MAX = 64 };
    enum prof__rule_kind kind = p->kind;
    enum prof__record record = PROF__RECORD_NONE;
    int64_t offset = p->offset / 8, more = p->more / 8;
    uint64_t slot = 0, base = p->base;

    if (p->pc && p->fp == p->pc + 1) {
        record = PROF__RECORD_WHOLE;
        slot = p->fp;
    } else if (p->pc) {
        record = p->fp == PROF__SAVE_NONE ? PROF__RECORD_PC : PROF__RECORD_PC_LOST;
        slot = p->pc;
    } else if (p->fp == PROF__SAVE_LOST) {
        return false;
    } else if (p->fp != PROF__SAVE_NONE) {
        record = PROF__RECORD_FP;
        slot = p->fp;
    }
    if (p->offset % 8 || p->more % 8 || offset < -OFFSET_MAX || offset >= OFFSET_MAX ||
        more < -MORE_MAX || more >= MORE_MAX || slot >= SLOT_MAX)
        return false;
    if (kind <= PROF__RULE_FP && (offset <= 0 || record != PROF__RECORD_WHOLE))
        kind = PROF__RULE_BASE;
    if (kind <= PROF__RULE_FP)
        base = 0;
    *ret = (offset & 0xffffff) | slot << 24 | (uint64_t)record << 44 | (uint64_t)kind << 48 |
           base << 52 | (uint64_t)more << 57;
    return true;
}

/* --- an ordinary frame, in the loop of walk.c ---------------------------------------------------
 */

static inline uintptr_t prof__rule_slot(uint64_t step, uintptr_t cfa)
{
    return cfa - (step >> 24 & 0xfffff) * sizeof(uintptr_t);
}

static inline uintptr_t prof__rule_distance(uint64_t step)
{
    return (step & 0xffffff) * sizeof(uintptr_t);
}

static inline bool prof__rule_keeps_fp(uintptr_t slot, uintptr_t cfa)
{
    (void)slot;
    (void)cfa;
    return false;
}

static inline uintptr_t prof__rule_return_slot(uintptr_t slot, uintptr_t cfa)
{
    (void)cfa;
    return slot + sizeof(uintptr_t);
}

/* --- the kept registers -------------------------------------------------------------------------
 */

static inline uint64_t prof__rule_pack_saves(const prof__save code[PROF__SAVED])
{
    enum { LOST = 31, NEAREST_MAX = 0xfff };
    uint64_t nearest = NEAREST_MAX, saves = 0;

    for (unsigned i = 0; i < PROF__SAVED; i++)
        if (code[i] != PROF__SAVE_NONE)
            nearest = PROF_MIN(nearest, code[i]);
    for (unsigned i = 0; i < PROF__SAVED; i++) {
        uint64_t at = code[i] == PROF__SAVE_NONE ? 0
                      : code[i] >= NEAREST_MAX   ? LOST
                                                 : PROF_MIN(code[i] - nearest + 1, (uint64_t)LOST);

        saves |= at << (12 + 5 * i);
    }
    return saves | nearest;
}

/* What that makes of PROF__SAVE_NONE for each. */
#define PROF__SAVES_NOTHING ((uint64_t)0xfffu)

static inline unsigned prof__rule_saved(uint64_t saves, unsigned i)
{
    unsigned nearest = saves & 0xfff, at = saves >> (12 + 5 * i) & 31;

    return at == 0 ? PROF__SAVE_NONE : at == 31 ? PROF__SAVE_LOST : nearest + at - 1;
}

#endif
