/*
 * demangle.h - C++ names for people, when the program has a demangler.
 *
 * Clients of the protobuf demangle by themselves; this is for text that is read as it is.
 */
#ifndef PROF_SYMBOL_DEMANGLE_H
#define PROF_SYMBOL_DEMANGLE_H

#include "base/arena.h"

struct prof__demangler {
    char *(*demangle)(const char *mangled, char *buf, size_t *size, int *status); /* or NULL */
};

/* Find the demangler of the program's own C++ library. Never loads one. */
void prof__demangler_init(struct prof__demangler *d);

/* `name` readable, in `a`; `name` itself when it is not mangled, is malformed, is longer than a
 * demangler should be trusted with, or there is none. Never NULL. */
const char *prof__demangle(const struct prof__demangler *d, struct prof__arena *a,
                           const char *name);

#endif
