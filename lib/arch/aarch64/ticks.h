/*
 * aarch64/ticks.h - the generic timer's virtual count.
 *
 * Arm Architecture Reference Manual, D11.1: it goes on at one rate on all processors of a system,
 * and Linux lets programs read it, as its own clocks do without a system call.
 */
#ifndef PROF_ARCH_AARCH64_TICKS_H
#define PROF_ARCH_AARCH64_TICKS_H

#include "base/compiler.h"

static inline uint64_t prof__ticks(void)
{
    uint64_t count;

    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(count) : : "memory");
    return count;
}

static inline bool prof__ticks_steady(void)
{
    return true;
}

#endif
