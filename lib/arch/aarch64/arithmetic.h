/*
 * aarch64/arithmetic.h - FPCR; the flags of FPSR stay set as an operation of ours may set them, so
 * they are put away with it.
 */
#ifndef PROF_ARCH_AARCH64_ARITHMETIC_H
#define PROF_ARCH_AARCH64_ARITHMETIC_H

#include "base/compiler.h"

static inline uint64_t prof__arithmetic_begin(void)
{
    uint64_t control, status;

    __asm__ volatile("mrs %0, fpcr\n\t"
                     "mrs %1, fpsr"
                     : "=r"(control), "=r"(status));
    __asm__ volatile("msr fpcr, xzr"); /* no exception traps, round to nearest */
    return control << 32 | (uint32_t)status;
}

static inline void prof__arithmetic_end(uint64_t program)
{
    __asm__ volatile("msr fpcr, %0\n\t"
                     "msr fpsr, %1"
                     :
                     : "r"(program >> 32), "r"(program & UINT32_MAX));
}

#endif
