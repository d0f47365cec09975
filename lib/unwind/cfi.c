#include "unwind/cfi.h"

#include "unwind/bytes.h"
#include "unwind/eh_hdr.h"
#include "unwind/expression.h"

enum {
    WORD = sizeof(uintptr_t),
    SELF_S32 = 0x1b,     /* DW_EH_PE_pcrel | DW_EH_PE_sdata4 */
    STATES = 4,          /* remembered in each other; compilers need one */
    ENTRY_MAX = 1 << 16, /* bytes; a long one has some thousand */
};

/* Operations: two bits and an operand, or two zeros and six. */
enum {
    ADVANCE_LOC = 1,
    OFFSET = 2,
    RESTORE = 3,

    NOP = 0x00,
    SET_LOC = 0x01,
    ADVANCE_LOC1 = 0x02,
    ADVANCE_LOC2 = 0x03,
    ADVANCE_LOC4 = 0x04,
    OFFSET_EXTENDED = 0x05,
    RESTORE_EXTENDED = 0x06,
    UNDEFINED = 0x07,
    SAME_VALUE = 0x08,
    REGISTER = 0x09,
    REMEMBER_STATE = 0x0a,
    RESTORE_STATE = 0x0b,
    DEF_CFA = 0x0c,
    DEF_CFA_REGISTER = 0x0d,
    DEF_CFA_OFFSET = 0x0e,
    DEF_CFA_EXPRESSION = 0x0f,
    EXPRESSION = 0x10,
    OFFSET_EXTENDED_SF = 0x11,
    DEF_CFA_SF = 0x12,
    DEF_CFA_OFFSET_SF = 0x13,
    VAL_OFFSET = 0x14,
    VAL_OFFSET_SF = 0x15,
    VAL_EXPRESSION = 0x16,
    AARCH64_SIGNED_WITH_PC = 0x2c, /* DW_CFA_AARCH64_negate_ra_state_with_pc, */
    AARCH64_SIGNED = 0x2d,         /* and without; elsewhere nobody's */
    GNU_ARGS_SIZE = 0x2e,
    GNU_NEGATIVE_OFFSET_EXTENDED = 0x2f,
};

/* --- entries ---------------------------------------------------------------------------------- */

/* At the start of an entry: take its length, and end there. */
static struct prof__bytes enter(struct prof__reader *r, uintptr_t at)
{
    uint64_t length = 0;

    if (!prof__read_number(r, at, 4, &length) || length == 0 || length > ENTRY_MAX)
        return (struct prof__bytes) { .reader = r, .bad = true };
    return prof__bytes(r, at + 4, at + 4 + length);
}

/* What the letters of the augmentation say, of which all but 'R' and 'S' are for exceptions, or of
 * no interest: which key signs return addresses, and tagged memory. */
static bool read_augmentation(const uint8_t *letter, struct prof__bytes *b,
                              struct prof__cfi_entry *ret)
{
    for (; *letter; letter++) {
        switch (*letter) {
        case 'R':
            ret->encoding = prof__take_byte(b);
            break;
        case 'P':
            /* What it is relative to, or if a word elsewhere has it, is of no interest. */
            prof__take_pointer(b, prof__take_byte(b) & 0x0f);
            break;
        case 'L':
            prof__take_byte(b);
            break;
        case 'S':
            ret->of_signal = true;
            break;
        case 'B':
        case 'G':
            break;
        default:
            return false;
        }
    }
    return true;
}

/* What the entries of many functions have in common. */
static bool read_common(struct prof__reader *r, uintptr_t at, bool *ret_augmented,
                        struct prof__cfi_entry *ret)
{
    struct prof__bytes b = enter(r, at);
    uint8_t letter[8];
    unsigned n = 0;

    if (b.bad || prof__take_u32(&b) != 0) /* else it is not common */
        return false;
    uint8_t version = prof__take_byte(&b);
    while ((letter[n] = prof__take_byte(&b)) != 0 && n < sizeof(letter) - 1)
        n++;
    *ret_augmented = letter[0] == 'z';
    if ((version != 1 && version != 3) || letter[n] != 0 || (n > 0 && !*ret_augmented))
        return false;
    ret->code_unit = prof__take_uleb(&b);
    ret->data_unit = (int64_t)prof__take_sleb(&b);
    ret->return_column = version == 1 ? prof__take_byte(&b) : prof__take_uleb(&b);
    ret->encoding = 0;
    ret->of_signal = false;
    ret->common_end = b.end;
    if (*ret_augmented) {
        uint64_t size = prof__take_uleb(&b);
        uintptr_t data = prof__bytes_at(&b);

        if (size > b.end - data || !read_augmentation(letter + 1, &b, ret) ||
            prof__bytes_at(&b) > data + size)
            return false;
        ret->common = data + size;
    } else {
        ret->common = prof__bytes_at(&b);
    }
    return !b.bad;
}

