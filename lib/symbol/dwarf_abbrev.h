/*
 * dwarf_abbrev.h - abbreviations and forms: for dwarf_unit.c and dwarf_scan.c.
 */
#ifndef PROF_SYMBOL_DWARF_ABBREV_H
#define PROF_SYMBOL_DWARF_ABBREV_H

#include "symbol/dwarf_unit.h"

#define PROF__SIZE_VARIES UINT32_MAX

struct prof__form {
    uint16_t name, form;
    uint32_t size;    /* of the value, or PROF__SIZE_VARIES */
    int64_t constant; /* of DW_FORM_implicit_const */
};

struct prof__abbrev {
    uint64_t code;
    uint32_t first_form, n_forms;
    uint32_t size; /* of all attributes where that is fixed, else PROF__SIZE_VARIES */
    uint16_t tag;
    bool has_children;
    bool has_sibling;
};

/* Pass by a value whose size varies. */
void prof__form_skip_varying(struct prof__cursor *r, const struct prof__dwarf_unit *u,
                             unsigned form);

/* Pass by a value. */
static inline void prof__form_skip(struct prof__cursor *r, const struct prof__dwarf_unit *u,
                                   const struct prof__form *f)
{
    if (PROF_LIKELY(f->size != PROF__SIZE_VARIES))
        prof__read_skip(r, f->size);
    else
        prof__form_skip_varying(r, u, f->form);
}

#endif
