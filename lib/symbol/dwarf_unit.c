/*
 * dwarf_unit.c - units, abbreviations, and the entries that are read one at a time.
 *
 * An entry is a code, which stands for a tag and a list of attributes with their forms, and the
 * values of these. The list is found by reading the unit's abbreviations in order: for the one
 * entry of a unit that is only looked at in passing, up to its code; for all others they are read
 * whole, once.
 *
 * Source: DWARF Debugging Information Format, versions 2 to 5; GNU's extensions for split units.
 */
#include "symbol/dwarf_unit.h"

#include <errno.h>

#include "symbol/deadline.h"
#include "symbol/dwarf_abbrev.h"
#include "symbol/dwarf_codes.h"

enum {
    UNIT_HEAD = 8192, /* bytes from a unit's start that hold its own entry */
    UNIT_HEADER_MAX = 64,
    ENTRY_BYTES = 4096,      /* that hold any one entry */
    CODES_MAX = 1 << 18,     /* the largest programs have some thousands in a unit */
    ALL_FORMS_MAX = 1 << 18, /* of all kinds of entries of a unit */
    CODE_GAPS = 4,           /* codes for each that is there, at most: compilers leave none out */
    FORMS_MAX = 256,         /* of an entry that is read in passing */
};

static const uint8_t *bytes_of(const struct prof__dwarf_image *im, enum prof__dwarf_section section)
{
    return (const uint8_t *)im->part[section].data;
}

/* All of a section from an offset on. */
static struct prof__cursor cursor_at(const struct prof__dwarf_image *im,
                                     enum prof__dwarf_section section, uint64_t offset)
{
    const struct prof__dwarf_part *p = &im->part[section];
    uint64_t from = PROF_MIN(offset, p->size);

    return (struct prof__cursor) { bytes_of(im, section) + from, bytes_of(im, section) + p->size,
                                   from < offset };
}

int prof__dwarf_unit_at(struct prof__dwarf_image *im, uint64_t offset,
                        struct prof__dwarf_unit *ret_unit)
{
    struct prof__dwarf_unit u = { .image = im, .home = im, .offset = offset };

    if (offset >= im->part[PROF__DWARF_INFO].size)
        return -ENOENT;
    prof__dwarf_image_need(im, PROF__DWARF_INFO, offset, UNIT_HEADER_MAX);
    struct prof__cursor r = cursor_at(im, PROF__DWARF_INFO, offset);
    const uint8_t *start = r.at;
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
        u.abbrevs_at = prof__read_fixed(&r, u.offset_size);
        if (u.type == DW_UT_skeleton || u.type == DW_UT_split_compile)
            u.id = prof__read_fixed(&r, 8);
        else if (u.type == DW_UT_type || u.type == DW_UT_split_type)
            prof__read_skip(&r, 8u + u.offset_size);
    } else {
        u.type = DW_UT_compile;
        u.abbrevs_at = prof__read_fixed(&r, u.offset_size);
        u.address_size = (uint8_t)prof__read_fixed(&r, 1);
    }
    if (r.bad || u.address_size > 8)
        return -EINVAL;
    u.first = offset + (uint64_t)(r.at - start);
    prof__dwarf_image_need(im, PROF__DWARF_INFO, offset, PROF_MIN(u.size, (uint64_t)UNIT_HEAD));
    *ret_unit = u;
    return 0;
}

/* --- forms ----------------------------------------------------------------------------------- */

/* Bytes of a form, or PROF__SIZE_VARIES. */
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
        return PROF__SIZE_VARIES;
    }
}

