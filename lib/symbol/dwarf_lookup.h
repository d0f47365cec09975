/*
 * dwarf_lookup.h - addresses -> functions, inlined ones included, files and lines, from DWARF.
 */
#ifndef PROF_SYMBOL_DWARF_LOOKUP_H
#define PROF_SYMBOL_DWARF_LOOKUP_H

#include "symbol/elf_file.h"
#include "symbol/symbol_query.h"

/*
 * Answer the n sorted queries from the debug information in `e`, as far as it goes. `alternate`
 * is the file it has parts of itself in, or NULL. Lines and strings live in `a`. Past `deadline_ns`
 * of the monotonic clock the remaining queries are marked unfinished. -ENOENT: there is none that
 * can be read; -ENOMEM.
 */
int prof__dwarf_lookup(const struct prof__elf *e, const struct prof__elf *alternate,
                       struct prof__arena *a, int64_t deadline_ns, struct prof__query *q, size_t n);

#endif
