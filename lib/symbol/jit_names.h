/*
 * jit_names.h - what a runtime calls the code that it has made.
 */
#ifndef PROF_SYMBOL_JIT_NAMES_H
#define PROF_SYMBOL_JIT_NAMES_H

#include "symbol/symbolize.h"

struct prof__jit_query {
    uint64_t address;
    /* Answers. Valid UTF-8; NULL: unknown */
    const char *name;
    const char *file;
    uint32_t line; /* 0: unknown */
};

/*
 * Look up q[0..n), sorted by address, in what this process's runtime has written for perf, as it is
 * now: code may have been made anew at the same place, so of an older sample the name may be that
 * of what came after. Strings live in `a`. Ends early at prof__deadline.
 */
void prof__jit_names_find(struct prof__arena *a, struct prof__jit_query *q, size_t n);

/* The same for those of `asked` that are in no object's file, into their ret_symbols. -ENOMEM. */
int prof__jit_names_answer(struct prof__arena *a, const struct prof__code_address *asked, size_t n,
                           struct prof__symbols *ret_symbols);

#endif