/* A form of no fixed size: its number, or 0 for what has none. */
static uint64_t read_varying(struct prof__cursor *r, uint64_t form, const char **ret_text)
{
    switch (form) {
    case DW_FORM_block:
    case DW_FORM_exprloc:
        prof__read_skip(r, prof__read_uleb(r));
        return 0;
    case DW_FORM_block1:
        prof__read_skip(r, prof__read_fixed(r, 1));
        return 0;
    case DW_FORM_block2:
        prof__read_skip(r, prof__read_fixed(r, 2));
        return 0;
    case DW_FORM_block4:
        prof__read_skip(r, prof__read_fixed(r, 4));
        return 0;
    case DW_FORM_string:
        *ret_text = prof__read_string(r);
        return 0;
    case DW_FORM_sdata:
        return (uint64_t)prof__read_sleb(r);
    case DW_FORM_udata:
    case DW_FORM_ref_udata:
    case DW_FORM_strx:
    case DW_FORM_addrx:
    case DW_FORM_loclistx:
    case DW_FORM_rnglistx:
    case DW_FORM_GNU_addr_index:
    case DW_FORM_GNU_str_index:
        return prof__read_uleb(r);
    default: /* unknown, so nothing behind it can be found */
        prof__read_fail(r);
        return 0;
    }
}

static uint64_t indirect_form(struct prof__cursor *r, uint64_t form)
{
    while (form == DW_FORM_indirect)
        form = prof__read_uleb(r);
    return form > UINT16_MAX ? 0 : form; /* 0 is none */
}

/* Read a value, of which the number or the text is kept. */
static void form_read(struct prof__cursor *r, const struct prof__dwarf_unit *u,
                      const struct prof__form *f, struct prof__dwarf_value *ret_value)
{
    uint64_t form = indirect_form(r, f->form);
    uint32_t size = form == f->form ? f->size : form_size(u, (unsigned)form);

    *ret_value = (struct prof__dwarf_value) { .form = (uint16_t)form };
    if (form == DW_FORM_implicit_const)
        ret_value->number = (uint64_t)f->constant;
    else if (form == DW_FORM_flag_present)
        ret_value->number = 1;
    else if (size == PROF__SIZE_VARIES)
        ret_value->number = read_varying(r, form, &ret_value->text);
    else if (size <= 8)
        ret_value->number = prof__read_fixed(r, size);
    else
        prof__read_skip(r, size);
}

void prof__form_skip_varying(struct prof__cursor *r, const struct prof__dwarf_unit *u,
                             unsigned form)
{
    struct prof__form f = { .form = (uint16_t)form, .size = PROF__SIZE_VARIES };
    struct prof__dwarf_value ignored;

    form_read(r, u, &f, &ignored);
}

/* Which of the attributes that are asked for, PROF__ATTRIBUTES: none. */
static enum prof__dwarf_at attribute_of(unsigned name)
{
    switch (name) {
    case DW_AT_name:
        return PROF__AT_NAME;
    case DW_AT_linkage_name:
    case DW_AT_MIPS_linkage_name:
        return PROF__AT_LINKAGE_NAME;
    case DW_AT_abstract_origin:
        return PROF__AT_ABSTRACT_ORIGIN;
    case DW_AT_specification:
        return PROF__AT_SPECIFICATION;
    case DW_AT_type:
        return PROF__AT_TYPE;
    case DW_AT_decl_file:
        return PROF__AT_DECL_FILE;
    case DW_AT_decl_line:
        return PROF__AT_DECL_LINE;
    case DW_AT_decl_column:
        return PROF__AT_DECL_COLUMN;
    case DW_AT_call_file:
        return PROF__AT_CALL_FILE;
    case DW_AT_call_line:
        return PROF__AT_CALL_LINE;
    case DW_AT_low_pc:
        return PROF__AT_LOW_PC;
    case DW_AT_high_pc:
        return PROF__AT_HIGH_PC;
    case DW_AT_ranges:
        return PROF__AT_RANGES;
    case DW_AT_sibling:
        return PROF__AT_SIBLING;
    case DW_AT_artificial:
        return PROF__AT_ARTIFICIAL;
    case DW_AT_language:
        return PROF__AT_LANGUAGE;
    case DW_AT_producer:
        return PROF__AT_PRODUCER;
    case DW_AT_stmt_list:
        return PROF__AT_STMT_LIST;
    case DW_AT_comp_dir:
        return PROF__AT_COMP_DIR;
    case DW_AT_dwo_name:
    case DW_AT_GNU_dwo_name:
        return PROF__AT_DWO_NAME;
    case DW_AT_GNU_dwo_id:
        return PROF__AT_DWO_ID;
    case DW_AT_str_offsets_base:
        return PROF__AT_STR_OFFSETS_BASE;
    case DW_AT_addr_base:
    case DW_AT_GNU_addr_base:
        return PROF__AT_ADDR_BASE;
    case DW_AT_rnglists_base:
        return PROF__AT_RNGLISTS_BASE;
    case DW_AT_GNU_ranges_base:
        return PROF__AT_RANGES_BASE;
    default:
        return PROF__ATTRIBUTES;
    }
}

