/*
 * aarch64/own.h - no instruction that all processors have adds in memory, but a pair of them that
 * is interrupted begins again: the kernel clears the monitor when a handler begins.
 */
#ifndef PROF_ARCH_AARCH64_OWN_H
#define PROF_ARCH_AARCH64_OWN_H

#include "base/compiler.h"

static inline uint64_t prof__own_add(_Atomic uint64_t *of_this_thread, uint64_t n)
{
    return atomic_fetch_add_explicit(of_this_thread, n, memory_order_relaxed);
}

#endif
