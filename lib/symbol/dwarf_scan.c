/*
 * dwarf_scan.c - every entry of a unit in order, at some nanoseconds each.
 *
 * libdw steps from entry to entry by reading attributes twice, and jumps where DW_AT_sibling
 * says, backwards too in a damaged file. Finding the few functions that hold an address means
 * passing by hundreds of thousands of other entries; for that a pass which only skips is
 * simpler, several times faster, and ends. What an entry found says is left to libdw.
 */
#include "symbol/dwarf_scan.h"

#include <dwarf.h>
#include <errno.h>

#include "symbol/deadline.h"

struct prof__form {
    uint16_t name, form;
};

struct prof__abbrev {
    uint64_t code;
    uint32_t first_form, n_forms;
    uint32_t size; /* of all attributes where that is fixed, else VARIES */
    uint16_t tag;
    bool has_children;
    bool is_function; /* look at its attributes */
};

#define VARIES UINT32_MAX

enum {
    UNIT_HEAD = 8192, /* bytes from a unit's start that hold its own entry */
    UNIT_HEADER_MAX = 64,
    CODES_MAX = 1 << 20,
};

int prof__dwarf_unit_at(struct prof__dwarf_image *im, uint64_t offset,
                        struct prof__dwarf_unit *ret_unit)
{
    const struct prof__dwarf_part *p = &im->part[PROF__DWARF_INFO];
    struct prof__dwarf_unit u = { .offset = offset };

    if (offset >= p->size)
        return -ENOENT;
    prof__dwarf_image_need(im, PROF__DWARF_INFO, offset, UNIT_HEADER_MAX);
    const uint8_t *start = (const uint8_t *)p->data + offset;
    struct prof__reader r = { start, (const uint8_t *)p->data + p->size, false };
    uint64_t length = prof__read_length(&r, &u.offset_size);

    if (r.bad || length > prof__read_left(&r) || length == 0)
        return -EINVAL;
    r.end = r.at + length;
    u.size = (uint64_t)(r.end - start);
    u.version = (uint16_t)prof__read_fixed(&r, 2);
    if (u.version < 2 || u.version > 5)
        return -EINVAL;
    if (u.version >= 5) {
        u.type = (uint8_t)prof__read_fixed(&r, 1);
        u.address_size = (uint8_t)prof__read_fixed(&r, 1);
        u.abbrevs = prof__read_fixed(&r, u.offset_size);
        if (u.type == DW_UT_skeleton || u.type == DW_UT_split_compile)
            prof__read_skip(&r, 8);
        else if (u.type == DW_UT_type || u.type == DW_UT_split_type)
            prof__read_skip(&r, 8u + u.offset_size);
    } else {
        u.type = DW_UT_compile;
        u.abbrevs = prof__read_fixed(&r, u.offset_size);
        u.address_size = (uint8_t)prof__read_fixed(&r, 1);
    }
    if (r.bad || u.address_size > 8)
        return -EINVAL;
    u.first = (uint64_t)(r.at - (const uint8_t *)p->data);
    prof__dwarf_image_need(im, PROF__DWARF_INFO, offset, PROF_MIN(u.size, (uint64_t)UNIT_HEAD));
    *ret_unit = u;
    return 0;
}

/* --- abbreviations --------------------------------------------------------------------------- */

/* Bytes of a form; VARIES. */
static uint32_t form_size(const struct prof__dwarf_unit *u, unsigned form)
{
    switch (form) {
    case DW_FORM_flag_present:
    case DW_FORM_implicit_const:
        return 0;
    case DW_FORM_data1:
    case DW_FORM_ref1:
    case DW_FORM_flag:
    case DW_FORM_strx1:
    case DW_FORM_addrx1:
        return 1;
    case DW_FORM_data2:
    case DW_FORM_ref2:
    case DW_FORM_strx2:
    case DW_FORM_addrx2:
        return 2;
    case DW_FORM_strx3:
    case DW_FORM_addrx3:
        return 3;
    case DW_FORM_data4:
    case DW_FORM_ref4:
    case DW_FORM_ref_sup4:
    case DW_FORM_strx4:
    case DW_FORM_addrx4:
        return 4;
    case DW_FORM_data8:
    case DW_FORM_ref8:
    case DW_FORM_ref_sig8:
    case DW_FORM_ref_sup8:
        return 8;
    case DW_FORM_data16:
        return 16;
    case DW_FORM_addr:
        return u->address_size;
    case DW_FORM_ref_addr:
        return u->version <= 2 ? u->address_size : u->offset_size;
    case DW_FORM_strp:
    case DW_FORM_line_strp:
    case DW_FORM_sec_offset:
    case DW_FORM_strp_sup:
    case DW_FORM_GNU_strp_alt:
    case DW_FORM_GNU_ref_alt:
        return u->offset_size;
    default:
        return VARIES;
    }
}

