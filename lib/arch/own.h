/*
 * own.h - arithmetic on what only one thread writes, and its signal handlers.
 */
#ifndef PROF_ARCH_OWN_H
#define PROF_ARCH_OWN_H

#include "base/compiler.h"

#if defined(__x86_64__)
#include "arch/x86_64/own.h"
#elif defined(__aarch64__)
#include "arch/aarch64/own.h"
#else
#error "no folder for this processor in lib/arch/"
#endif

/* Add n and return what was there before; a handler that comes between has its own. Others may read
 * it at any time. Context: signal. */
static inline uint64_t prof__own_add(_Atomic uint64_t *of_this_thread, uint64_t n);

#endif
