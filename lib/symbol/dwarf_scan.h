/*
 * dwarf_scan.h - the entries of one unit in a single pass.
 */
#ifndef PROF_SYMBOL_DWARF_SCAN_H
#define PROF_SYMBOL_DWARF_SCAN_H

#include "symbol/dwarf_unit.h"

/* One entry, of which only what a pass needs is looked at. */
struct prof__dwarf_step {
    uint64_t offset; /* in .debug_info */
    uint16_t tag;    /* 0: the end of a list of children */
    bool has_children;
    bool has_bounds; /* of a function: low and high are known */
    bool has_code;   /* of a function: it has code, and where takes more than this to tell */
    uint64_t low, high;
    uint64_t sibling; /* offset of what follows its children; 0: unknown */
};

struct prof__dwarf_scan {
    const struct prof__dwarf_unit *unit;
    struct prof__cursor cursor;
    const uint8_t *base; /* of .debug_info */
    bool wants_siblings; /* of all entries; else of functions only */
};

/* Start at an entry of a unit that is loaded; the whole unit is read. */
void prof__dwarf_scan_start(struct prof__dwarf_scan *s, const struct prof__dwarf_unit *unit,
                            uint64_t offset);

/* False: the unit has ended or is damaged. */
bool prof__dwarf_scan_next(struct prof__dwarf_scan *s, struct prof__dwarf_step *ret_step);

/* Pass by the children of the entry that was read last. False: where they end is not known. */
bool prof__dwarf_scan_skip(struct prof__dwarf_scan *s, const struct prof__dwarf_step *e);

#endif
