/*
 * x86_64/relocation.h - the kinds of relocations, as arch/relocation.h wants them.
 */
#ifndef PROF_ARCH_X86_64_RELOCATION_H
#define PROF_ARCH_X86_64_RELOCATION_H

enum { PROF__ELF_MACHINE = EM_X86_64 };

static inline bool prof__relocation_is_address(uint32_t type)
{
    return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT || type == R_X86_64_64;
}

#endif