/* --- abbreviations --------------------------------------------------------------------------- */

/* The next abbreviation of the list, at most `room` of its forms kept. False: the list has ended or
 * is damaged, which r->bad tells. */
static bool read_abbrev(struct prof__cursor *r, const struct prof__dwarf_unit *u,
                        struct prof__abbrev *ret_abbrev, struct prof__form *form, size_t room)
{
    struct prof__abbrev b = { .code = prof__read_uleb(r) };

    if (b.code == 0)
        return false;
    b.tag = (uint16_t)prof__read_uleb(r);
    b.has_children = prof__read_fixed(r, 1) != 0;
    for (;;) {
        struct prof__form f = { .name = (uint16_t)prof__read_uleb(r) };

        f.form = (uint16_t)prof__read_uleb(r);
        if (f.form == DW_FORM_implicit_const)
            f.constant = prof__read_sleb(r);
        if (r->bad || prof__late()) {
            prof__read_fail(r);
            return false;
        }
        if (f.name == 0 && f.form == 0)
            break;
        f.size = form_size(u, f.form);
        b.size = f.size == PROF__SIZE_VARIES || b.size == PROF__SIZE_VARIES ? PROF__SIZE_VARIES
                                                                            : b.size + f.size;
        b.has_sibling |= f.name == DW_AT_sibling;
        if (b.n_forms < room)
            form[b.n_forms] = f;
        b.n_forms++;
    }
    *ret_abbrev = b;
    return true;
}

int prof__dwarf_unit_load(struct prof__dwarf_unit *u, struct prof__arena *a)
{
    struct prof__cursor start = cursor_at(u->image, PROF__DWARF_ABBREV, u->abbrevs_at), r = start;
    size_t n = 0, n_forms = 0;
    uint64_t codes = 0;
    struct prof__abbrev b;

    if (u->abbrevs.abbrev)
        return 0;
    for (; read_abbrev(&r, u, &b, NULL, 0); n++) {
        n_forms += b.n_forms;
        codes = PROF_MAX(codes, b.code);
        if (n > CODES_MAX || n_forms > ALL_FORMS_MAX)
            return -EINVAL;
    }
    if (start.bad || r.bad || codes > CODES_MAX || codes > CODE_GAPS * (n + 16))
        return -EINVAL;
    struct prof__abbrev *abbrev = prof__arena_array(a, n + 1, sizeof(*abbrev));
    struct prof__form *form = prof__arena_array(a, n_forms + 1, sizeof(*form));
    uint32_t *of_code = prof__arena_array(a, codes + 1, sizeof(*of_code));

    if (!abbrev || !form || !of_code)
        return -ENOMEM;
    r = start;
    for (size_t i = 0, used = 0; i < n; i++) {
        read_abbrev(&r, u, &abbrev[i], form + used, n_forms - used);
        abbrev[i].first_form = (uint32_t)used;
        used += abbrev[i].n_forms;
        of_code[abbrev[i].code] = (uint32_t)i + 1;
    }
    u->abbrevs = (struct prof__abbrevs) { abbrev, of_code, codes + 1, form };
    return 0;
}

