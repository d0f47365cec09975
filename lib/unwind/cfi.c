#include "unwind/cfi.h"

enum {
    STATES = 4,                 /* remembered in each other; compilers need one */
    PCREL_S32 = 0x1b,           /* DW_EH_PE_pcrel | DW_EH_PE_sdata4 */
    NO_REGISTER = PROF__CFI_RA, /* the CFA is not defined yet */
};

/* Operations: two bits and an operand, or two zeros and six. */
enum {
    ADVANCE_LOC = 1,
    OFFSET = 2,
    RESTORE = 3,

    NOP = 0x00,
    ADVANCE_LOC1 = 0x02,
    ADVANCE_LOC2 = 0x03,
    ADVANCE_LOC4 = 0x04,
    OFFSET_EXTENDED = 0x05,
    RESTORE_EXTENDED = 0x06,
    SAME_VALUE = 0x08,
    REMEMBER_STATE = 0x0a,
    RESTORE_STATE = 0x0b,
    DEF_CFA = 0x0c,
    DEF_CFA_REGISTER = 0x0d,
    DEF_CFA_OFFSET = 0x0e,
    OFFSET_EXTENDED_SF = 0x11,
    DEF_CFA_SF = 0x12,
    DEF_CFA_OFFSET_SF = 0x13,
    GNU_ARGS_SIZE = 0x2e,
};

/* --- taking bytes ----------------------------------------------------------------------------- */

/* From `at` to `end`. What cannot be had is 0, and `unusual`. */
struct bytes {
    struct prof__reader *reader;
    uintptr_t at, end;
    bool unusual;
};

/* The next `n` bytes, at most 4. */
static uint64_t take(struct bytes *b, unsigned n)
{
    uintptr_t word;

    if (b->end - b->at < n || !prof__read_word(b->reader, b->at, &word)) {
        b->unusual = true;
        b->at = b->end;
        return 0;
    }
    b->at += n;
    return word & (((uint64_t)1 << 8 * n) - 1);
}

static void skip(struct bytes *b, uint64_t n)
{
    b->unusual |= n > b->end - b->at;
    b->at += b->unusual ? 0 : n;
}

static uint64_t take_leb(struct bytes *b, bool is_signed)
{
    uint64_t value = 0, byte;
    unsigned shift = 0;

    do {
        byte = take(b, 1);
        value |= (byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80 && shift < 63);
    b->unusual |= (byte & 0x80) != 0;
    if (is_signed && byte & 0x40)
        value |= ~(uint64_t)0 << shift;
    return value;
}

static uint64_t take_uleb(struct bytes *b)
{
    return take_leb(b, false);
}

static uint64_t take_sleb(struct bytes *b)
{
    return take_leb(b, true);
}

/* At the start of an entry: take its length, and end there. */
static void enter(struct bytes *b)
{
    uint64_t length;

    b->end = b->at + 4;
    length = take(b, 4);
    b->unusual |= length == 0 || length >= 0xfffffff0u;
    b->end = b->at + length;
}

/* --- finding the entry ------------------------------------------------------------------------ */

bool prof__cfi_table(struct prof__reader *r, uintptr_t hdr, struct prof__cfi_table *ret)
{
    uintptr_t head, count;

    if (hdr == 0 || !prof__read_word(r, hdr, &head) || !prof__read_word(r, hdr + 8, &count))
        return false;
    ret->hdr = hdr;
    ret->pairs = hdr + 12;
    ret->count = (uint32_t)count;
    return (head & 0xff) == 1 &&              /* version */
           (head >> 8 & 0xff) == PCREL_S32 && /* .eh_frame */
           (head >> 16 & 0xff) == 0x03 &&     /* count: 32 bits */
           (head >> 24 & 0xff) == 0x3b &&     /* pairs: 32 bits from the header */
           ret->count <= UINT32_MAX / 8;
}

/* Where the entry of the function is that begins at `pc` or last before it; 0: nowhere. */
static uintptr_t find_entry(struct prof__reader *r, const struct prof__cfi_table *table,
                            uintptr_t pc)
{
    int64_t want = (int64_t)(pc - table->hdr);
    uint32_t low = 0, high = table->count; /* the pair is in [low, high) */
    uintptr_t pair;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (!prof__read_word(r, table->pairs + 8 * (uintptr_t)middle, &pair))
            return 0;
        if ((int32_t)pair <= want)
            low = middle;
        else
            high = middle;
    }
    if (low == high || !prof__read_word(r, table->pairs + 8 * (uintptr_t)low, &pair))
        return 0;
    return table->hdr + (uintptr_t)(int64_t)(int32_t)(pair >> 32);
}

