/*
 * elf_find.h - the file that holds what a module had mapped, and that with its debug information.
 */
#ifndef PROF_SYMBOL_ELF_FIND_H
#define PROF_SYMBOL_ELF_FIND_H

#include "symbol/elf_file.h"
#include "symbol/modules.h"

/* Open the module's file, certain to be the one that was mapped. -ENOENT: there is none. */
int prof__elf_find(const struct prof__module *m, struct prof__arena *a, struct prof__elf *ret_elf);

/* Open the separate debug file of module `m`, whose own file is `e`; e is NULL when that could not
 * be had. -ENOENT. */
int prof__elf_find_debug(const struct prof__module *m, const struct prof__elf *e,
                         struct prof__arena *a, struct prof__elf *ret_debug);

/* Open the file that the debug information in `e` has parts of itself in (.gnu_debugaltlink, as
 * dwz -m makes). -ENOENT. */
int prof__elf_find_alternate(const struct prof__module *m, const struct prof__elf *e,
                             struct prof__arena *a, struct prof__elf *ret_alternate);

#endif
