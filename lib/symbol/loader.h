/*
 * loader.h - the dynamic linker's list of objects.
 */
#ifndef PROF_SYMBOL_LOADER_H
#define PROF_SYMBOL_LOADER_H

#include "base/arena.h"
#include "symbol/modules.h"

/* How often objects have come and gone; changes whenever the list does. */
struct prof__loader_state {
    uint64_t added, removed;
};

struct prof__loader_list {
    struct prof__loader_state state;
    struct prof__module *module; /* one for each executable segment, without eras */
    size_t n;
};

/* Take care: the next two take the loader's lock. Hold none that somebody may want who has it: a
 * program's constructors and dl_iterate_phdr() callbacks may call anything. And not in a forked
 * child, where the lock may be held for ever by a thread that is no more. */
void prof__loader_state(struct prof__loader_state *ret_state);

/* The list, build ids from memory. Names are as the linker has them: "" for the program, and
 * relative for what was opened so. -ENOMEM. */
int prof__loader_list(struct prof__arena *a, struct prof__loader_list *ret_list);

#endif
