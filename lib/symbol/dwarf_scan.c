/*
 * dwarf_scan.c - every entry of a unit in order, at some nanoseconds each.
 *
 * Finding the few functions that hold an address means passing by hundreds of thousands of other
 * entries, so a pass skips: most entries have attributes of a fixed size together. What an entry
 * found says is for prof__dwarf_entry_at().
 */
#include "symbol/dwarf_scan.h"

#include "symbol/dwarf_abbrev.h"
#include "symbol/dwarf_codes.h"

void prof__dwarf_scan_start(struct prof__dwarf_scan *s, const struct prof__dwarf_unit *unit,
                            uint64_t offset)
{
    const struct prof__dwarf_part *p = &unit->image->part[PROF__DWARF_INFO];

    *s = (struct prof__dwarf_scan) { .unit = unit, .base = (const uint8_t *)p->data };
    s->cursor.at = s->base + offset;
    s->cursor.end = s->base + unit->offset + unit->size;
    prof__dwarf_image_need(unit->image, PROF__DWARF_INFO, unit->offset, unit->size);
}

/* The bounds of a function, where its attributes give them as plain numbers, and where it ends. */
static void read_some(struct prof__dwarf_scan *s, const struct prof__abbrev *b,
                      struct prof__dwarf_step *e)
{
    const struct prof__form *form = s->unit->abbrevs.form + b->first_form;
    bool has_low = false, has_high = false, is_offset = false;
    struct prof__cursor *r = &s->cursor;

    for (uint32_t i = 0; i < b->n_forms; i++) {
        const struct prof__form *f = &form[i];
        uint32_t size = f->size;

        if (f->name == DW_AT_low_pc && f->form == DW_FORM_addr) {
            e->low = prof__read_fixed(r, s->unit->address_size);
            has_low = true;
            continue;
        }
        if (f->name == DW_AT_high_pc && size != PROF__SIZE_VARIES && size > 0 && size <= 8) {
            e->high = prof__read_fixed(r, size);
            has_high = true;
            is_offset = f->form != DW_FORM_addr;
            continue;
        }
        if (f->name == DW_AT_sibling && (f->form == DW_FORM_ref4 || f->form == DW_FORM_ref2)) {
            e->sibling = s->unit->offset + prof__read_fixed(r, size);
            continue;
        }
        if (f->name == DW_AT_low_pc || f->name == DW_AT_high_pc || f->name == DW_AT_ranges)
            e->has_code = true;
        prof__form_skip(r, s->unit, f);
    }
    if (has_low && has_high && !e->has_code) {
        e->has_bounds = true;
        e->high += is_offset ? e->low : 0;
    } else if (has_low && has_high) {
        e->has_code = true;
    }
}

bool prof__dwarf_scan_next(struct prof__dwarf_scan *s, struct prof__dwarf_step *ret_step)
{
    const struct prof__abbrevs *all = &s->unit->abbrevs;
    struct prof__cursor *r = &s->cursor;
    struct prof__dwarf_step e = { .offset = (uint64_t)(r->at - s->base) };

    if (r->at >= r->end)
        return false;
    uint64_t code = prof__read_uleb(r);
    if (r->bad || code >= all->n_codes || (code && !all->of_code[code]))
        return false;
    if (code) {
        const struct prof__abbrev *b = &all->abbrev[all->of_code[code] - 1];

        e.tag = b->tag;
        e.has_children = b->has_children;
        if (b->tag == DW_TAG_subprogram || b->tag == DW_TAG_inlined_subroutine ||
            (s->wants_siblings && b->has_sibling)) {
            read_some(s, b, &e);
        } else if (b->size != PROF__SIZE_VARIES) {
            prof__read_skip(r, b->size);
        } else {
            for (uint32_t i = 0; i < b->n_forms; i++)
                prof__form_skip(r, s->unit, &all->form[b->first_form + i]);
        }
        if (r->bad)
            return false;
    }
    *ret_step = e;
    return true;
}

bool prof__dwarf_scan_skip(struct prof__dwarf_scan *s, const struct prof__dwarf_step *e)
{
    const uint8_t *to = s->base + e->sibling;

    /* Forward only: a damaged file may not send us round. */
    if (e->sibling >= s->unit->offset + s->unit->size || to < s->cursor.at)
        return false;
    s->cursor.at = to;
    return true;
}
