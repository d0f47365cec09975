/*
 * relocation.h - the kinds of relocations by which the dynamic linker puts the address of a symbol
 * into a word.
 */
#ifndef PROF_ARCH_RELOCATION_H
#define PROF_ARCH_RELOCATION_H

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>

/* Does one of this type store the symbol's address, with the addend as it is? Of those, the first
 * may be left until the function is called. */
static inline bool prof__relocation_is_address(uint32_t type)
{
#if defined(__x86_64__)
    return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT || type == R_X86_64_64;
#elif defined(__aarch64__)
    return type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT || type == R_AARCH64_ABS64;
#else
#error "which relocations store the address of a symbol here?"
#endif
}

#endif
