/*
 * dwarf_types.h - types as c++filt prints them; and what dwarf_names.c lends for it.
 */
#ifndef PROF_SYMBOL_DWARF_TYPES_H
#define PROF_SYMBOL_DWARF_TYPES_H

#include "symbol/dwarf_names.h"

/* The types of a function's parameters, "int, char const*". NULL: out of memory. */
const char *prof__dwarf_parameters(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                                   const struct prof__dwarf_entry *function);

/* --- in dwarf_names.c ------------------------------------------------------------------------ */

/* From an entry to where its attribute leads, which may be in another unit. False: nowhere. */
bool prof__dwarf_follow(struct prof__dwarf_naming *n, const struct prof__dwarf_unit **unit,
                        struct prof__dwarf_entry *entry, enum prof__dwarf_at at);

/* A string attribute, in the work arena; NULL: there is none. */
const char *prof__dwarf_text(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                             const struct prof__dwarf_entry *e, enum prof__dwarf_at at);

/* What stands before the name of the type at an offset: "" or "ns::". */
const char *prof__dwarf_scope_of(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                                 uint64_t offset);

#endif
