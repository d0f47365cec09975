/*
 * registers.h - the registers that a walk looks after, by the numbers that unwind tables give them.
 *
 * A processor's folder defines
 *   PROF__REG_SP, _FP, _PC   numbers; _PC is the column of the return address
 *   PROF__REGISTERS          how many others there are, the stack pointer included
 *   PROF__SAVED              of how many, beside the frame pointer, a rule tells where they are
 *   prof__saved_register     their numbers
 *   PROF__KEPT               a bit for each that a function must restore
 *   prof__common_is_usual()  do these bytes begin an entry of .eh_frame that many functions have in
 *                            common, as compilers write it? Then its length is PROF__COMMON_SHORT
 *                            or _LONG, and it says: code in units of PROF__COMMON_UNIT bytes, data
 *                            in words, downward; addresses by 32-bit distances; the return address
 *                            in PROF__REG_PC; and where a function begins the CFA is
 *                            PROF__COMMON_CFA bytes above the stack pointer, with the return
 *                            address PROF__COMMON_PC words below that; 0: in its register
 *   PROF__KNOWN_BEHIND_RECORD  a bit for each that a saved frame pointer and the return address
 *                            above it tell of the caller; the stack pointer is above these
 *   PROF__SIGNAL_FRAME       bytes from the stack pointer, when a signal handler has returned, to
 *                            the ucontext
 *   PROF__ADDRESS_BITS       addresses of programs are below 2 to the power of this
 *   prof__code_address()     the address that a return address in memory stands for
 *   PROF__CONTEXT_WORDS      of the ucontext of a signal, how many words hold registers
 *   PROF__CAPTURE(regs)      the kept ones and the pc as they are at one point of this function,
 *                            which is the end of an instruction, as a return address is
 */
#ifndef PROF_ARCH_REGISTERS_H
#define PROF_ARCH_REGISTERS_H

#if defined(__x86_64__)
#include "arch/x86_64/registers.h"
#elif defined(__aarch64__)
#include "arch/aarch64/registers.h"
#else
#error "no folder for this processor in lib/arch/"
#endif

struct prof__registers {
    uintptr_t pc;
    uintptr_t r[PROF__REGISTERS];
    uint32_t known; /* bit n: r[n] is right */
};

#define PROF__KNOWN_ALL  ((uint32_t)(((uint64_t)1 << PROF__REGISTERS) - 1))
#define PROF__KNOWN_FAST ((uint32_t)(1u << PROF__REG_SP | 1u << PROF__REG_FP))

/* Where in a ucontext those words begin, in bytes. */
extern const size_t prof__context_at;

/* All registers, from those words. Context: signal. */
void prof__registers_from_context(struct prof__registers *regs, const uintptr_t *words);

/* The stack pointer of what a signal interrupted: `ucontext` is the handler's third argument.
 * Context: signal. */
uintptr_t prof__context_sp(const void *ucontext);

#endif