/* The entry at `at`, if it is near, and of the usual kind. */
PROF_NO_SANITIZE static bool read_usual(const struct prof__reader *r, uintptr_t at,
                                        struct prof__cfi_entry *ret)
{
    typedef uint32_t u32 __attribute__((may_alias, aligned(1)));
    enum { HEAD = 17 }; /* length, distance, start, size, and how much is for exceptions only */
    const uint8_t *p = (const uint8_t *)(at + r->shift);

    if (at < r->near || at >= r->near_end || r->near_end - at < HEAD)
        return false;
    const u32 *head = (const u32 *)p;
    uintptr_t common = at + 4 - head[1];
    if (common < r->near || common >= r->near_end || r->near_end - common < PROF__COMMON_LONG ||
        head[1] == 0 || !prof__common_is_usual((const void *)(common + r->shift)))
        return false;
    ret->start = at + 8 + (uintptr_t)(int32_t)head[2];
    ret->end = ret->start + (uintptr_t)(int32_t)head[3];
    ret->of_signal = false;
    ret->usual = true;
    ret->code_unit = PROF__COMMON_UNIT;
    ret->data_unit = -(int64_t)WORD;
    ret->return_column = PROF__REG_PC;
    ret->encoding = SELF_S32;
    ret->own = at + HEAD + p[HEAD - 1];
    ret->own_end = at + 4 + head[0];
    return head[0] <= ENTRY_MAX && p[HEAD - 1] < 0x80 && ret->own <= ret->own_end &&
           ret->own_end <= r->near_end;
}

static bool read_entry(struct prof__reader *r, uintptr_t at, struct prof__cfi_entry *ret)
{
    uint64_t distance = 0; /* back to what it has in common */
    bool augmented;

    if (!prof__read_number(r, at + 4, 4, &distance) || distance == 0 ||
        !read_common(r, at + 4 - distance, &augmented, ret))
        return false;
    struct prof__bytes b = enter(r, at);
    prof__skip(&b, 4);
    ret->usual = false;
    ret->start = prof__take_pointer(&b, ret->encoding);
    ret->end = ret->start + prof__take_pointer(&b, ret->encoding & 0x0f);
    if (augmented)
        prof__skip(&b, prof__take_uleb(&b));
    ret->own = prof__bytes_at(&b);
    ret->own_end = b.end;
    return !b.bad;
}

bool prof__cfi_entry(struct prof__reader *r, uintptr_t pc, struct prof__cfi_entry *ret)
{
    uintptr_t at = prof__eh_entry(r, pc);

    return at != 0 && (read_usual(r, at, ret) || read_entry(r, at, ret)) && pc >= ret->start &&
           pc < ret->end;
}

/* --- rows ------------------------------------------------------------------------------------- */

/* A row in the making. */
struct work {
    const struct prof__cfi_entry *entry;
    struct prof__bytes b;
    uintptr_t pc, until; /* operations for code up to here; the pc, or 0 for the common ones */
    struct prof__cfi_row *row;
    struct prof__cfi_row state[STATES];
    unsigned n_states;
};

static int64_t in_units(uint64_t x, int64_t unit)
{
    return (int64_t)(x * (uint64_t)unit);
}

/* Where the row has that register; NULL: it is of no interest. */
static inline prof__save *column(struct work *w, uint64_t reg)
{
    if (reg < PROF__REGISTERS)
        return prof__column[reg] ? &w->row->at[prof__column[reg] - 1] : NULL;
    return reg == w->entry->return_column ? &w->row->at[PROF__COLUMN_PC] : NULL;
}

static void set(struct work *w, uint64_t reg, prof__save where)
{
    prof__save *at = column(w, reg);

    if (at)
        *at = where;
}

static prof__save below_cfa(int64_t bytes)
{
    return bytes < 0 && bytes % WORD == 0 && bytes >= -PROF__AT_CFA_MAX * (int64_t)WORD
               ? (prof__save)(-bytes / WORD)
               : PROF__AT_LOST;
}

