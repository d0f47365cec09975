/*
 * dwarf_split.h - the other half of a unit that was compiled with -gsplit-dwarf.
 */
#ifndef PROF_SYMBOL_DWARF_SPLIT_H
#define PROF_SYMBOL_DWARF_SPLIT_H

#include "symbol/dwarf_names.h"

/* The other halves of the units of one file. Zero but for the first three. */
struct prof__dwarf_split {
    struct prof__arena *arena;
    struct prof__dwarf_image *home; /* of the skeletons */
    const char *file;               /* absolute path of the program or library; NULL: unknown */
    bool looked_for_package;
    struct prof__elf package; /* all halves in one file, FILE.dwp; fd < 0: there is none */
    struct prof__dwarf_image package_image;
    size_t n_missing;
    const char *missing; /* the first that was not found */
};

/* One half. */
struct prof__dwarf_half {
    struct prof__elf elf;
    struct prof__dwarf_debug debug; /* in it no unit is known by offset */
    struct prof__dwarf_unit unit;   /* read with its own entry: */
    struct prof__dwarf_entry own;
};

/* Is this the entry of a skeleton, whose functions are told of elsewhere? */
bool prof__dwarf_is_skeleton(const struct prof__dwarf_unit *u, const struct prof__dwarf_entry *own);

/* Open the half that belongs to a skeleton, and no other: both have the same number in them.
 * Scratch memory from `work`. -ENOENT: it is not there, which is counted; -ENOMEM. Close it in any
 * case. */
int prof__dwarf_half_open(struct prof__dwarf_half *h, struct prof__dwarf_split *s,
                          struct prof__arena *work, const struct prof__dwarf_unit *skeleton,
                          const struct prof__dwarf_entry *own);
void prof__dwarf_half_close(struct prof__dwarf_half *h);

void prof__dwarf_split_close(struct prof__dwarf_split *s);

#endif
