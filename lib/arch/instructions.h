/*
 * instructions.h - what the shortest paths of the library do in fewer instructions than a compiler
 * makes of it. Context: hook.
 */
#ifndef PROF_ARCH_INSTRUCTIONS_H
#define PROF_ARCH_INSTRUCTIONS_H

#include "base/compiler.h"

/* Is what is there not 0? A relaxed load. */
static inline bool prof__is_set_8(const _Atomic uint8_t *at)
{
#if defined(__x86_64__)
    bool set;

    /* gcc does not compare an atomic in memory but loads it first. */
    __asm__ volatile("cmpb $0, %[at]" : "=@ccne"(set) : [at] "m"(*at));
    return set;
#elif defined(__aarch64__)
    uint32_t word;

    /* gcc does not know that the load clears what is above the byte. */
    __asm__ volatile("ldrb %w0, %1" : "=r"(word) : "m"(*at));
    return word != 0;
#else
    return atomic_load_explicit(at, memory_order_relaxed) != 0;
#endif
}

static inline bool prof__is_set_16(const _Atomic uint16_t *at)
{
#if defined(__x86_64__)
    bool set;

    __asm__ volatile("cmpw $0, %[at]" : "=@ccne"(set) : [at] "m"(*at));
    return set;
#else
    return atomic_load_explicit(at, memory_order_relaxed) != 0;
#endif
}

/* *left -= size, or 1 for a size of 0: was it no more than that? */
static inline bool prof__take_charge(uint64_t *left, size_t size)
{
    bool due;

#if defined(__x86_64__)
    /* A compiler makes eight instructions of it; and so the handler of a signal that comes between
     * has its own charge kept. */
    __asm__("cmpq $1, %[size]\n\t"
            "sbbq %[size], %[left]"
            : [left] "+m"(*left), "=@ccbe"(due)
            : [size] "r"(size));
#elif defined(__aarch64__) && defined(__GCC_ASM_FLAG_OUTPUTS__)
    /* The same, where no instruction subtracts in memory: what a handler takes between is given
     * back. */
    uint64_t rest = *left;

    __asm__("cmp %[size], #1\n\t"
            "sbcs %[rest], %[rest], %[size]"
            : [rest] "+r"(rest), "=@ccls"(due)
            : [size] "r"(size));
    *left = rest;
#else
    uint64_t charge = size + !size;

    due = *left <= charge;
    *left -= charge;
#endif
    return due;
}

#endif