static void skip_form(struct prof__reader *r, const struct prof__dwarf_unit *u, uint64_t form)
{
    while (form == DW_FORM_indirect)
        form = prof__read_uleb(r);
    uint32_t size = form > UINT16_MAX ? VARIES : form_size(u, (unsigned)form);

    if (size != VARIES) {
        prof__read_skip(r, size);
        return;
    }
    switch (form) {
    case DW_FORM_block:
    case DW_FORM_exprloc:
        prof__read_skip(r, prof__read_uleb(r));
        break;
    case DW_FORM_block1:
        prof__read_skip(r, prof__read_fixed(r, 1));
        break;
    case DW_FORM_block2:
        prof__read_skip(r, prof__read_fixed(r, 2));
        break;
    case DW_FORM_block4:
        prof__read_skip(r, prof__read_fixed(r, 4));
        break;
    case DW_FORM_string:
        prof__read_string(r);
        break;
    case DW_FORM_sdata:
    case DW_FORM_udata:
    case DW_FORM_ref_udata:
    case DW_FORM_strx:
    case DW_FORM_addrx:
    case DW_FORM_loclistx:
    case DW_FORM_rnglistx:
    case DW_FORM_GNU_addr_index:
    case DW_FORM_GNU_str_index:
        prof__read_uleb(r);
        break;
    default: /* unknown, so nothing behind it can be found */
        prof__read_fail(r);
    }
}

/* The abbreviations from r on: counts when `abbrev` is NULL, else fills. False: damaged. */
static bool read_abbrevs(struct prof__reader r, const struct prof__dwarf_unit *u,
                         struct prof__abbrev *abbrev, struct prof__form *form, size_t *ret_abbrevs,
                         size_t *ret_forms, uint64_t *ret_codes)
{
    size_t n = 0, n_forms = 0;
    uint64_t code, codes = 0;

    while ((code = prof__read_uleb(&r)) != 0) {
        struct prof__abbrev b = { .code = code, .first_form = (uint32_t)n_forms };

        b.tag = (uint16_t)prof__read_uleb(&r);
        b.has_children = prof__read_fixed(&r, 1) != 0;
        b.is_function = b.tag == DW_TAG_subprogram || b.tag == DW_TAG_inlined_subroutine;
        for (;;) {
            struct prof__form f = { .name = (uint16_t)prof__read_uleb(&r) };

            f.form = (uint16_t)prof__read_uleb(&r);
            if (f.form == DW_FORM_implicit_const)
                prof__read_sleb(&r);
            if (r.bad || prof__late())
                return false;
            if (f.name == 0 && f.form == 0)
                break;
            uint32_t size = form_size(u, f.form);
            b.size = size == VARIES || b.size == VARIES ? VARIES : b.size + size;
            if (form)
                form[n_forms] = f;
            n_forms++;
            b.n_forms++;
        }
        codes = PROF_MAX(codes, code);
        if (abbrev)
            abbrev[n] = b;
        n++;
    }
    *ret_abbrevs = n;
    *ret_forms = n_forms;
    *ret_codes = codes;
    return !r.bad;
}

static int load_abbrevs(struct prof__dwarf_scan *s, struct prof__arena *a,
                        const struct prof__dwarf_image *im)
{
    const struct prof__dwarf_part *p = &im->part[PROF__DWARF_ABBREV];
    size_t n, n_forms;
    uint64_t codes;

    if (s->unit.abbrevs >= p->size)
        return -EINVAL;
    struct prof__reader r = { (const uint8_t *)p->data + s->unit.abbrevs,
                              (const uint8_t *)p->data + p->size, false };
    if (!read_abbrevs(r, &s->unit, NULL, NULL, &n, &n_forms, &codes) || codes > CODES_MAX)
        return -EINVAL; /* compilers number them from 1 on, without gaps */
    struct prof__abbrev *abbrev = prof__arena_array(a, n, sizeof(*abbrev));
    struct prof__form *form = prof__arena_array(a, n_forms, sizeof(*form));
    uint32_t *of_code = prof__arena_array(a, codes + 1, sizeof(*of_code));

    if (!abbrev || !form || !of_code)
        return -ENOMEM;
    read_abbrevs(r, &s->unit, abbrev, form, &n, &n_forms, &codes);
    for (size_t i = 0; i < n; i++)
        of_code[abbrev[i].code] = (uint32_t)i + 1;
    s->abbrev = abbrev;
    s->form = form;
    s->abbrev_of_code = of_code;
    s->n_codes = codes + 1;
    return 0;
}

