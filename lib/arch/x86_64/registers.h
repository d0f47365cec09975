/*
 * x86_64/registers.h - as the System V ABI's supplement for AMD64 numbers them (figure 3.36).
 */
#ifndef PROF_ARCH_X86_64_REGISTERS_H
#define PROF_ARCH_X86_64_REGISTERS_H

#include "base/compiler.h"

enum {
    PROF__REG_RBX = 3,
    PROF__REG_FP = 6, /* rbp */
    PROF__REG_SP = 7, /* rsp */
    PROF__REG_R12 = 12,
    PROF__REG_PC = 16,
    PROF__REGISTERS = 16,
    PROF__SAVED = 5,
    PROF__CONTEXT_WORDS = 23,
    PROF__SIGNAL_FRAME = 0, /* the handler's return has taken the one word in front */
    PROF__ADDRESS_BITS = 47,
};

static const uint8_t prof__saved_register[PROF__SAVED] = { PROF__REG_RBX, PROF__REG_R12, 13, 14,
                                                           15 };

/* Of a register's number: 0, it need not be restored; 1, the frame pointer; 2 and on, the saved
 * ones; PROF__SAVED + 2, the stack pointer. */
static const uint8_t prof__column[PROF__REGISTERS] = {
    [PROF__REG_RBX] = 2,     [PROF__REG_FP] = 1,      [PROF__REG_SP] = 7,      [PROF__REG_R12] = 3,
    [PROF__REG_R12 + 1] = 4, [PROF__REG_R12 + 2] = 5, [PROF__REG_R12 + 3] = 6,
};

enum {
    PROF__COMMON_SHORT = 24, /* bytes, its length in front included: augmentation "zR" */
    PROF__COMMON_LONG = 32,  /* "zPLR": with a routine for exceptions, and data for it */
    PROF__COMMON_CFA = 8,
    PROF__COMMON_PC = 1,
    PROF__COMMON_UNIT = 1,
};

/* PROF__COMMON_LONG bytes must be readable. */
PROF_NO_SANITIZE static inline bool prof__common_is_usual(const void *common)
{
    typedef uint64_t word __attribute__((may_alias, aligned(1)));
    const word *w = common;
    /* An encoding of four bytes, DW_CFA_def_cfa rsp 8, DW_CFA_offset rip 1, two DW_CFA_nop. */
    const uint64_t tail = 0x0000019008070c1b;

    if (w[0] == PROF__COMMON_SHORT - 4)
        return w[1] == 0x0110780100527a01 && w[2] == tail;
    /* Of the routine's encoding what matters is that it takes four bytes. */
    return w[0] == PROF__COMMON_LONG - 4 && w[1] == 0x780100524c507a01 &&
           (w[2] & 0x07ffff) == 0x030710 && w[3] == tail;
}

#define PROF__KEPT ((uint32_t)(1u << PROF__REG_RBX | PROF__KNOWN_FAST | 15u << PROF__REG_R12))

#define PROF__KNOWN_BEHIND_RECORD PROF__KNOWN_FAST

static inline uintptr_t prof__code_address(uintptr_t word)
{
    return word;
}

#define PROF__CAPTURE(regs)                       \
    __asm__ volatile("leaq 0f(%%rip), %%rax\n\t"  \
                     "movq %%rax, (%0)\n\t"       \
                     "movq %%rbx, 8+8*3(%0)\n\t"  \
                     "movq %%rbp, 8+8*6(%0)\n\t"  \
                     "movq %%rsp, 8+8*7(%0)\n\t"  \
                     "movq %%r12, 8+8*12(%0)\n\t" \
                     "movq %%r13, 8+8*13(%0)\n\t" \
                     "movq %%r14, 8+8*14(%0)\n\t" \
                     "movq %%r15, 8+8*15(%0)\n"   \
                     "0:"                         \
                     :                            \
                     : "D"(regs)                  \
                     : "rax", "memory")

#endif
