/*
 * x86_64/ticks.h - the time-stamp counter.
 *
 * Intel's manual, volume 3, "Invariant TSC": bit 8 of EDX of CPUID 80000007H says that it goes on
 * at one rate. A process can forbid itself to read it, prctl(PR_SET_TSC), and dies if it does.
 */
#ifndef PROF_ARCH_X86_64_TICKS_H
#define PROF_ARCH_X86_64_TICKS_H

#include <cpuid.h>
#include <sys/prctl.h>

#include "base/compiler.h"

static inline uint64_t prof__ticks(void)
{
    return __builtin_ia32_rdtsc();
}

static inline bool prof__ticks_steady(void)
{
    unsigned a, b, c, d;
    int may = 0;

    return prctl(PR_GET_TSC, &may) == 0 && may == PR_TSC_ENABLE &&
           __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
}

#endif
