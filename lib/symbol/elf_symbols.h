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

/* The same from the dynamic symbol table in memory of the object loaded at `bias`, for want of its
 * file. The object may be unloaded meanwhile: it is read through the kernel. */
int prof__loaded_symbols(uint64_t bias, struct prof__arena *a, struct prof__query *q, size_t n);

#endif
