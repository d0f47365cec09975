/*
 * call_number.c - the number of a system call from the code that makes it.
 *
 * libc's functions load it as a constant a few instructions before the call. syscall() passes on
 * any number, so there it is its caller who does: the call at the top of the stack must be one of
 * syscall() itself, directly or by a stub, or of a function that does nothing but jump to it, for
 * had any other function come between, what stands before the call would mean something else.
 *
 * Only code is believed that consists of instructions known here, none of which writes to the
 * register in question. What is not known is a jump to between the constant and the call, so who
 * asks has to look whether the arguments make sense.
 */
#include "record/call_number.h"

#include <string.h>

#include "unwind/bounds.h"

enum {
    NEAR = 48,     /* bytes looked at before the system call instruction */
    FAR = 160,     /* and before a call of syscall(), whose arguments may take some working out */
    WRAPPER = 64,  /* bytes of a function that ends in a jump to syscall() */
    CALL = 5,      /* bytes of call and jmp */
    SLOT_CALL = 6, /* bytes of call *slot(%rip), and jmp */
    EAX = 0,       /* as instructions number them */
    EDI = 7,
};

static bool readable(const uint8_t *p, size_t size)
{
    return prof__page_readable((uintptr_t)p) && prof__page_readable((uintptr_t)p + size - 1);
}

