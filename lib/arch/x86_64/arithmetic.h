/*
 * x86_64/arithmetic.h - MXCSR. The x87, which has a state of its own, computes nothing for us.
 */
#ifndef PROF_ARCH_X86_64_ARITHMETIC_H
#define PROF_ARCH_X86_64_ARITHMETIC_H

#include <xmmintrin.h>

#include "base/compiler.h"

static inline uint64_t prof__arithmetic_begin(void)
{
    uint32_t program = _mm_getcsr();

    _mm_setcsr(0x1f80); /* all exceptions masked, round to nearest */
    return program;
}

static inline void prof__arithmetic_end(uint64_t program)
{
    _mm_setcsr((uint32_t)program);
}

#endif
