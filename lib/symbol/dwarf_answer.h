/*
 * dwarf_answer.h - addresses -> functions, inlined ones included, files and lines, from DWARF.
 */
#ifndef PROF_SYMBOL_DWARF_ANSWER_H
#define PROF_SYMBOL_DWARF_ANSWER_H

#include "symbol/elf_file.h"
#include "symbol/symbol_query.h"

/* The files of one object that debug information is in. */
struct prof__dwarf_source {
    const struct prof__elf *elf;
    const struct prof__elf *alternate; /* what `elf` has parts of itself in, or NULL */
    const char *file; /* path of the program or library, beside which split units are; or NULL */
    size_t n_missing; /* result: of the units looked at, how many have their other half nowhere */
    const char *missing; /* result: the first such half; lives in the arena */
};

/*
 * Answer the n sorted queries from debug information, as far as it goes. Lines and strings live in
 * `a`. Past `deadline_ns` of the monotonic clock the remaining queries are marked unfinished.
 * -ENOENT: there is none that can be read; -EFBIG: it is too large for that; -ENOMEM.
 */
int prof__dwarf_answer(struct prof__dwarf_source *source, struct prof__arena *a,
                       int64_t deadline_ns, struct prof__query *q, size_t n);

#endif
