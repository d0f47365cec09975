/*
 * step.c - one step of a walk for the frames that the loop in walk.c does not take itself: those
 * of signals, those whose CFA hangs on a register other than rsp and rbp, those outside the known
 * window of memory, and those without unwind info.
 *
 * Two things that unwind tables do not say:
 * - in an epilogue they still list the registers just popped. A save slot below the stack pointer
 *   is such a one, and the register already holds the value.
 * - code made at run time has no tables. If rbp looks like a frame pointer it is believed, once,
 *   and only if it leads to code that has.
 */
#include "unwind/step.h"

#include <ucontext.h>

#include "unwind/guess.h"
#include "unwind/stack.h"

#define WORD sizeof(uintptr_t)

static const uint8_t saved_registers[] = { PROF__RBX, PROF__R12, PROF__R12 + 1, PROF__R12 + 2,
                                           PROF__R12 + 3 };

static bool is_known(const struct prof__registers *regs, unsigned n)
{
    return regs->known >> n & 1;
}

static bool read_word(struct prof__walk *w, uintptr_t at, uintptr_t *ret)
{
    return prof__bounds_read(&w->bounds, w->regs.r[PROF__RSP], at, ret);
}

void prof__registers_from_signal(struct prof__registers *regs, const long long *gregs)
{
    static const uint8_t where[PROF__REGISTERS] = {
        REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    };

    for (unsigned i = 0; i < PROF__REGISTERS; i++)
        regs->r[i] = (uintptr_t)gregs[where[i]];
    regs->pc = (uintptr_t)gregs[REG_RIP];
    regs->known = PROF__KNOWN_ALL;
}

/* The handler has returned, so rsp points to the ucontext that the kernel put there. */
static uintptr_t step_signal(struct prof__walk *w)
{
    uintptr_t at = w->regs.r[PROF__RSP] + offsetof(ucontext_t, uc_mcontext.gregs);
    long long gregs[NGREG];

    for (unsigned i = 0; i < NGREG; i++) {
        uintptr_t word;

        if (!read_word(w, at + i * WORD, &word))
            return PROF__PC_UNREADABLE;
        gregs[i] = (long long)word;
    }
    prof__registers_from_signal(&w->regs, gregs);
    w->exact = true;
    /* A handler on an alternate stack interrupts a frame on another one, above or below. */
    if (w->bounds.of != PROF__BOUNDS_COPY)
        prof__bounds_start(&w->bounds, w->regs.r[PROF__RSP]);
    return PROF__STEP_OK;
}

/* The caller's value of register `n` from 12 bits of a rule: r[n] stays or is loaded. */
static bool restore(struct prof__walk *w, struct prof__registers *to, unsigned n, unsigned save,
                    uintptr_t cfa, const uintptr_t *base_value)
{
    if (save == PROF__SAVE_NONE)
        return true;
    if (save == PROF__SAVE_LOST) {
        to->known &= ~((uint32_t)1 << n);
        return true;
    }
    uintptr_t at =
        base_value ? *base_value + (save - (uintptr_t)PROF__SAVE_BIAS) * WORD : cfa - save * WORD;

    if (at < w->regs.r[PROF__RSP])
        return true; /* popped already */
    to->known |= (uint32_t)1 << n;
    return read_word(w, at, &to->r[n]);
}

static uintptr_t find_cfa(struct prof__walk *w, uint64_t step, uintptr_t *ret)
{
    unsigned base = prof__rule_base(step);

    if (!is_known(&w->regs, base)) {
        if (!w->all_registers)
            return PROF__STEP_AGAIN;
        uintptr_t why =
            base == PROF__RBP && w->bounds.shift ? prof__guess_rbp(w) : PROF__PC_NO_INFO;
        if (why != PROF__STEP_OK)
            return why;
    }
    *ret = w->regs.r[base] + (uintptr_t)prof__rule_offset(step);
    if (prof__rule_kind(step) >= PROF__RULE_DEREF) {
        if (!read_word(w, *ret, ret))
            return PROF__PC_UNREADABLE;
        *ret += (uintptr_t)prof__rule_more(step);
    }
    return PROF__STEP_OK;
}

