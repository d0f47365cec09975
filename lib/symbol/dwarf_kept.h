/*
 * dwarf_kept.h - debug information that had to be unpacked, kept for a short while.
 */
#ifndef PROF_SYMBOL_DWARF_KEPT_H
#define PROF_SYMBOL_DWARF_KEPT_H

#include "symbol/elf_file.h"

/* The image of a file's sections, `size` bytes as it was given, now the caller's; NULL: none is
 * kept. `split` as of prof__dwarf_image_open(). */
char *prof__dwarf_kept_take(const struct prof__elf *e, bool split, size_t size);

/* Keep an image that the caller is done with. False: it is not kept, and remains the caller's. */
bool prof__dwarf_kept_give(const struct prof__elf *e, bool split, char *image, size_t size);

/* Give back what is due at that moment of prof__monotonic_ns(). */
void prof__dwarf_kept_trim(int64_t now_ns);

/* Somebody has come to trim at that moment, and will again in a second; 0: nobody will. Without the
 * symbolizer's lock, like the question whether there is anything to trim. */
void prof__dwarf_kept_tended(int64_t now_ns);
bool prof__dwarf_kept_any(void);

/* In a forked child. */
void prof__dwarf_kept_in_child(void);

#endif
