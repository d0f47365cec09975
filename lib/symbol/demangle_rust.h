/*
 * demangle_rust.h - names of Rust's, both ways of mangling.
 */
#ifndef PROF_SYMBOL_DEMANGLE_RUST_H
#define PROF_SYMBOL_DEMANGLE_RUST_H

#include "base/compiler.h"

bool prof__rust_is_mangled(const char *name, size_t size);

/* Without the hash, crates without their numbers. False: malformed, or it does not fit. */
bool prof__rust_demangle(const char *name, size_t size, char *text, size_t text_size);

#endif