static int32_t int32_at(const uint8_t *p)
{
    int32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* --- instructions ---------------------------------------------------------------------------- */

struct instruction {
    const uint8_t *p; /* behind what has been read */
    uint8_t op;
    bool two_byte, rex, rex_w, rex_r, rex_b;
    size_t word; /* bytes of an immediate operand of that size */
};

/* What an instruction with a register and a register-or-memory operand does to them. */
enum form { UNKNOWN, READS, TO_REGISTER, TO_OPERAND };

static void read_prefixes(struct instruction *i, const uint8_t *end)
{
    i->word = 4;
    /* 16 bits, or another SSE instruction; thread-local */
    for (; i->p < end && (*i->p == 0x66 || *i->p == 0xf3 || *i->p == 0xf2 || *i->p == 0x64); i->p++)
        if (*i->p == 0x66)
            i->word = 2;
    if (i->p < end && (*i->p & 0xf0) == 0x40) {
        i->rex = true;
        i->rex_w = *i->p & 8;
        i->rex_r = *i->p & 4;
        i->rex_b = *i->p & 1;
        i->p++;
    }
}

static enum form form_of_two_byte(uint8_t op)
{
    if ((op & 0xf0) == 0x40 || op == 0xaf || (op & 0xf6) == 0xb6) /* cmov, imul, movzx, movsx */
        return TO_REGISTER;
    if ((op & 0xf0) == 0x90 || op == 0x7e) /* set, movd */
        return TO_OPERAND;
    switch (op) {
    case 0x10: /* moves between vector registers and memory */
    case 0x11:
    case 0x12:
    case 0x13:
    case 0x16:
    case 0x17:
    case 0x28:
    case 0x29:
    case 0x6c:
    case 0x6e:
    case 0x6f:
    case 0x7f:
    case 0xd6:
    case 0x57: /* xorps, pxor */
    case 0xef:
    case 0x1f: /* nop */
        return READS;
    default:
        return UNKNOWN;
    }
}

/* `more`: the byte behind, of which three bits may say more. */
static enum form form_of(uint8_t op, uint8_t more, size_t word, size_t *ret_immediate)
{
    unsigned group = more >> 3 & 7;

    if (op < 0x40 && (op & 7) < 4) /* add, or, adc, sbb, and, sub, xor; cmp */
        return (op & 0x38) == 0x38 ? READS : op & 2 ? TO_REGISTER : TO_OPERAND;
    switch (op) {
    case 0x69: /* imul */
    case 0x6b:
        *ret_immediate = op == 0x69 ? word : 1;
        return TO_REGISTER;
    case 0x80: /* as above, with a constant */
    case 0x81:
    case 0x83:
        *ret_immediate = op == 0x81 ? word : 1;
        return group == 7 ? READS : TO_OPERAND;
    case 0x84: /* test */
    case 0x85:
        return READS;
    case 0x88: /* mov */
    case 0x89:
        return TO_OPERAND;
    case 0x8a: /* mov, lea, movslq */
    case 0x8b:
    case 0x8d:
    case 0x63:
        return TO_REGISTER;
    case 0xc0: /* shifts */
    case 0xc1:
    case 0xc6: /* mov of a constant */
    case 0xc7:
        *ret_immediate = op == 0xc7 ? word : 1;
        return TO_OPERAND;
    case 0xd1:
    case 0xd3:
        return TO_OPERAND;
    case 0xf7: /* not, neg; the others touch eax, too */
        return group == 2 || group == 3 ? TO_OPERAND : UNKNOWN;
    case 0xff: /* inc, dec; push */
        return group < 2 ? TO_OPERAND : group == 6 ? READS : UNKNOWN;
    default:
        return UNKNOWN;
    }
}

/* 8 bits of `reg`: without a rex prefix numbers 4 to 7 are the second bytes of the first four. */
static bool is_byte_sized(const struct instruction *i)
{
    return i->two_byte ? (i->op & 0xf0) == 0x90 : !(i->op & 1) && i->op != 0x8d;
}

static bool writes(const struct instruction *i, enum form form, uint8_t operands, unsigned keep)
{
    unsigned mod = operands >> 6, reg = operands >> 3 & 7, rm = operands & 7, mask = 7;

    if (is_byte_sized(i) && !i->rex)
        mask = 3;
    return (form == TO_REGISTER && !i->rex_r && (reg & mask) == (keep & mask)) ||
           (form == TO_OPERAND && mod == 3 && !i->rex_b && (rm & mask) == (keep & mask));
}

/* Behind the operands at p. */
static const uint8_t *skip_operands(const uint8_t *p, const uint8_t *end)
{
    uint8_t mod = *p >> 6, rm = *p & 7;
    bool sib = mod != 3 && rm == 4;
    size_t displacement = mod == 1 ? 1 : mod == 2 ? 4 : 0;

    p++;
    if (mod == 0 && (rm == 5 || (sib && p < end && (*p & 7) == 5)))
        displacement = 4;
    return p + sib + displacement;
}

/* Length of the instruction at p if it is known here and does not write to register `keep`; else 0.
 */
static size_t instruction(const uint8_t *p, const uint8_t *end, unsigned keep)
{
    struct instruction i = { .p = p };
    size_t immediate = 0;
    enum form form;

    read_prefixes(&i, end);
    if (i.p >= end)
        return 0;
    i.op = *i.p++;
    if (i.op >= 0x50 && i.op <= 0x57) /* push */
        return (size_t)(i.p - p);
    if (i.op == 0x6a || i.op == 0x68) { /* push of a constant */
        i.p += i.op == 0x6a ? 1 : i.word;
        return i.p <= end ? (size_t)(i.p - p) : 0;
    }
    if (i.op >= 0xb8 && i.op <= 0xbf) { /* mov $constant, register */
        i.p += i.rex_w ? 8 : i.word;
        return (i.op != 0xb8 + keep || i.rex_b) && i.p <= end ? (size_t)(i.p - p) : 0;
    }
    if (i.op >= 0xb0 && i.op <= 0xb3 && keep > 3 && !i.rex) /* mov $constant, al and so on */
        return ++i.p <= end ? (size_t)(i.p - p) : 0;
    if ((i.op == 0x98 && keep != EAX) || i.op == 0x99) /* cltq, cltd */
        return (size_t)(i.p - p);
    if (i.op == 0x0f && i.p < end) {
        i.two_byte = true;
        i.op = *i.p++;
    }
    if (i.p >= end)
        return 0;
    form = i.two_byte ? form_of_two_byte(i.op) : form_of(i.op, *i.p, i.word, &immediate);
    if (form == UNKNOWN || writes(&i, form, *i.p, keep))
        return 0;
    i.p = skip_operands(i.p, end) + immediate;
    return i.p <= end ? (size_t)(i.p - p) : 0;
}

static bool leads_to(const uint8_t *p, const uint8_t *end, unsigned keep)
{
    while (p < end) {
        size_t n = instruction(p, end, keep);

        if (n == 0)
            return false;
        p += n;
    }
    return p == end;
}

/* The constant that an instruction at p, with at least 5 bytes up to `end`, or 2, loads into `reg`;
 * -1: it is none such. */
static long constant(const uint8_t *p, const uint8_t *end, unsigned reg, size_t *ret_size)
{
    if (end - p >= 5 && p[0] == 0xb8 + reg) { /* mov $number, register */
        *ret_size = 5;
        return (long)(uint32_t)int32_at(p + 1);
    }
    if (end - p >= 2 && p[0] == 0x31 && p[1] == 0xc0 + reg * 9) { /* xor register, register */
        *ret_size = 2;
        return 0;
    }
    return -1;
}

/* May the byte before p belong to it, so that it is about one of the registers r8 to r15? */
static bool may_be_extended(const uint8_t *p)
{
    return (p[-1] & 0xf0) == 0x40 && (p[-1] & 5) != 0;
}

/* What `reg` holds at `at`; -1: the `room` bytes before do not say, or say two things. */
static long constant_before(const uint8_t *at, unsigned reg, size_t room)
{
    size_t size;
    long found = -1;

    /* A page before need not be readable. */
    if (((uintptr_t)at & 4095) < room && !prof__page_readable((uintptr_t)at - room))
        room = (uintptr_t)at & 4095;

    for (const uint8_t *p = at - 1; p > at - room; p--) {
        long number = constant(p, at, reg, &size);

        if (number < 0 || may_be_extended(p) || !leads_to(p + size, at, reg))
            continue;
        if (found >= 0 && found != number)
            return -1;
        found = number;
    }
    return found;
}

/* --- through syscall() ----------------------------------------------------------------------- */

/* As in libc, up to the system call: it takes the number from rdi and leaves the stack alone. */
static const uint8_t syscall_code[] = {
    0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca,
    0x4d, 0x89, 0xc2, 0x4d, 0x89, 0xc8, 0x4c, 0x8b, 0x4c, 0x24, 0x08,
};
static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };

static const uint8_t *after_marker(const uint8_t *p)
{
    return memcmp(p, endbr64, sizeof(endbr64)) == 0 ? p + sizeof(endbr64) : p;
}

/* Where the instruction that ends before `end` finds the place to go to. */
static const uint8_t *slot_target(const uint8_t *end)
{
    const uint8_t *slot = end + int32_at(end - 4), *target;

    if (!readable(slot, sizeof(target)))
        return NULL;
    memcpy(&target, slot, sizeof(target));
    return target;
}

/* Is that `function`, whose code begins after a marker that it may have, or a stub for it? */
static bool goes_to(const uint8_t *at, const uint8_t *function)
{
    if (at == function || (at && at + sizeof(endbr64) == function))
        return true;
    if (!at || !readable(at, 4 + 1 + SLOT_CALL))
        return false;
    at = after_marker(at);
    at += *at == 0xf2; /* bnd */
    if (at[0] != 0xff || at[1] != 0x25)
        return false;
    at = slot_target(at + SLOT_CALL);
    return at == function || (at && at + sizeof(endbr64) == function);
}

/* A function that does nothing but put its arguments, and the number, where syscall() expects them,
 * and jump to it. */
static long number_in_wrapper(const uint8_t *p, const uint8_t *function)
{
    const uint8_t *end = p + WRAPPER;
    long number = -1;

    if (!readable(p, WRAPPER))
        return -1;
    for (p = after_marker(p); end - p >= SLOT_CALL;) {
        size_t n;
        long here = constant(p, end, EDI, &n);

        if (p[0] == 0xe9)
            return goes_to(p + CALL + int32_at(p + 1), function) ? number : -1;
        if (p[0] == 0xff && p[1] == 0x25)
            return goes_to(slot_target(p + SLOT_CALL), function) ? number : -1;
        if (here >= 0)
            number = here;
        else if ((n = instruction(p, end, EDI)) == 0)
            return -1;
        p += n;
    }
    return -1;
}

/* The call must be one of syscall(), or of such a wrapper: had another function jumped to it, what
 * the code before the call says would mean something else. */
static long number_from_caller(const uint8_t *function, const uint8_t *back)
{
    if (!readable(back - SLOT_CALL, SLOT_CALL))
        return -1;
    if (back[-6] == 0xff && back[-5] == 0x15 && goes_to(slot_target(back), function))
        return constant_before(back - SLOT_CALL, EDI, FAR);
    if (back[-5] != 0xe8)
        return -1;
    const uint8_t *target = back + int32_at(back - 4);
    return goes_to(target, function) ? constant_before(back - CALL, EDI, FAR)
                                     : number_in_wrapper(target, function);
}

/* Does the code before `at` end in the last bytes of syscall(), and with them all of it? */
static bool is_in_syscall(const uint8_t *at)
{
    enum { LAST = 5 };
    const uint8_t *end = syscall_code + sizeof(syscall_code);

    return ((uintptr_t)at & 4095) >= LAST && memcmp(at - LAST, end - LAST, LAST) == 0 &&
           readable(at - sizeof(syscall_code), sizeof(syscall_code)) &&
           memcmp(at - sizeof(syscall_code), syscall_code, sizeof(syscall_code)) == 0;
}

long prof__call_number(const uint8_t *at, const uint8_t *const *sp, bool *ret_passed_on)
{
    *ret_passed_on = is_in_syscall(at);
    if (*ret_passed_on)
        return number_from_caller(at - sizeof(syscall_code), *sp);
    return constant_before(at, EAX, NEAR);
}
