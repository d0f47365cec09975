/*
 * ticks.h - a counter that runs at a constant rate and is read without the kernel's help.
 *
 * Its rate is not known, but can be found by comparing it with a clock twice. Context: signal.
 */
#ifndef PROF_ARCH_TICKS_H
#define PROF_ARCH_TICKS_H

#include "base/compiler.h"

#if defined(__x86_64__)
#include "arch/x86_64/ticks.h"
#elif defined(__aarch64__)
#include "arch/aarch64/ticks.h"
#else
#error "no folder for this processor in lib/arch/"
#endif

/* The counter, as this processor has it now. */
static inline uint64_t prof__ticks(void);

/* Does it go on at one rate on all processors, whatever they do, and may this thread read it? */
static inline bool prof__ticks_steady(void);

#endif