/* --- entries --------------------------------------------------------------------------------- */

int prof__dwarf_scan_start(struct prof__dwarf_scan *s, struct prof__arena *a,
                           struct prof__dwarf_image *im, const struct prof__dwarf_unit *unit)
{
    const struct prof__dwarf_part *p = &im->part[PROF__DWARF_INFO];

    memset(s, 0, sizeof(*s));
    s->unit = *unit;
    s->base = (const uint8_t *)p->data;
    s->reader.at = s->base + unit->first;
    s->reader.end = s->base + unit->offset + unit->size;
    prof__dwarf_image_need(im, PROF__DWARF_INFO, unit->offset, unit->size);
    return load_abbrevs(s, a, im);
}

/* The bounds of a function, where its attributes give them as plain numbers, and where it ends. */
static void read_function(struct prof__dwarf_scan *s, const struct prof__abbrev *b,
                          struct prof__dwarf_entry *e)
{
    struct prof__reader *r = &s->reader;
    bool has_low = false, has_high = false, is_offset = false;

    for (uint32_t i = 0; i < b->n_forms; i++) {
        const struct prof__form *f = &s->form[b->first_form + i];
        uint32_t size = form_size(&s->unit, f->form);

        if (f->name == DW_AT_low_pc && f->form == DW_FORM_addr) {
            e->low = prof__read_fixed(r, s->unit.address_size);
            has_low = true;
            continue;
        }
        if (f->name == DW_AT_high_pc && size != VARIES && size > 0 && size <= 8) {
            e->high = prof__read_fixed(r, size);
            has_high = true;
            is_offset = f->form != DW_FORM_addr;
            continue;
        }
        if (f->name == DW_AT_sibling && (f->form == DW_FORM_ref4 || f->form == DW_FORM_ref2)) {
            e->sibling = s->unit.offset + prof__read_fixed(r, size);
            continue;
        }
        if (f->name == DW_AT_low_pc || f->name == DW_AT_high_pc || f->name == DW_AT_ranges)
            e->has_code = true;
        skip_form(r, &s->unit, f->form);
    }
    if (has_low && has_high && !e->has_code) {
        e->has_bounds = true;
        e->high += is_offset ? e->low : 0;
    } else if (has_low && has_high) {
        e->has_code = true;
    }
}

bool prof__dwarf_scan_next(struct prof__dwarf_scan *s, struct prof__dwarf_entry *ret_entry)
{
    struct prof__reader *r = &s->reader;
    struct prof__dwarf_entry e = { .offset = (uint64_t)(r->at - s->base) };

    if (r->at >= r->end)
        return false;
    uint64_t code = prof__read_uleb(r);
    if (r->bad || code >= s->n_codes || (code && !s->abbrev_of_code[code]))
        return false;
    if (code) {
        const struct prof__abbrev *b = &s->abbrev[s->abbrev_of_code[code] - 1];

        e.tag = b->tag;
        e.has_children = b->has_children;
        if (b->is_function) {
            read_function(s, b, &e);
        } else if (b->size != VARIES) {
            prof__read_skip(r, b->size);
        } else {
            for (uint32_t i = 0; i < b->n_forms; i++)
                skip_form(r, &s->unit, s->form[b->first_form + i].form);
        }
        if (r->bad)
            return false;
    }
    *ret_entry = e;
    return true;
}

bool prof__dwarf_scan_skip(struct prof__dwarf_scan *s, const struct prof__dwarf_entry *e)
{
    const uint8_t *to = s->base + e->sibling;

    /* Forward only: a damaged file may not send us round. */
    if (e->sibling >= s->unit.offset + s->unit.size || to < s->reader.at)
        return false;
    s->reader.at = to;
    return true;
}