static uintptr_t step_by_rule(struct prof__walk *w, const struct prof__rule *r)
{
    struct prof__registers to = w->regs;
    uint64_t saves = r->saves;
    uintptr_t cfa, sp = w->regs.r[PROF__RSP];
    uintptr_t why = find_cfa(w, r->step, &cfa);
    const uintptr_t *base_value = prof__rule_kind(r->step) == PROF__RULE_ALIGNED
                                      ? &w->regs.r[prof__rule_base(r->step)]
                                      : NULL;

    if (why != PROF__STEP_OK)
        return why;
    if (cfa < WORD || cfa - WORD < sp) /* stacks grow down, so callers are above */
        return PROF__PC_UNREADABLE;
    for (unsigned i = 0; i < ARRAY_LEN(saved_registers); i++, saves >>= 12)
        if (!restore(w, &to, saved_registers[i], saves & 0xfff, cfa, base_value))
            return PROF__PC_UNREADABLE;
    if (!restore(w, &to, PROF__RBP, prof__rule_rbp(r->step), cfa, base_value) ||
        !read_word(w, cfa - WORD, &to.pc))
        return PROF__PC_UNREADABLE;
    to.r[PROF__RSP] = cfa;
    to.known &= PROF__KNOWN_KEPT;
    w->regs = to;
    w->exact = false;
    return PROF__STEP_OK;
}

/* A call through a null pointer has done nothing but push the return address. */
static bool guess_null_call(struct prof__walk *w, struct prof__registers *to)
{
    uintptr_t sp = w->regs.r[PROF__RSP];

    if (!w->exact || w->regs.pc >= 4096 || !read_word(w, sp, &to->pc))
        return false;
    to->r[PROF__RSP] = sp + WORD;
    return true;
}

static bool guess_frame_pointer(struct prof__walk *w, struct prof__registers *to)
{
    uintptr_t sp = w->regs.r[PROF__RSP], rbp = w->regs.r[PROF__RBP];

    if (!is_known(&w->regs, PROF__RBP) || rbp % WORD != 0 || rbp < sp)
        return false;
    if (!read_word(w, rbp, &to->r[PROF__RBP]) || !read_word(w, rbp + WORD, &to->pc))
        return false;
    to->r[PROF__RSP] = rbp + 2 * WORD;
    to->known &= PROF__KNOWN_FAST; /* who knows what it did to the others */
    return true;
}

PROF_COLD uintptr_t prof__step_guess(struct prof__walk *w)
{
    struct prof__registers to = w->regs;

    if (w->guessed || (!guess_null_call(w, &to) && !guess_frame_pointer(w, &to)))
        return PROF__PC_NO_INFO;
    if (!prof__object_find(to.pc - 1, &w->object))
        return PROF__PC_NO_INFO;
    to.known &= PROF__KNOWN_KEPT;
    w->regs = to;
    w->exact = false;
    w->guessed = true;
    return PROF__STEP_OK;
}

PROF_COLD uintptr_t prof__step(struct prof__walk *w, const struct prof__rule *r)
{
    switch (prof__rule_kind(r->step)) {
    case PROF__RULE_RSP:
    case PROF__RULE_RBP:
    case PROF__RULE_BASE:
    case PROF__RULE_DEREF:
    case PROF__RULE_ALIGNED:
        return step_by_rule(w, r);
    case PROF__RULE_SIGNAL:
        return step_signal(w);
    case PROF__RULE_END:
        return PROF__STEP_END;
    case PROF__RULE_NO_INFO:
        return prof__step_guess(w);
    case PROF__RULE_LOST:
        break;
    }
    return PROF__PC_NO_INFO;
}
