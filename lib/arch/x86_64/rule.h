/*
 * x86_64/rule.h - the return address is in the word below the CFA, always.
 *
 *   step    0..31   offset, bytes. Signed, but for ordinary frames
 *          32..43   where rbp is saved
 *          44..47   base register, in DWARF's numbers
 *          48..51   kind
 *          52..63   PROF__RULE_DEREF, _ALIGNED: signed bytes added after the load
 *   saves   12 bits each for rbx, r12, r13, r14, r15
 */
#ifndef PROF_ARCH_X86_64_RULE_H
#define PROF_ARCH_X86_64_RULE_H

typedef uint16_t prof__save;

enum {
    PROF__SAVE_BITS = 12,
    PROF__SAVE_NONE = 1, /* no real slot: the return address is there */
    PROF__SAVE_LOST = 0xfff,
    PROF__SAVE_BIAS = 2048,
};

static inline int64_t prof__rule_offset(uint64_t step)
{
    return (int32_t)step;
}

static inline unsigned prof__rule_fp(uint64_t step)
{
    return step >> 32 & 0xfff;
}

static inline unsigned prof__rule_pc(uint64_t step)
{
    (void)step;
    return PROF__COMMON_PC;
}

static inline unsigned prof__rule_base(uint64_t step)
{
    return step >> 44 & 15;
}

static inline int64_t prof__rule_more(uint64_t step)
{
    return (int64_t)step >> 52;
}

static inline bool prof__rule_pack(const struct prof__rule_parts *p, uint64_t *ret)
{
    enum prof__rule_kind kind = p->kind;

    if (p->pc != PROF__COMMON_PC || p->offset != (int32_t)p->offset || p->more < -2048 ||
        p->more > 2047)
        return false;
    if (kind <= PROF__RULE_FP && (p->offset <= 0 || p->fp == PROF__SAVE_LOST))
        kind = PROF__RULE_BASE;
    *ret = (uint32_t)p->offset | p->fp << 32 | (uint64_t)p->base << 44 | (uint64_t)kind << 48 |
           (uint64_t)p->more << 52;
    return true;
}

/* --- an ordinary frame, in the loop of walk.c ---------------------------------------------------
 */

/* Where the frame pointer is saved; if it is not, the return address. */
static inline uintptr_t prof__rule_slot(uint64_t step, uintptr_t cfa)
{
    return cfa - prof__rule_fp(step) * sizeof(uintptr_t);
}

/* From the base register to the CFA, bytes. */
static inline uintptr_t prof__rule_distance(uint64_t step)
{
    return (uint32_t)step;
}

static inline bool prof__rule_keeps_fp(uintptr_t slot, uintptr_t cfa)
{
    return slot == cfa - sizeof(uintptr_t);
}

/* The return address's place. */
static inline uintptr_t prof__rule_return_slot(uintptr_t slot, uintptr_t cfa)
{
    (void)slot;
    return cfa - sizeof(uintptr_t);
}

/* --- the kept registers -------------------------------------------------------------------------
 */

static inline uint64_t prof__rule_pack_saves(const prof__save code[PROF__SAVED])
{
    uint64_t saves = 0;

    for (unsigned i = 0; i < PROF__SAVED; i++)
        saves |= (uint64_t)code[i] << 12 * i;
    return saves;
}

/* What that makes of PROF__SAVE_NONE for each. */
#define PROF__SAVES_NOTHING ((uint64_t)0x001001001001001u)

static inline unsigned prof__rule_saved(uint64_t saves, unsigned i)
{
    return saves >> 12 * i & 0xfff;
}

#endif
