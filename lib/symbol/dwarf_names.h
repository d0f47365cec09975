/*
 * dwarf_names.h - what the functions of a unit are called, and where they were declared.
 */
#ifndef PROF_SYMBOL_DWARF_NAMES_H
#define PROF_SYMBOL_DWARF_NAMES_H

#include "symbol/dwarf_unit.h"

/* One file with debug information. */
struct prof__dwarf_debug {
    struct prof__dwarf_image image;
    struct prof__dwarf_unit *unit; /* headers, in order */
    size_t n_units;
};

/* A function or an inlined one, with at least one of the addresses in it. */
struct prof__dwarf_function {
    struct prof__dwarf_function *outer; /* the one it is inlined into; NULL: it is real */
    struct prof__dwarf_function *next;  /* of the unit */
    uint64_t entry;                     /* offset */
    const char *name;                   /* NULL: it has none */
    bool is_linkage;                    /* `name` is what the linker knows */
    uint32_t start_line, call_line;
    uint64_t call_file, decl_file; /* numbers in the unit's table; decl_file 0: not known */
};

struct prof__dwarf_naming {
    struct prof__arena *arena;                  /* for names */
    struct prof__arena *work;                   /* for as long as the unit is worked on */
    struct prof__dwarf_debug *main, *alternate; /* where references lead; alternate may be NULL */
    struct prof__dwarf_unit *unit;              /* that of the functions; loaded */

    bool counts_all; /* lambdas are counted whatever their parameters */

    struct prof__demangler *demangler; /* once it is needed */
    struct prof__dwarf_loaded *loaded; /* units that references led to */
    struct prof__dwarf_scope *scope;   /* of types, that have been found */
    unsigned depth;
};

/* How a compiler that calls itself so counts lambdas; NULL: unknown. */
bool prof__dwarf_counts_all(const char *producer);

/* Name all functions of the list. -ENOMEM, -ETIME. */
int prof__dwarf_name(struct prof__dwarf_naming *n, struct prof__dwarf_function *first);

#endif