/* Its value is at the address that an expression gives. */
static prof__save where_is(struct work *w, struct prof__value v)
{
    int64_t words = v.offset / WORD + 2048;

    if (v.form != PROF__VALUE_SUM || v.offset % WORD != 0)
        return PROF__AT_LOST;
    if (v.reg == PROF__REG_CFA)
        return below_cfa(v.offset);
    if (words < 0 || words > PROF__AT_BASE_MAX - PROF__AT_BASE)
        return PROF__AT_LOST;
    for (unsigned i = 0; i < PROF__COLUMNS; i++)
        if (w->row->at[i] >= PROF__AT_BASE && w->row->base != v.reg)
            return PROF__AT_LOST;
    w->row->base = (uint8_t)v.reg;
    return (prof__save)(PROF__AT_BASE + words);
}

/* Its value is the CFA plus so much: of the stack pointer that is 0, which needs no saying. */
static prof__save is_value(const struct work *w, uint64_t reg, bool is_cfa)
{
    return reg == PROF__REG_SP && is_cfa ? PROF__AT_REGISTER : PROF__AT_LOST;
}

static void set_cfa(struct work *w, uint64_t reg, int64_t offset)
{
    bool fits = reg < PROF__REGISTERS && offset == (int32_t)offset;

    w->row->cfa = fits ? PROF__CFA_SUM : PROF__CFA_UNKNOWN;
    w->row->cfa_register = (uint8_t)reg;
    w->row->offset = (int32_t)offset;
}

static void set_cfa_value(struct work *w, struct prof__value v)
{
    set_cfa(w, v.reg, v.offset);
    if (v.form != PROF__VALUE_SUM && v.form != PROF__VALUE_LOADED)
        w->row->cfa = PROF__CFA_UNKNOWN;
    if (v.form == PROF__VALUE_LOADED && w->row->cfa == PROF__CFA_SUM) {
        w->row->cfa = v.more == (int16_t)v.more ? PROF__CFA_LOADED : PROF__CFA_UNKNOWN;
        w->row->more = (int16_t)v.more;
    }
}

static struct prof__value take_expression(struct work *w, bool cfa)
{
    uint64_t size = prof__take_uleb(&w->b);
    uintptr_t at = prof__bytes_at(&w->b), end = at + size;
    struct prof__reader *r = w->b.reader;

    if (size > w->b.end - at) {
        w->b.bad = true;
        return (struct prof__value) { .form = PROF__VALUE_NONE };
    }
    struct prof__value v = prof__expression(prof__bytes(r, at, end), w->pc, cfa);
    w->b = prof__bytes(r, end, w->b.end);
    return v;
}

static void restore(struct work *w, uint64_t reg, const struct prof__cfi_row *initial)
{
    prof__save *at = column(w, reg);

    if (at)
        *at = initial->at[at - w->row->at];
}

static void set_offset(struct work *w, uint64_t reg, int64_t offset)
{
    set(w, reg, below_cfa(offset));
}

/* Those that are rare. False: unknown, or damaged. */
static bool carry_out_rare(struct work *w, uint64_t op)
{
    struct prof__bytes *b = &w->b;
    int64_t unit = w->entry->data_unit;
    uint64_t reg = op == DEF_CFA_EXPRESSION || op == GNU_ARGS_SIZE ? 0 : prof__take_uleb(b);
    int64_t offset;

    switch (op) {
    case OFFSET_EXTENDED:
        set_offset(w, reg, in_units(prof__take_uleb(b), unit));
        return true;
    case OFFSET_EXTENDED_SF:
        set_offset(w, reg, in_units(prof__take_sleb(b), unit));
        return true;
    case GNU_NEGATIVE_OFFSET_EXTENDED:
        set_offset(w, reg, -in_units(prof__take_uleb(b), unit));
        return true;
    case VAL_OFFSET:
        offset = in_units(prof__take_uleb(b), unit);
        set(w, reg, is_value(w, reg, offset == 0));
        return true;
    case VAL_OFFSET_SF:
        offset = in_units(prof__take_sleb(b), unit);
        set(w, reg, is_value(w, reg, offset == 0));
        return true;
    case EXPRESSION: {
        struct prof__value v = take_expression(w, true);
        set(w, reg, where_is(w, v));
        return true;
    }
    case VAL_EXPRESSION: {
        struct prof__value v = take_expression(w, true);
        set(w, reg,
            is_value(w, reg, v.form == PROF__VALUE_SUM && v.reg == PROF__REG_CFA && v.offset == 0));
        return true;
    }
    case REGISTER:
        prof__take_uleb(b);
        set(w, reg, PROF__AT_LOST);
        return true;
    case UNDEFINED:
        set(w, reg, PROF__AT_UNDEFINED);
        return true;
    case SAME_VALUE:
        set(w, reg, PROF__AT_REGISTER);
        return true;
    case DEF_CFA_SF:
        set_cfa(w, reg, in_units(prof__take_sleb(b), unit));
        return true;
    case DEF_CFA_EXPRESSION:
        set_cfa_value(w, take_expression(w, false));
        return true;
    case GNU_ARGS_SIZE: /* matters to exceptions only */
        prof__take_uleb(b);
        return true;
    }
    return false;
}

