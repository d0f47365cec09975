/*
 * demangle.h - the linker's names of C++ and Rust functions, for people.
 */
#ifndef PROF_SYMBOL_DEMANGLE_H
#define PROF_SYMBOL_DEMANGLE_H

#include "base/arena.h"

struct prof__demangler; /* room to work in; one thread at a time */

/* Room for any number of names, in `a`. NULL: out of memory. */
struct prof__demangler *prof__demangler_new(struct prof__arena *a);

/* What a name says, as c++filt prints it: all of it, or without what functions take and return.
 * NULL: it is not mangled, malformed, or beyond the bounds. The result lasts until the next call.
 */
const char *prof__demangle(struct prof__demangler *d, const char *name);
const char *prof__demangle_bare(struct prof__demangler *d, const char *name);

#endif
