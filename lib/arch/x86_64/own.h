/*
 * x86_64/own.h - one instruction is not interrupted; that other processors may come between,
 * against which there is the lock prefix, is no matter where none of them writes.
 */
#ifndef PROF_ARCH_X86_64_OWN_H
#define PROF_ARCH_X86_64_OWN_H

#include "base/compiler.h"

static inline uint64_t prof__own_add(_Atomic uint64_t *of_this_thread, uint64_t n)
{
    __asm__ volatile("xaddq %0, %1" : "+r"(n), "+m"(*of_this_thread) : : "memory");
    return n;
}

#endif