/* --- entries ---------------------------------------------------------------------------------- */

/* What the entries of many functions have in common. */
struct common {
    bool of_signal; /* the frame is one that the kernel made */
    uint64_t code_unit;
    int64_t data_unit;
    struct bytes operations;
};

/* The size of a pointer in this encoding; 0: it has no fixed one. */
static unsigned pointer_size(uint64_t encoding)
{
    static const unsigned char sizes[] = { 8, 0, 2, 4, 8, 0, 0, 0, 0, 0, 2, 4, 8 };

    return (encoding & 0x70) != 0x50 && (encoding & 0x0f) < sizeof(sizes) ? sizes[encoding & 0x0f]
                                                                          : 0;
}

/* What the letters of the augmentation say must let addresses be PCREL_S32. */
static bool read_augmentation(struct bytes letters, struct bytes data, bool *ret_of_signal)
{
    bool known = false;
    uint64_t letter;

    while ((letter = take(&letters, 1)) != 0) {
        switch (letter) {
        case 'R':
            known = take(&data, 1) == PCREL_S32;
            break;
        case 'P': {
            unsigned size = pointer_size(take(&data, 1));
            data.unusual |= size == 0;
            skip(&data, size);
            break;
        }
        case 'L':
            skip(&data, 1);
            break;
        case 'S':
            *ret_of_signal = true;
            break;
        default:
            return false;
        }
    }
    return known && !letters.unusual && !data.unusual;
}

static bool read_common(struct prof__reader *r, uintptr_t at, struct common *ret)
{
    struct bytes b = { r, at, at, false };

    enter(&b);
    if (take(&b, 4) != 0) /* else it is not common */
        return false;
    uint64_t version = take(&b, 1);
    if ((version != 1 && version != 3) || take(&b, 1) != 'z')
        return false;
    struct bytes letters = b;
    while (take(&b, 1) != 0)
        ;
    ret->code_unit = take_uleb(&b);
    ret->data_unit = (int64_t)take_sleb(&b);
    if ((version == 1 ? take(&b, 1) : take_uleb(&b)) != PROF__CFI_RA)
        return false;
    uint64_t size = take_uleb(&b);
    struct bytes data = b;
    skip(&b, size);
    data.end = b.at;
    ret->operations = b;
    ret->of_signal = false;
    return !b.unusual && read_augmentation(letters, data, &ret->of_signal);
}

/* --- operations ------------------------------------------------------------------------------- */

static int64_t in_units(uint64_t x, int64_t unit)
{
    return (int64_t)(x * (uint64_t)unit);
}

static bool fits(int64_t x)
{
    return x == (int32_t)x;
}

/* Registers without a column are of no interest: nothing but the first 17 leads to the caller. */
static void set_saved(struct prof__cfi_row *row, uint64_t reg, int64_t offset, bool *unusual)
{
    if (reg < PROF__CFI_COLUMNS)
        row->saved[reg] = (int32_t)offset;
    *unusual |= offset == 0 || !fits(offset);
}

static void restore(struct prof__cfi_row *row, uint64_t reg, const struct prof__cfi_row *initial)
{
    if (reg < PROF__CFI_COLUMNS)
        row->saved[reg] = initial->saved[reg];
}

static void set_cfa(struct prof__cfi_row *row, uint64_t reg, int64_t offset, bool *unusual)
{
    row->cfa_register = (unsigned)reg;
    row->cfa_offset = (int32_t)offset;
    *unusual |= reg >= NO_REGISTER || !fits(offset);
}