/* --- entries --------------------------------------------------------------------------------- */

/* The abbreviation of a code, and its forms: in the table, or where that has not been read, copied
 * to form[FORMS_MAX]. NULL: there is none. */
static const struct prof__abbrev *find_abbrev(const struct prof__dwarf_unit *u, uint64_t code,
                                              struct prof__abbrev *scratch, struct prof__form *form,
                                              const struct prof__form **ret_form)
{
    const struct prof__abbrevs *all = &u->abbrevs;

    if (all->abbrev) {
        if (code >= all->n_codes || !all->of_code[code])
            return NULL;
        const struct prof__abbrev *b = &all->abbrev[all->of_code[code] - 1];
        *ret_form = all->form + b->first_form;
        return b;
    }
    struct prof__cursor r = cursor_at(u->image, PROF__DWARF_ABBREV, u->abbrevs_at);
    *ret_form = form;
    while (!r.bad && read_abbrev(&r, u, scratch, form, FORMS_MAX))
        if (scratch->code == code)
            return scratch->n_forms <= FORMS_MAX ? scratch : NULL;
    return NULL;
}

bool prof__dwarf_entry_at(const struct prof__dwarf_unit *u, uint64_t offset,
                          struct prof__dwarf_entry *ret_entry)
{
    struct prof__dwarf_entry e = { .offset = offset };
    struct prof__form scratch_form[FORMS_MAX];
    const struct prof__form *form = NULL;
    struct prof__abbrev scratch;

    if (offset < u->first || offset >= u->offset + u->size)
        return false;
    prof__dwarf_image_need(u->image, PROF__DWARF_INFO, offset, ENTRY_BYTES);
    struct prof__cursor r = cursor_at(u->image, PROF__DWARF_INFO, offset);
    r.end = bytes_of(u->image, PROF__DWARF_INFO) + u->offset + u->size;
    uint64_t code = prof__read_uleb(&r);
    if (code) {
        const struct prof__abbrev *b = find_abbrev(u, code, &scratch, scratch_form, &form);

        if (!b)
            return false;
        e.tag = b->tag;
        e.has_children = b->has_children;
        for (uint32_t i = 0; i < b->n_forms && !r.bad; i++) {
            enum prof__dwarf_at at = attribute_of(form[i].name);
            struct prof__dwarf_value ignored;

            form_read(&r, u, &form[i], at < PROF__ATTRIBUTES ? &e.at[at] : &ignored);
        }
    }
    e.next = (uint64_t)(r.at - bytes_of(u->image, PROF__DWARF_INFO));
    if (r.bad)
        return false;
    *ret_entry = e;
    return true;
}

int prof__dwarf_unit_read_own(struct prof__dwarf_unit *u, struct prof__dwarf_entry *ret_entry)
{
    /* Where tables that say nothing of a base start: behind the head that they have in version 5.
     */
    uint64_t head = u->version < 5 ? 0 : u->offset_size == 8 ? 16 : 8;
    uint64_t list_head = u->version < 5 ? 0 : u->offset_size == 8 ? 20 : 12;
    struct prof__dwarf_entry e;

    if (!prof__dwarf_entry_at(u, u->first, &e) || e.tag == 0)
        return -EINVAL;
    u->str_offsets_base = prof__dwarf_has(&e, PROF__AT_STR_OFFSETS_BASE)
                              ? prof__dwarf_number(&e, PROF__AT_STR_OFFSETS_BASE)
                              : u->str_offsets_part + head;
    u->rnglists_base = prof__dwarf_has(&e, PROF__AT_RNGLISTS_BASE)
                           ? prof__dwarf_number(&e, PROF__AT_RNGLISTS_BASE)
                           : u->rnglists_part + list_head;
    if (u->home == u->image) { /* a split unit has its skeleton's */
        u->addr_base = prof__dwarf_has(&e, PROF__AT_ADDR_BASE)
                           ? prof__dwarf_number(&e, PROF__AT_ADDR_BASE)
                           : head;
        u->ranges_base = prof__dwarf_number(&e, PROF__AT_RANGES_BASE);
        if (!prof__dwarf_address(u, &e.at[PROF__AT_LOW_PC], &u->low))
            u->low = 0;
    }
    if (!u->id)
        u->id = prof__dwarf_number(&e, PROF__AT_DWO_ID);
    *ret_entry = e;
    return 0;
}

