/*
 * dwarf_ranges.c - the pieces of code that an entry covers.
 *
 * Two attributes for one piece; for more a list, in .debug_ranges up to version 4, and since then
 * in .debug_rnglists, where it is a little program. A list has no length: what bounds it is the end
 * of its section.
 */
#include "symbol/dwarf_codes.h"
#include "symbol/dwarf_unit.h"

static void start_at(struct prof__dwarf_ranges *r, const struct prof__dwarf_image *im,
                     enum prof__dwarf_section section, uint64_t offset)
{
    const struct prof__dwarf_part *p = &im->part[section];

    if (offset >= p->size) {
        r->kind = PROF__RANGES_END;
        return;
    }
    r->cursor.at = (const uint8_t *)p->data + offset;
    r->cursor.end = (const uint8_t *)p->data + p->size;
}

static void start_list(struct prof__dwarf_ranges *r, const struct prof__dwarf_value *v)
{
    const struct prof__dwarf_unit *u = r->unit;
    uint64_t offset = v->number;

    if (u->version < 5) {
        r->kind = PROF__RANGES_OLD;
        /* Of a split unit they are in the file of its skeleton, from a base on. */
        start_at(r, u->home, PROF__DWARF_RANGES,
                 offset + (u->home != u->image ? u->ranges_base : 0));
        return;
    }
    r->kind = PROF__RANGES_NEW;
    if (v->form == DW_FORM_rnglistx) {
        start_at(r, u->image, PROF__DWARF_RNGLISTS,
                 u->rnglists_base + PROF_MIN(offset, (uint64_t)1 << 32) * u->offset_size);
        offset = u->rnglists_base + prof__read_fixed(&r->cursor, u->offset_size);
    } else {
        offset += u->rnglists_part;
    }
    if (r->kind != PROF__RANGES_END)
        start_at(r, u->image, PROF__DWARF_RNGLISTS, offset);
}

void prof__dwarf_ranges_of(const struct prof__dwarf_unit *u, const struct prof__dwarf_entry *e,
                           struct prof__dwarf_ranges *ret_ranges)
{
    const struct prof__dwarf_value *high = &e->at[PROF__AT_HIGH_PC];
    struct prof__dwarf_ranges r = { .unit = u, .base = u->low, .kind = PROF__RANGES_END };

    if (prof__dwarf_has(e, PROF__AT_RANGES)) {
        start_list(&r, &e->at[PROF__AT_RANGES]);
    } else if (prof__dwarf_address(u, &e->at[PROF__AT_LOW_PC], &r.low) && high->form) {
        r.kind = PROF__RANGES_ONE;
        if (!prof__dwarf_address(u, high, &r.high))
            r.high = r.low + high->number; /* a constant is a length */
    }
    *ret_ranges = r;
}

static bool next_old(struct prof__dwarf_ranges *r, uint64_t *ret_low, uint64_t *ret_high)
{
    unsigned size = r->unit->address_size;
    uint64_t most = size >= 8 ? UINT64_MAX : ((uint64_t)1 << size * 8) - 1;

    for (;;) {
        uint64_t low = prof__read_fixed(&r->cursor, size),
                 high = prof__read_fixed(&r->cursor, size);

        if (r->cursor.bad || size == 0 || (low == 0 && high == 0))
            return false;
        if (low == most) {
            r->base = high;
            continue;
        }
        *ret_low = r->base + low;
        *ret_high = r->base + high;
        return true;
    }
}

static uint64_t indexed(struct prof__dwarf_ranges *r)
{
    struct prof__dwarf_value v = { .form = DW_FORM_addrx, .number = prof__read_uleb(&r->cursor) };
    uint64_t address = 0;

    if (!prof__dwarf_address(r->unit, &v, &address))
        prof__read_fail(&r->cursor);
    return address;
}

static bool next_new(struct prof__dwarf_ranges *r, uint64_t *ret_low, uint64_t *ret_high)
{
    struct prof__cursor *in = &r->cursor;
    unsigned size = r->unit->address_size;
    uint64_t low, high;

    for (;;) {
        unsigned kind = (unsigned)prof__read_fixed(in, 1);

        switch (kind) {
        case DW_RLE_base_addressx:
            r->base = indexed(r);
            continue;
        case DW_RLE_base_address:
            r->base = prof__read_fixed(in, size);
            continue;
        case DW_RLE_startx_endx:
            low = indexed(r);
            high = indexed(r);
            break;
        case DW_RLE_startx_length:
            low = indexed(r);
            high = low + prof__read_uleb(in);
            break;
        case DW_RLE_offset_pair:
            low = r->base + prof__read_uleb(in);
            high = r->base + prof__read_uleb(in);
            break;
        case DW_RLE_start_end:
            low = prof__read_fixed(in, size);
            high = prof__read_fixed(in, size);
            break;
        case DW_RLE_start_length:
            low = prof__read_fixed(in, size);
            high = low + prof__read_uleb(in);
            break;
        default: /* the end, or unknown */
            return false;
        }
        *ret_low = low;
        *ret_high = high;
        return !in->bad;
    }
}

bool prof__dwarf_ranges_next(struct prof__dwarf_ranges *r, uint64_t *ret_low, uint64_t *ret_high)
{
    switch (r->kind) {
    case PROF__RANGES_ONE:
        r->kind = PROF__RANGES_END;
        *ret_low = r->low;
        *ret_high = r->high;
        return true;
    case PROF__RANGES_OLD:
        return next_old(r, ret_low, ret_high);
    case PROF__RANGES_NEW:
        return next_new(r, ret_low, ret_high);
    default:
        return false;
    }
}