/* One operation. False: unknown, or damaged. */
static bool carry_out_one(struct work *w, uintptr_t *code, const struct prof__cfi_row *initial)
{
    const uint64_t unit = w->entry->code_unit;
    struct prof__bytes *b = &w->b;
    uint64_t byte = prof__take_byte(b), operand = byte & 0x3f, reg;

    switch (byte >> 6) {
    case ADVANCE_LOC:
        *code += operand * unit;
        return true;
    case OFFSET:
        set_offset(w, operand, in_units(prof__take_uleb(b), w->entry->data_unit));
        return true;
    case RESTORE:
        restore(w, operand, initial);
        return true;
    }
    switch (operand) {
    case NOP:
    case AARCH64_SIGNED_WITH_PC: /* prof__code_address() knows */
    case AARCH64_SIGNED:
        return true;
    case SET_LOC:
        *code = prof__take_pointer(b, w->entry->encoding);
        return true;
    case ADVANCE_LOC1:
        *code += prof__take_byte(b) * unit;
        return true;
    case ADVANCE_LOC2:
        *code += prof__take(b, 2) * unit;
        return true;
    case ADVANCE_LOC4:
        *code += prof__take_u32(b) * unit;
        return true;
    case RESTORE_EXTENDED:
        restore(w, prof__take_uleb(b), initial);
        return true;
    case REMEMBER_STATE:
        if (w->n_states == STATES)
            return false;
        w->state[w->n_states++] = *w->row;
        return true;
    case RESTORE_STATE:
        if (w->n_states == 0)
            return false;
        *w->row = w->state[--w->n_states];
        return true;
    case DEF_CFA:
        reg = prof__take_uleb(b);
        set_cfa(w, reg, (int64_t)prof__take_uleb(b));
        return true;
    case DEF_CFA_REGISTER:
        set_cfa(w, prof__take_uleb(b), w->row->offset);
        return true;
    case DEF_CFA_OFFSET:
        set_cfa(w, w->row->cfa_register, (int64_t)prof__take_uleb(b));
        return true;
    case DEF_CFA_OFFSET_SF:
        set_cfa(w, w->row->cfa_register, in_units(prof__take_sleb(b), w->entry->data_unit));
        return true;
    }
    return carry_out_rare(w, operand);
}

/* Go on by so many units of code. True: the pc is before that. */
static inline bool take_advance(uintptr_t *left, uintptr_t by)
{
    if (by * PROF__COMMON_UNIT > *left)
        return true;
    *left -= by * PROF__COMMON_UNIT;
    return false;
}

/* DW_CFA_advance_loc, DW_CFA_def_cfa_offset, DW_CFA_offset: a register was pushed; and the first
 * two alone: one was popped. With operands of one byte. */
#define IS_POP(x)      (((x)&0x80ffc0) == 0x000e40)
#define IS_PUSH_TOO(x) (((x)&0x80c0000000) == 0x0080000000)

/*
 * What compilers write, in usual entries and while the CFA is a register and an offset, as far as
 * words of eight bytes are near: some eight instructions an operation. What a call site costs that
 * is seen first is mostly this. True: the pc is reached, or the end; else w->b and *code are where
 * it stopped. An operation that is longer than the entry is damage (w->b.bad).
 */
