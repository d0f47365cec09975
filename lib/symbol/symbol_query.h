/*
 * symbol_query.h - the addresses looked up in one object, and what has been found for each.
 *
 * Tables are not indexed: the addresses are sorted, each table is read past them once, and nothing
 * of it is kept. A profile asks for thousands of addresses at a time and its answers are cached,
 * so an index would cost memory for the rare question.
 */
#ifndef PROF_SYMBOL_SYMBOL_QUERY_H
#define PROF_SYMBOL_SYMBOL_QUERY_H

#include "base/compiler.h"
#include "symbol/symbolize.h"

struct prof__query {
    uint64_t address; /* in the ELF file: run-time address - bias */

    /* From the symbol table: elf_symbols.c. */
    uint64_t symbol_start, symbol_size;
    uint32_t symbol_name; /* offset in the string table */
    uint8_t symbol_rank;  /* of its binding; 0: no symbol yet */
    const char *symbol;   /* its name */

    /* From DWARF: dwarf_answer.c. */
    struct prof__line *line; /* innermost first */
    size_t n_lines;
    bool prefer_symbol; /* for the outermost: DWARF has no name for the linker */
    bool unfinished;    /* time ran out before its turn */
};

/* The first query at or after `address`; n if there is none. */
static inline size_t prof__query_from(const struct prof__query *q, size_t n, uint64_t address)
{
    size_t low = 0;

    while (low < n) {
        size_t mid = low + (n - low) / 2;

        if (q[mid].address < address)
            low = mid + 1;
        else
            n = mid;
    }
    return low;
}

#endif
