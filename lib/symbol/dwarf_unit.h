/*
 * dwarf_unit.h - a unit of .debug_info: its header, its abbreviations, and what one entry says.
 */
#ifndef PROF_SYMBOL_DWARF_UNIT_H
#define PROF_SYMBOL_DWARF_UNIT_H

#include "symbol/dwarf_cursor.h"
#include "symbol/dwarf_image.h"

/* The attributes that anybody here asks for. */
enum prof__dwarf_at {
    PROF__AT_NAME,
    PROF__AT_LINKAGE_NAME,
    PROF__AT_ABSTRACT_ORIGIN,
    PROF__AT_SPECIFICATION,
    PROF__AT_TYPE,
    PROF__AT_DECL_FILE,
    PROF__AT_DECL_LINE,
    PROF__AT_DECL_COLUMN,
    PROF__AT_CALL_FILE,
    PROF__AT_CALL_LINE,
    PROF__AT_LOW_PC,
    PROF__AT_HIGH_PC,
    PROF__AT_RANGES,
    PROF__AT_SIBLING,
    PROF__AT_ARTIFICIAL,
    PROF__AT_LANGUAGE,
    PROF__AT_PRODUCER,
    PROF__AT_STMT_LIST,
    PROF__AT_COMP_DIR,
    PROF__AT_DWO_NAME,
    PROF__AT_DWO_ID,
    PROF__AT_STR_OFFSETS_BASE,
    PROF__AT_ADDR_BASE,
    PROF__AT_RNGLISTS_BASE,
    PROF__AT_RANGES_BASE,
    PROF__ATTRIBUTES,
};

struct prof__dwarf_value {
    uint16_t form; /* 0: the entry has no such attribute */
    uint64_t number;
    const char *text; /* of DW_FORM_string */
};

struct prof__abbrev;
struct prof__form;

/* The abbreviations of a unit: read whole, by code. */
struct prof__abbrevs {
    const struct prof__abbrev *abbrev;
    const uint32_t *of_code; /* index + 1 */
    size_t n_codes;
    const struct prof__form *form;
};

struct prof__dwarf_unit {
    struct prof__dwarf_image *image;
    uint64_t offset, size; /* in .debug_info, header included */
    uint64_t first;        /* offset of the unit's own entry */
    uint64_t abbrevs_at;   /* in .debug_abbrev */
    uint64_t id;           /* of a split unit and its skeleton; 0: none, or its entry has it */
    uint16_t version;
    uint8_t type, offset_size, address_size;
    struct prof__abbrevs abbrevs; /* empty until prof__dwarf_unit_load() */

    /* From the unit's own entry: prof__dwarf_unit_read_own(). */
    uint64_t low; /* what ranges are relative to */
    uint64_t str_offsets_base, addr_base, rnglists_base, ranges_base;
    /* Where .debug_addr and .debug_ranges are: of a split unit in the file of its skeleton. */
    struct prof__dwarf_image *home;
    /* Of a unit in a package (.dwp): where its parts of the sections start. */
    uint64_t str_offsets_part, rnglists_part;
};

/* What an entry says. */
struct prof__dwarf_entry {
    uint64_t offset, next; /* in .debug_info: of the entry, and behind its attributes */
    uint16_t tag;          /* 0: the end of a list of children */
    bool has_children;
    struct prof__dwarf_value at[PROF__ATTRIBUTES];
};

/* The unit whose header is at `offset`, read with the start of its entries, enough for the unit's
 * own. -ENOENT: no more units, -EINVAL: damaged. */
int prof__dwarf_unit_at(struct prof__dwarf_image *im, uint64_t offset,
                        struct prof__dwarf_unit *ret_unit);

/* Read the unit's own entry, and the bases that it has. -EINVAL. */
int prof__dwarf_unit_read_own(struct prof__dwarf_unit *u, struct prof__dwarf_entry *ret_entry);

/* Read all abbreviations, so that entries are read fast. They live in `a`. -EINVAL, -ENOMEM. */
int prof__dwarf_unit_load(struct prof__dwarf_unit *u, struct prof__arena *a);

/* The entry at an offset of the unit's .debug_info. False: there is none, or it is damaged. */
bool prof__dwarf_entry_at(const struct prof__dwarf_unit *u, uint64_t offset,
                          struct prof__dwarf_entry *ret_entry);

/* --- values ---------------------------------------------------------------------------------- */

static inline bool prof__dwarf_has(const struct prof__dwarf_entry *e, enum prof__dwarf_at at)
{
    return e->at[at].form != 0;
}

/* A constant; 0: there is none. */
static inline uint64_t prof__dwarf_number(const struct prof__dwarf_entry *e, enum prof__dwarf_at at)
{
    return e->at[at].form ? e->at[at].number : 0;
}

/* A string, in the image; NULL: there is none. `alternate` is the file that dwz shares, or NULL. */
const char *prof__dwarf_string(const struct prof__dwarf_unit *u,
                               struct prof__dwarf_image *alternate,
                               const struct prof__dwarf_entry *e, enum prof__dwarf_at at);

/* An address. False: there is none. */
bool prof__dwarf_address(const struct prof__dwarf_unit *u, const struct prof__dwarf_value *v,
                         uint64_t *ret_address);

/* Where a reference leads: the offset in .debug_info of the unit's own file, or of the alternate.
 * False: nowhere that is looked at. */
bool prof__dwarf_reference(const struct prof__dwarf_unit *u, const struct prof__dwarf_entry *e,
                           enum prof__dwarf_at at, bool *ret_is_alternate, uint64_t *ret_offset);

/* --- the code of an entry -------------------------------------------------------------------- */

struct prof__dwarf_ranges {
    const struct prof__dwarf_unit *unit;
    struct prof__cursor cursor;
    uint64_t base;
    uint64_t low, high; /* of an entry that has only these */
    enum { PROF__RANGES_ONE, PROF__RANGES_OLD, PROF__RANGES_NEW, PROF__RANGES_END } kind;
};

/* Start with the code that an entry covers, be it one piece or many. */
void prof__dwarf_ranges_of(const struct prof__dwarf_unit *u, const struct prof__dwarf_entry *e,
                           struct prof__dwarf_ranges *ret_ranges);

/* The next piece, [*ret_low, *ret_high); false: there are no more. Pieces may be empty. */
bool prof__dwarf_ranges_next(struct prof__dwarf_ranges *r, uint64_t *ret_low, uint64_t *ret_high);

#endif
