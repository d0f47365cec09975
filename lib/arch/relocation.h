/*
 * relocation.h - what ELF calls this processor, PROF__ELF_MACHINE, and the kinds of relocations by
 * which the dynamic linker puts the address of a symbol into a word.
 */
#ifndef PROF_ARCH_RELOCATION_H
#define PROF_ARCH_RELOCATION_H

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>

/* Does one of this type store the symbol's address, with the addend as it is? Of those, the first
 * may be left until the function is called. */
static inline bool prof__relocation_is_address(uint32_t type);

#if defined(__x86_64__)
#include "arch/x86_64/relocation.h"
#elif defined(__aarch64__)
#include "arch/aarch64/relocation.h"
#else
#error "no folder for this processor in lib/arch/"
#endif

#endif
