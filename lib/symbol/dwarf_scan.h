/*
 * dwarf_scan.h - the units of .debug_info, and the entries of one in a single pass.
 */
#ifndef PROF_SYMBOL_DWARF_SCAN_H
#define PROF_SYMBOL_DWARF_SCAN_H

#include "symbol/dwarf_image.h"
#include "symbol/dwarf_reader.h"

struct prof__dwarf_unit {
    uint64_t offset, size; /* in .debug_info, header included */
    uint64_t first;        /* offset of the unit's own entry */
    uint64_t abbrevs;      /* in .debug_abbrev */
    uint16_t version;
    uint8_t type, offset_size, address_size;
};

/* The unit whose header is at `offset`, read with the start of its entries, enough for the unit's
 * own. -ENOENT: no more units, -EINVAL: damaged. */
int prof__dwarf_unit_at(struct prof__dwarf_image *im, uint64_t offset,
                        struct prof__dwarf_unit *ret_unit);

/* One entry, of which only the tag and simple bounds of its code are looked at. */
struct prof__dwarf_entry {
    uint64_t offset; /* in .debug_info */
    uint16_t tag;    /* 0: the end of a list of children */
    bool has_children;
    bool has_bounds; /* low and high are known */
    bool has_code;   /* it has code, and where takes more than this to tell */
    uint64_t low, high;
    uint64_t sibling; /* of a function: offset of what follows its children; 0: unknown */
};

struct prof__dwarf_scan {
    struct prof__reader reader;
    const uint8_t *base; /* of .debug_info */
    struct prof__dwarf_unit unit;
    const struct prof__abbrev *abbrev;
    const uint32_t *abbrev_of_code; /* index + 1 */
    size_t n_codes;
    const struct prof__form *form;
};

/* Start at the unit's own entry; the whole unit is read. Tables live in `a`. -EINVAL, -ENOMEM. */
int prof__dwarf_scan_start(struct prof__dwarf_scan *s, struct prof__arena *a,
                           struct prof__dwarf_image *im, const struct prof__dwarf_unit *unit);

/* False: the unit has ended or is damaged. */
bool prof__dwarf_scan_next(struct prof__dwarf_scan *s, struct prof__dwarf_entry *ret_entry);

/* Pass by the children of the entry that was read last. False: where they end is not known. */
bool prof__dwarf_scan_skip(struct prof__dwarf_scan *s, const struct prof__dwarf_entry *e);

#endif
