/*
 * arithmetic.h - floating-point arithmetic of ours in a thread of the program's.
 *
 * The program may have any inexact result raise SIGFPE, or be rounding in a way of its own, or read
 * the flags that stay set. So between these two its state is put away. Threads of our own begin
 * with the usual one (helper.c), and a handler of the program's http server with libc's <fenv.h>.
 * Context: signal.
 */
#ifndef PROF_ARCH_ARITHMETIC_H
#define PROF_ARCH_ARITHMETIC_H

#include "base/compiler.h"

#if defined(__x86_64__)
#include "arch/x86_64/arithmetic.h"
#elif defined(__aarch64__)
#include "arch/aarch64/arithmetic.h"
#else
#error "no folder for this processor in lib/arch/"
#endif

/* The program's state; from here on all exceptions are masked, and results rounded to nearest. */
static inline uint64_t prof__arithmetic_begin(void);

static inline void prof__arithmetic_end(uint64_t program);

#endif
