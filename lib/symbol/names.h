/*
 * names.h - what the linker or the debug information calls a function, as people want to read it.
 */
#ifndef PROF_SYMBOL_NAMES_H
#define PROF_SYMBOL_NAMES_H

#include "base/arena.h"

enum prof__names {
    PROF__NAMES_SHORT, /* std::vector<...>::push_back */
    PROF__NAMES_FULL,  /* as c++filt has it */
    PROF__NAMES_RAW,   /* as the linker knows it */
};

struct prof__namer; /* room to work in; one thread at a time */

/* In `a`. NULL: out of memory. */
struct prof__namer *prof__namer_new(struct prof__arena *a);

/* `name` itself where it is to be shown as it is; else text that lasts until the next call. */
const char *prof__namer_show(struct prof__namer *n, const char *name, enum prof__names how);

#endif
