#include "unwind/expression.h"

#include "arch/registers.h"

enum { DEPTH = 8 };

enum {
    OP_DEREF = 0x06,
    OP_CONST1U = 0x08,
    OP_CONST1S,
    OP_CONST2U,
    OP_CONST2S,
    OP_CONST4U,
    OP_CONST4S,
    OP_CONST8U,
    OP_CONST8S,
    OP_CONSTU,
    OP_CONSTS,
    OP_DUP,
    OP_DROP,
    OP_OVER,
    OP_SWAP = 0x16,
    OP_AND = 0x1a,
    OP_MINUS = 0x1c,
    OP_NEG = 0x1f,
    OP_NOT,
    OP_OR,
    OP_PLUS,
    OP_PLUS_UCONST,
    OP_SHL,
    OP_SHR,
    OP_XOR = 0x27,
    OP_EQ = 0x29,
    OP_GE,
    OP_GT,
    OP_LE,
    OP_LT,
    OP_NE,
    OP_LIT0 = 0x30,
    OP_LIT31 = 0x4f,
    OP_BREG0 = 0x70,
    OP_BREG31 = 0x8f,
    OP_BREGX = 0x92,
    OP_NOP = 0x96,
};

struct stack {
    struct prof__value value[DEPTH];
    unsigned n;
    bool bad;
};

static const struct prof__value none = { .form = PROF__VALUE_NONE };

static void push(struct stack *s, struct prof__value v)
{
    if (s->n == DEPTH || v.form == PROF__VALUE_NONE)
        s->bad = true;
    else
        s->value[s->n++] = v;
}

static struct prof__value pop(struct stack *s)
{
    if (s->n == 0) {
        s->bad = true;
        return none;
    }
    return s->value[--s->n];
}

static struct prof__value number(uint64_t n)
{
    return (struct prof__value) { .form = PROF__VALUE_NUMBER, .offset = (int64_t)n };
}

static struct prof__value sum(unsigned reg, uint64_t offset, uintptr_t pc)
{
    if (reg == PROF__REG_PC)
        return number(pc + offset);
    if (reg >= PROF__REGISTERS && reg != PROF__REG_CFA)
        return none;
    return (struct prof__value) { .form = PROF__VALUE_SUM, .reg = reg, .offset = (int64_t)offset };
}

static struct prof__value load(struct prof__value v)
{
    if (v.form != PROF__VALUE_SUM)
        return none;
    v.form = PROF__VALUE_LOADED;
    return v;
}

static struct prof__value add(struct prof__value v, uint64_t n)
{
    int64_t *to = v.form == PROF__VALUE_LOADED ? &v.more : &v.offset;

    *to = (int64_t)((uint64_t)*to + n);
    return v;
}

/* One of the operations on two numbers. */
static struct prof__value of_numbers(uint64_t op, int64_t a, int64_t b)
{
    uint64_t x = (uint64_t)a, y = (uint64_t)b;

    switch (op) {
    case OP_AND:
        return number(x & y);
    case OP_OR:
        return number(x | y);
    case OP_XOR:
        return number(x ^ y);
    case OP_SHL:
        return number(y < 64 ? x << y : 0);
    case OP_SHR:
        return number(y < 64 ? x >> y : 0);
    case OP_EQ:
        return number(a == b);
    case OP_GE:
        return number(a >= b);
    case OP_GT:
        return number(a > b);
    case OP_LE:
        return number(a <= b);
    case OP_LT:
        return number(a < b);
    case OP_NE:
        return number(a != b);
    }
    return none;
}

static struct prof__value of_two(uint64_t op, struct prof__value a, struct prof__value b)
{
    if (op == OP_PLUS && b.form == PROF__VALUE_NUMBER)
        return add(a, (uint64_t)b.offset);
    if (op == OP_PLUS && a.form == PROF__VALUE_NUMBER)
        return add(b, (uint64_t)a.offset);
    if (op == OP_MINUS && b.form == PROF__VALUE_NUMBER)
        return add(a, -(uint64_t)b.offset);
    if (a.form != PROF__VALUE_NUMBER || b.form != PROF__VALUE_NUMBER)
        return none;
    return of_numbers(op, a.offset, b.offset);
}

/* `op` if it gives a number that is written behind it. */
static bool take_constant(struct prof__bytes *b, uint64_t op, uint64_t *ret)
{
    switch (op) {
    case OP_CONST1U:
        *ret = prof__take_byte(b);
        return true;
    case OP_CONST1S:
        *ret = (uint64_t)(int64_t)(int8_t)prof__take_byte(b);
        return true;
    case OP_CONST2U:
        *ret = prof__take(b, 2);
        return true;
    case OP_CONST2S:
        *ret = (uint64_t)(int64_t)(int16_t)prof__take(b, 2);
        return true;
    case OP_CONST4U:
        *ret = prof__take(b, 4);
        return true;
    case OP_CONST4S:
        *ret = (uint64_t)(int64_t)(int32_t)prof__take(b, 4);
        return true;
    case OP_CONST8U:
    case OP_CONST8S:
        *ret = prof__take(b, 8);
        return true;
    case OP_CONSTU:
        *ret = prof__take_uleb(b);
        return true;
    case OP_CONSTS:
        *ret = prof__take_sleb(b);
        return true;
    }
    *ret = op - OP_LIT0;
    return op >= OP_LIT0 && op <= OP_LIT31;
}

static void carry_out(struct stack *s, struct prof__bytes *b, uint64_t op, uintptr_t pc)
{
    struct prof__value v, under;
    uint64_t n;

    if (take_constant(b, op, &n)) {
        push(s, number(n));
        return;
    }
    if (op >= OP_BREG0 && op <= OP_BREG31) {
        push(s, sum((unsigned)(op - OP_BREG0), prof__take_sleb(b), pc));
        return;
    }
    switch (op) {
    case OP_NOP:
        return;
    case OP_BREGX:
        n = prof__take_uleb(b);
        push(s, sum(n < PROF__REG_CFA ? (unsigned)n : UINT32_MAX, prof__take_sleb(b), pc));
        return;
    case OP_DEREF:
        push(s, load(pop(s)));
        return;
    case OP_PLUS_UCONST:
        push(s, add(pop(s), prof__take_uleb(b)));
        return;
    case OP_DROP:
        pop(s);
        return;
    case OP_DUP:
        v = pop(s);
        push(s, v);
        push(s, v);
        return;
    case OP_OVER:
        v = pop(s);
        under = pop(s);
        push(s, under);
        push(s, v);
        push(s, under);
        return;
    case OP_SWAP:
        v = pop(s);
        under = pop(s);
        push(s, v);
        push(s, under);
        return;
    case OP_NEG:
    case OP_NOT:
        v = pop(s);
        push(s, v.form != PROF__VALUE_NUMBER ? none
                : op == OP_NEG               ? number(-(uint64_t)v.offset)
                                             : number(~(uint64_t)v.offset));
        return;
    default:
        v = pop(s);
        under = pop(s);
        push(s, of_two(op, under, v));
        return;
    }
}

struct prof__value prof__expression(struct prof__bytes b, uintptr_t pc, bool cfa)
{
    struct stack s = { .n = 0 };

    if (cfa)
        push(&s, sum(PROF__REG_CFA, 0, pc));
    while (prof__bytes_left(&b) && !b.bad && !s.bad)
        carry_out(&s, &b, prof__take_byte(&b), pc);
    return s.n == 0 || b.bad || s.bad ? none : s.value[s.n - 1];
}