PROF_NO_SANITIZE
PROF_APART static bool carry_out_usual(struct work *w, uintptr_t *code)
{
    typedef uint64_t u64 __attribute__((may_alias, aligned(1)));
    struct prof__cfi_row *const row = w->row;
    const uint8_t *p = w->b.p, *const stop = w->b.stop;
    const uint8_t *const near_end = (const uint8_t *)(w->b.reader->near_end + w->b.reader->shift);
    const uint8_t *const end = near_end - p < WORD ? p : PROF_MIN(stop, near_end - (WORD - 1));
    uintptr_t left = w->until - *code;

    while (PROF_LIKELY(p < end)) {
        const uint64_t x = *(const u64 *)p; /* as little endian as the tables */

        if (PROF_LIKELY(IS_POP(x))) {
            if (take_advance(&left, x & 0x3f))
                return true;
            if (IS_PUSH_TOO(x) && p[4] != 0) {
                set(w, p[3] & 0x3f, p[4]);
                row->offset = p[2];
                p += 5;
            } else if (IS_POP(x >> 24)) {
                row->offset = p[2];
                if (take_advance(&left, p[3] & 0x3f))
                    return true;
                row->offset = p[5];
                p += 6;
            } else {
                row->offset = p[2];
                p += 3;
            }
            continue;
        }
        if ((x & 0xc0) == ADVANCE_LOC << 6) {
            if (take_advance(&left, x & 0x3f))
                return true;
            p++;
            continue;
        }
        if ((x & 0x80c0) == OFFSET << 6 && p[1] != 0) {
            set(w, x & 0x3f, p[1]);
            p += 2;
            continue;
        }
        switch ((uint8_t)x) {
        case ADVANCE_LOC1:
            if (take_advance(&left, p[1]))
                return true;
            p += 2;
            continue;
        case ADVANCE_LOC2:
            if (take_advance(&left, x >> 8 & 0xffff))
                return true;
            p += 3;
            continue;
        case DEF_CFA_OFFSET: /* of one byte, or of two */
            if ((x & 0x808000) == 0x808000)
                break;
            row->offset = (int32_t)((x >> 8 & 0x7f) | (x >> 9 & 0x3f80 & -(x >> 15 & 1)));
            p += 2 + (x >> 15 & 1);
            continue;
        case REMEMBER_STATE:
            if (w->n_states == STATES)
                break;
            w->state[w->n_states++] = *row;
            p++;
            continue;
        case RESTORE_STATE:
            if (w->n_states == 0 || w->state[w->n_states - 1].cfa != PROF__CFA_SUM)
                break;
            *row = w->state[--w->n_states];
            p++;
            continue;
        case NOP: /* as a rule only such are left, to fill the last word */
            if (stop - p > WORD || x << 8 * (WORD - (stop - p)) != 0)
                break;
            p = stop;
            continue;
        }
        break;
    }
    w->b.bad |= p > stop;
    w->b.p = PROF_MIN(p, stop);
    *code = w->until - left;
    return !w->b.bad && !prof__bytes_left(&w->b);
}

/* Carry out what applies, in code that begins at `code`. */
static bool carry_out(struct work *w, uintptr_t code, const struct prof__cfi_row *initial)
{
    while (code <= w->until) {
        if (w->entry->usual && w->row->cfa == PROF__CFA_SUM && carry_out_usual(w, &code))
            return true;
        if (!w->b.bad && !prof__bytes_left(&w->b))
            return true;
        if (w->b.bad || !carry_out_one(w, &code, initial) || w->b.bad)
            return false;
    }
    return true;
}

bool prof__cfi_row(struct prof__reader *r, const struct prof__cfi_entry *e, uintptr_t pc,
                   struct prof__cfi_row *ret)
{
    static const struct prof__cfi_row usual = {
        .cfa = PROF__CFA_SUM,
        .cfa_register = PROF__REG_SP,
        .offset = PROF__COMMON_CFA,
        .at[PROF__COLUMN_PC] = PROF__COMMON_PC,
    };
    const struct prof__cfi_row *initial = &usual;
    struct prof__cfi_row common;
    struct work w;

    w.entry = e;
    w.pc = pc;
    w.n_states = 0;
    if (!e->usual) {
        /* In the common operations the code begins at 0: whatever advances there is damage, and
         * ends them. */
        common = (struct prof__cfi_row) { .cfa = PROF__CFA_UNKNOWN };
        initial = &common;
        w.until = 0;
        w.row = &common;
        w.b = prof__bytes(r, e->common, e->common_end);
        if (!carry_out(&w, 0, initial))
            return false;
    }
    *ret = *initial;
    w.row = ret;
    w.until = pc;
    w.n_states = 0;
    w.b = prof__bytes(r, e->own, e->own_end);
    uintptr_t code = e->start;
    if (PROF_LIKELY(e->usual) && PROF_LIKELY(carry_out_usual(&w, &code)))
        return true;
    return carry_out(&w, code, initial);
}
