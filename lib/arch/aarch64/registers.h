/*
 * aarch64/registers.h - as "DWARF for the Arm 64-bit Architecture" (AADWARF64) numbers them, and as
 * the procedure call standard (AAPCS64) has them kept.
 *
 * A call leaves the return address in x30, the link register, which is also the column that the
 * tables have for it. A function that calls others stores it next to the caller's x29: the frame
 * record. It may be signed (PAC): the upper bits are no part of the address then.
 */
#ifndef PROF_ARCH_AARCH64_REGISTERS_H
#define PROF_ARCH_AARCH64_REGISTERS_H

#include "base/compiler.h"

enum {
    PROF__REG_X19 = 19,
    PROF__REG_FP = 29,
    PROF__REG_PC = 30,
    PROF__REG_SP = 31,
    PROF__REGISTERS = 32,
    PROF__SAVED = 10,
    PROF__CONTEXT_WORDS = 33,
    PROF__SIGNAL_FRAME = 128, /* the siginfo */
    PROF__ADDRESS_BITS = 48,
};

static const uint8_t prof__saved_register[PROF__SAVED] = { 19, 20, 21, 22, 23, 24, 25, 26, 27, 28 };

static const uint8_t prof__column[PROF__REGISTERS] = {
    [19] = 2,
    [20] = 3,
    [21] = 4,
    [22] = 5,
    [23] = 6,
    [24] = 7,
    [25] = 8,
    [26] = 9,
    [27] = 10,
    [28] = 11,
    [PROF__REG_FP] = 1,
    [PROF__REG_SP] = PROF__SAVED + 2,
    [PROF__REG_PC] = PROF__SAVED + 3,
};

enum {
    PROF__COMMON_SHORT = 20, /* bytes, its length in front included: augmentation "zR" */
    PROF__COMMON_LONG = 28,  /* "zPLR" */
    PROF__COMMON_CFA = 0,
    PROF__COMMON_PC = 0, /* in its register */
    PROF__COMMON_UNIT = 4,
};

/* PROF__COMMON_LONG bytes must be readable. */
PROF_NO_SANITIZE static inline bool prof__common_is_usual(const void *common)
{
    typedef uint32_t word __attribute__((may_alias, aligned(1)));
    const word *w = common;
    /* An encoding of four bytes, DW_CFA_def_cfa sp 0. */
    const uint32_t tail = 0x001f0c1b;

    if (w[0] == PROF__COMMON_SHORT - 4)
        return w[2] == 0x00527a01 && w[3] == 0x011e7804 && w[4] == tail;
    /* Of the routine's encoding what matters is that it takes four bytes. */
    return w[0] == PROF__COMMON_LONG - 4 && w[2] == 0x4c507a01 && w[3] == 0x78040052 &&
           (w[4] & 0x07ffff) == 0x03071e && w[6] == tail;
}

#define PROF__KEPT ((uint32_t)(PROF__KNOWN_FAST | 0x3ffu << PROF__REG_X19))

#define PROF__KNOWN_BEHIND_RECORD ((uint32_t)(1u << PROF__REG_FP))

/* An address of code without its signature, which is above the 48 bits that addresses have unless
 * a program asks for higher ones. */
static inline uintptr_t prof__code_address(uintptr_t word)
{
    return word & (((uintptr_t)1 << 48) - 1);
}

#define PROF__CAPTURE(regs)                        \
    __asm__ volatile("adr x9, 0f\n\t"              \
                     "str x9, [%0]\n\t"            \
                     "stp x19, x20, [%0, 160]\n\t" \
                     "stp x21, x22, [%0, 176]\n\t" \
                     "stp x23, x24, [%0, 192]\n\t" \
                     "stp x25, x26, [%0, 208]\n\t" \
                     "stp x27, x28, [%0, 224]\n\t" \
                     "mov x9, sp\n\t"              \
                     "str x29, [%0, 240]\n\t"      \
                     "str x9, [%0, 256]\n"         \
                     "0:"                          \
                     :                             \
                     : "r"(regs)                   \
                     : "x9", "memory")

#endif
