/*
 * symbol_files.h - the files of one object, and what they say of addresses in it.
 */
#ifndef PROF_SYMBOL_SYMBOL_FILES_H
#define PROF_SYMBOL_SYMBOL_FILES_H

#include "symbol/elf_find.h"
#include "symbol/symbol_query.h"

#define PROF__SYMBOLS_NS 1000000000 /* of the time there is, left for symbol tables */

/* Zero but for the first two, while they are read. */
struct prof__symbol_files {
    const struct prof__module *module;
    struct prof__arena *arena;
    struct prof__elf own, debug, alternate, embedded;
    bool has_own, has_debug, has_embedded;
    const struct prof__elf *dwarf;  /* of own and debug; NULL: neither has any that can be read */
    struct prof__debug_paths paths; /* where `debug` was looked for */
    const char *unread; /* what is there and was not read, and why; NULL: nothing of the kind */
};

/*
 * Look n sorted queries up until `until_ns`; those that time was too short for are marked.
 * *ret_found: all that there is was read, so that the answers are the best that can be had.
 * -ENOMEM. Close the files in any case.
 */
int prof__symbol_files_read(struct prof__symbol_files *f, int64_t until_ns, struct prof__query *q,
                            size_t n, bool *ret_found);
void prof__symbol_files_close(struct prof__symbol_files *f);

#endif
