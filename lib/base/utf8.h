/*
 * utf8.h - only valid UTF-8 leaves libprof.
 *
 * One bad byte in a symbol, path or label makes some readers of profiles reject the whole, and the
 * host decides what those contain.
 */
#ifndef PROF_BASE_UTF8_H
#define PROF_BASE_UTF8_H

#include "base/arena.h"

/* Bytes of the character that starts at `s`; 0 at the end of the string and where it is not valid
 * (overlong, a surrogate, past U+10FFFF, cut short). Reads no byte past the NUL. */
size_t prof__utf8_next(const char *s);

/* `s` itself when it is valid, else a copy in which every wrong byte has become U+FFFD. NULL when
 * out of memory. */
const char *prof__utf8_clean(struct prof__arena *a, const char *s);

#endif