/* --- values ---------------------------------------------------------------------------------- */

/* A number of `size` bytes in a table of such. */
static bool table_entry(const struct prof__dwarf_image *im, enum prof__dwarf_section section,
                        uint64_t base, uint64_t index, size_t size, uint64_t *ret_value)
{
    uint64_t all = im->part[section].size;

    if (base > all || size == 0 || index >= (all - base) / size)
        return false;
    struct prof__cursor r = cursor_at(im, section, base + index * size);
    *ret_value = prof__read_fixed(&r, size);
    return !r.bad;
}

const char *prof__dwarf_string(const struct prof__dwarf_unit *u,
                               struct prof__dwarf_image *alternate,
                               const struct prof__dwarf_entry *e, enum prof__dwarf_at at)
{
    const struct prof__dwarf_value *v = &e->at[at];
    uint64_t offset;

    switch (v->form) {
    case DW_FORM_string:
        return v->text;
    case DW_FORM_strp:
        return prof__dwarf_image_string(u->image, PROF__DWARF_STR, v->number);
    case DW_FORM_line_strp:
        return prof__dwarf_image_string(u->image, PROF__DWARF_LINE_STR, v->number);
    case DW_FORM_GNU_strp_alt:
    case DW_FORM_strp_sup:
        return alternate ? prof__dwarf_image_string(alternate, PROF__DWARF_STR, v->number) : NULL;
    case DW_FORM_strx:
    case DW_FORM_strx1:
    case DW_FORM_strx2:
    case DW_FORM_strx3:
    case DW_FORM_strx4:
    case DW_FORM_GNU_str_index:
        return table_entry(u->image, PROF__DWARF_STR_OFFSETS, u->str_offsets_base, v->number,
                           u->offset_size, &offset)
                   ? prof__dwarf_image_string(u->image, PROF__DWARF_STR, offset)
                   : NULL;
    default:
        return NULL;
    }
}

bool prof__dwarf_address(const struct prof__dwarf_unit *u, const struct prof__dwarf_value *v,
                         uint64_t *ret_address)
{
    switch (v->form) {
    case DW_FORM_addr:
        *ret_address = v->number;
        return true;
    case DW_FORM_addrx:
    case DW_FORM_addrx1:
    case DW_FORM_addrx2:
    case DW_FORM_addrx3:
    case DW_FORM_addrx4:
    case DW_FORM_GNU_addr_index:
        return table_entry(u->home, PROF__DWARF_ADDR, u->addr_base, v->number, u->address_size,
                           ret_address);
    default:
        return false;
    }
}

bool prof__dwarf_reference(const struct prof__dwarf_unit *u, const struct prof__dwarf_entry *e,
                           enum prof__dwarf_at at, bool *ret_is_alternate, uint64_t *ret_offset)
{
    const struct prof__dwarf_value *v = &e->at[at];

    *ret_is_alternate = false;
    switch (v->form) {
    case DW_FORM_ref1:
    case DW_FORM_ref2:
    case DW_FORM_ref4:
    case DW_FORM_ref8:
    case DW_FORM_ref_udata:
        *ret_offset = u->offset + v->number;
        return v->number < u->size;
    case DW_FORM_GNU_ref_alt:
    case DW_FORM_ref_sup4:
    case DW_FORM_ref_sup8:
        *ret_is_alternate = true;
        *ret_offset = v->number;
        return true;
    case DW_FORM_ref_addr:
        *ret_offset = v->number;
        return true;
    default:
        return false;
    }
}