/* Carry out what applies at `pc`, in code that begins at `code`. `row` is `initial` at first. */
static bool carry_out(const struct common *c, struct bytes b, uintptr_t code, uintptr_t pc,
                      const struct prof__cfi_row *initial, struct prof__cfi_row *row)
{
    struct prof__cfi_row state[STATES];
    unsigned n_states = 0;
    uint64_t reg;

    while (b.at < b.end && code <= pc && !b.unusual) {
        uint64_t byte = take(&b, 1), operand = byte & 0x3f;

        switch (byte >> 6) {
        case ADVANCE_LOC:
            code += operand * c->code_unit;
            continue;
        case OFFSET:
            set_saved(row, operand, in_units(take_uleb(&b), c->data_unit), &b.unusual);
            continue;
        case RESTORE:
            restore(row, operand, initial);
            continue;
        }
        switch (operand) {
        case NOP:
            break;
        case ADVANCE_LOC1:
            code += take(&b, 1) * c->code_unit;
            break;
        case ADVANCE_LOC2:
            code += take(&b, 2) * c->code_unit;
            break;
        case ADVANCE_LOC4:
            code += take(&b, 4) * c->code_unit;
            break;
        case OFFSET_EXTENDED:
            reg = take_uleb(&b);
            set_saved(row, reg, in_units(take_uleb(&b), c->data_unit), &b.unusual);
            break;
        case OFFSET_EXTENDED_SF:
            reg = take_uleb(&b);
            set_saved(row, reg, in_units(take_sleb(&b), c->data_unit), &b.unusual);
            break;
        case RESTORE_EXTENDED:
            restore(row, take_uleb(&b), initial);
            break;
        case SAME_VALUE:
            reg = take_uleb(&b);
            if (reg < PROF__CFI_COLUMNS)
                row->saved[reg] = 0;
            break;
        case REMEMBER_STATE:
            if (n_states == STATES)
                return false;
            state[n_states++] = *row;
            break;
        case RESTORE_STATE:
            if (n_states == 0)
                return false;
            *row = state[--n_states];
            break;
        case DEF_CFA:
            reg = take_uleb(&b);
            set_cfa(row, reg, (int64_t)take_uleb(&b), &b.unusual);
            break;
        case DEF_CFA_SF:
            reg = take_uleb(&b);
            set_cfa(row, reg, in_units(take_sleb(&b), c->data_unit), &b.unusual);
            break;
        case DEF_CFA_REGISTER:
            set_cfa(row, take_uleb(&b), row->cfa_offset, &b.unusual);
            break;
        case DEF_CFA_OFFSET:
            set_cfa(row, row->cfa_register, (int64_t)take_uleb(&b), &b.unusual);
            break;
        case DEF_CFA_OFFSET_SF:
            set_cfa(row, row->cfa_register, in_units(take_sleb(&b), c->data_unit), &b.unusual);
            break;
        case GNU_ARGS_SIZE: /* matters to exceptions only */
            take_uleb(&b);
            break;
        default:
            return false;
        }
    }
    return !b.unusual;
}

/* --- both ------------------------------------------------------------------------------------- */

/* A function's own entry, without what it has in common with others. */
struct own {
    uintptr_t start;
    uint64_t size;
    struct bytes operations;
};

static bool read_own(struct prof__reader *r, const struct prof__cfi_table *table, uintptr_t pc,
                     struct common *ret_common, struct own *ret)
{
    uintptr_t entry = find_entry(r, table, pc);
    struct bytes b = { r, entry, entry, entry == 0 };

    enter(&b);
    uintptr_t at = b.at;
    uint64_t distance = take(&b, 4); /* back to what it has in common */
    if (b.unusual || distance == 0 || !read_common(r, at - distance, ret_common))
        return false;
    at = b.at;
    ret->start = at + (uintptr_t)(int64_t)(int32_t)take(&b, 4);
    ret->size = take(&b, 4);
    skip(&b, take_uleb(&b)); /* its augmentation */
    ret->operations = b;
    return !b.unusual && pc - ret->start < ret->size;
}

bool prof__cfi_function(struct prof__reader *r, const struct prof__cfi_table *table, uintptr_t pc,
                        uintptr_t *ret_start)
{
    struct common common;
    struct own own;

    if (!read_own(r, table, pc, &common, &own))
        return false;
    *ret_start = own.start;
    return true;
}

bool prof__cfi_row(struct prof__reader *r, const struct prof__cfi_table *table, uintptr_t pc,
                   struct prof__cfi_row *ret)
{
    struct prof__cfi_row initial = { .cfa_register = NO_REGISTER };
    struct common common;
    struct own own;

    /* In the common operations `code` is 0: whatever advances there is damage, and ends them. */
    if (!read_own(r, table, pc, &common, &own) || common.of_signal ||
        !carry_out(&common, common.operations, 0, 0, &initial, &initial))
        return false;
    *ret = initial;
    return carry_out(&common, own.operations, own.start, pc, &initial, ret) &&
           ret->cfa_register != NO_REGISTER;
}
