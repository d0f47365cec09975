/*
 * elf_unpack.h - a section that is a compressed file: elf_file.h has what others need.
 */
#ifndef PROF_SYMBOL_ELF_UNPACK_H
#define PROF_SYMBOL_ELF_UNPACK_H

#include "symbol/elf_file.h"

/* Contents of `s`, compressed as xz does; s NULL is -ENOENT. -ENOTSUP: this build has no liblzma,
 * -EINVAL: damaged or unreasonably large, -ETIME: late
 * (deadline.h), -ENOMEM. */
int prof__elf_unpack(const struct prof__elf *e, struct prof__arena *a, const Elf64_Shdr *s,
                     const char **ret_bytes, uint64_t *ret_size);

#endif
