/*
 * data_symbols.h - addresses -> variables, by the symbol table of a file.
 */
#ifndef PROF_SYMBOL_DATA_SYMBOLS_H
#define PROF_SYMBOL_DATA_SYMBOLS_H

#include "base/arena.h"
#include "base/compiler.h"

struct prof__data_symbol {
    uint64_t start, size; /* in the file: run-time address - bias */
    uint32_t name;        /* for prof__data_symbol_name() */
};

/* The variables of a file, by rising address: from .symtab, or .dynsym where it is stripped. Memory
 * from `a`, 24 bytes each. None if the file cannot be read. -ENOMEM. */
int prof__data_symbols_load(const char *path, struct prof__arena *a, struct prof__data_symbol **ret,
                            size_t *ret_n);

/* The one that covers `address`, or NULL. */
const struct prof__data_symbol *prof__data_symbol_find(const struct prof__data_symbol *symbol,
                                                       size_t n, uint64_t address);

/* Its name, in `a`; NULL if it cannot be read any more. */
const char *prof__data_symbol_name(const char *path, struct prof__arena *a,
                                   const struct prof__data_symbol *symbol);

#endif
