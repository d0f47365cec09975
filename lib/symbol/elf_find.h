/*
 * elf_find.h - the file that holds what a module had mapped, and that with its debug information.
 */
#ifndef PROF_SYMBOL_ELF_FIND_H
#define PROF_SYMBOL_ELF_FIND_H

#include "symbol/elf_file.h"
#include "symbol/modules.h"

/* Open the module's file, certain to be the one that was mapped. -ENOENT: there is none. */
int prof__elf_find(const struct prof__module *m, struct prof__arena *a, struct prof__elf *ret_elf);

/* Where a separate debug file of a module may be, in the order they are tried. */
enum { PROF__DEBUG_PATHS = 5 };

struct prof__debug_paths {
    const char *path[PROF__DEBUG_PATHS];
    size_t n, n_by_id; /* the first are by build id; "" where there is none */
    uint32_t crc;      /* that .gnu_debuglink asks for; it goes with the others */
};

/* The places for module `m`, whose own file is `e`; e is NULL when that could not be had. Strings
 * live in `a`. -ENOMEM. */
int prof__elf_debug_paths(const struct prof__module *m, const struct prof__elf *e,
                          struct prof__arena *a, struct prof__debug_paths *ret_paths);

/* What is at these paths now, as a number that changes when a file comes, goes or is replaced. */
uint64_t prof__elf_debug_stamp(const char *const *path, size_t n);

/* Open the debug file of module `m` at one of `paths`. -ENOENT. */
int prof__elf_find_debug(const struct prof__module *m, const struct prof__elf *e,
                         const struct prof__debug_paths *paths, struct prof__arena *a,
                         struct prof__elf *ret_debug);

/* Open the file that the debug information in `e` has parts of itself in (.gnu_debugaltlink, as
 * dwz -m makes). -ENOENT. */
int prof__elf_find_alternate(const struct prof__module *m, const struct prof__elf *e,
                             struct prof__arena *a, struct prof__elf *ret_alternate);

#endif
