/*
 * elf_symbols.h - addresses -> function symbols, from a file or from a loaded object.
 */
#ifndef PROF_SYMBOL_ELF_SYMBOLS_H
#define PROF_SYMBOL_ELF_SYMBOLS_H

#include "symbol/elf_file.h"
#include "symbol/symbol_query.h"

/*
 * Name the n sorted queries by the function symbols that cover them: from .symtab, or .dynsym
 * where the file is stripped. Names go into `a`. -ENOENT: no such table. -ENOMEM.
 */
int prof__elf_symbols(const struct prof__elf *e, struct prof__arena *a, struct prof__query *q,
                      size_t n);

/* The same from the .symtab of a file that holds what was stripped from one that is done already
 * (prof__elf_open_embedded): better answers replace what is there. */
int prof__elf_more_symbols(const struct prof__elf *e, struct prof__arena *a, struct prof__query *q,
                           size_t n);

/* Name those of the n sorted queries that are in stubs of the procedure linkage table: "read@plt".
 * -ENOMEM. */
int prof__elf_plt_symbols(const struct prof__elf *e, struct prof__arena *a, struct prof__query *q,
                          size_t n);

/* Is `a` plainly nearer to what people call than `b`, of two names of the same function? */
bool prof__symbol_is_plainer(const char *a, const char *b);

/* As prof__elf_symbols(), from the dynamic symbol table in memory of the object loaded at `bias`,
 * for want of its file. The object may be unloaded meanwhile: it is read through the kernel. */
int prof__loaded_symbols(uint64_t bias, struct prof__arena *a, struct prof__query *q, size_t n);

#endif
