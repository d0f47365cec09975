/*
 * step.c - one step of a walk for the frames that the loop in walk.c does not take itself: those
 * of signals, those whose CFA hangs on another register than the stack or frame pointer, those
 * outside the known window of memory, and those without unwind info.
 *
 * Two things that unwind tables do not say:
 * - in an epilogue they still list the registers just popped. A save slot below the stack pointer
 *   is such a one, and the register already holds the value.
 * - code made at run time has no tables, but keeps frame pointers as a rule, and so does what a
 *   compiler of such code has of its own inside the program. So these are followed, frame by frame,
 *   while they lead up; but only if that ends behind a call in code that has tables. Else it was a
 *   number like any other, and nothing is known.
 */
#include "unwind/step.h"

#include "arch/code.h"
#include "unwind/guess.h"
#include "unwind/stack.h"

#define WORD sizeof(uintptr_t)

enum { CHAIN_MAX = 4096 }; /* frames without unwind info in a row */

static bool read_word(struct prof__walk *w, uintptr_t at, uintptr_t *ret)
{
    return prof__bounds_read(&w->bounds, w->regs.r[PROF__REG_SP], at, ret);
}

/* The handler has returned, so sp points to what the kernel put there. */
PROF_APART static uintptr_t step_signal(struct prof__walk *w)
{
    uintptr_t at = w->regs.r[PROF__REG_SP] + PROF__SIGNAL_FRAME + prof__context_at;
    uintptr_t words[PROF__CONTEXT_WORDS];

    for (unsigned i = 0; i < PROF__CONTEXT_WORDS; i++)
        if (!read_word(w, at + i * WORD, &words[i]))
            return PROF__PC_UNREADABLE;
    prof__registers_from_context(&w->regs, words);
    w->exact = true;
    w->chain_end = 0;
    /* A handler on an alternate stack interrupts a frame on another one, above or below. */
    if (w->bounds.of != PROF__BOUNDS_COPY)
        prof__bounds_start(&w->bounds, w->regs.r[PROF__REG_SP]);
    if (w->guessed)
        prof__bounds_doubt(&w->bounds);
    return PROF__STEP_OK;
}

/* The caller's value of register `n` from a rule's code: r[n] stays or is loaded. */
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

    if (at < w->regs.r[PROF__REG_SP])
        return true; /* popped already */
    to->known |= (uint32_t)1 << n;
    return read_word(w, at, &to->r[n]);
}

static uintptr_t find_cfa(struct prof__walk *w, uint64_t step, uintptr_t *ret)
{
    unsigned base = prof__rule_base(step);

    /* Somewhere above a frame without unwind info: its record is where the frame pointer says. */
    if (base == PROF__REG_SP && !prof__walk_knows(w, base) && prof__walk_knows(w, PROF__REG_FP) &&
        prof__rule_fp(step) == prof__rule_pc(step) + 1) {
        *ret = w->regs.r[PROF__REG_FP] + prof__rule_fp(step) * WORD;
        return PROF__STEP_OK;
    }
    if (!prof__walk_knows(w, base)) {
        if (!w->all_registers)
            return PROF__STEP_AGAIN;
        uintptr_t why = base == PROF__REG_FP && w->bounds.shift ? prof__guess_frame_pointer(w)
                                                                : PROF__PC_NO_INFO;
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

/* The return address, so many words below the CFA; 0, or popped already: in its register, if it has
 * one. */
static uintptr_t find_caller(struct prof__walk *w, unsigned words, uintptr_t cfa, uintptr_t *ret)
{
    const unsigned link = PROF__REG_PC;
    uintptr_t at = cfa - words * WORD;

    if (words != 0 && at >= w->regs.r[PROF__REG_SP]) {
        if (!read_word(w, at, ret))
            return PROF__PC_UNREADABLE;
    } else if (link >= PROF__REGISTERS) {
        return PROF__PC_UNREADABLE;
    } else if (!prof__walk_knows(w, link)) {
        return PROF__PC_NO_INFO;
    } else {
        *ret = w->regs.r[link];
    }
    *ret = prof__code_address(*ret);
    return PROF__STEP_OK;
}

PROF_APART static bool is_behind_call(uintptr_t pc, const struct prof__object *o,
                                      enum prof__reader_how how)
{
    uint8_t code[PROF__CODE_BEFORE];
    struct prof__reader r;

    prof__reader_start(&r, o, how);
    return prof__read_bytes(&r, pc - sizeof(code), code, sizeof(code)) == sizeof(code) &&
           prof__code_call(code + sizeof(code), pc).kind != PROF__BRANCH_NONE;
}

/* Is that the address behind a call, in code that has tables? */
PROF_APART static bool is_call_with_info(struct prof__walk *w, uintptr_t pc)
{
    enum prof__reader_how how =
        w->bounds.of == PROF__BOUNDS_COPY ? PROF__READ_NORMAL : PROF__READ_FOREIGN;
    struct prof__object o;
    struct prof__rule rule;

    if (!prof__object_find(pc - 1, false, &o) || !is_behind_call(pc, &o, how))
        return false;
    prof__rule_find(pc, false, &o, how, &rule);
    return prof__rule_kind(rule.step) != PROF__RULE_NO_INFO &&
           prof__rule_kind(rule.step) != PROF__RULE_LOST;
}

/*
 * Of a thread that waits only pc and sp are known, and what makes the system call may be a function
 * that saves nothing: then the return address is in a register that nobody can read. Its caller
 * has a frame record, the first above sp whose words lead on; the walk goes on from that, with the
 * caller itself left out.
 */
PROF_APART static uintptr_t step_by_next_record(struct prof__walk *w)
{
    enum { WINDOW = 4096 };
    uintptr_t sp = (w->regs.r[PROF__REG_SP] + WORD - 1) & ~(uintptr_t)(WORD - 1), fp, pc;

    for (uintptr_t at = sp; at - sp < WINDOW; at += WORD) {
        if (!read_word(w, at, &fp) || !read_word(w, at + WORD, &pc))
            return PROF__PC_UNREADABLE;
        pc = prof__code_address(pc);
        if (fp <= at || fp % WORD != 0 || fp >= w->bounds.high || pc < PROF__CODE_MIN ||
            !is_call_with_info(w, pc))
            continue;
        w->regs.pc = pc;
        w->regs.r[PROF__REG_FP] = fp;
        w->regs.r[PROF__REG_SP] = at + 2 * WORD;
        w->regs.known = PROF__KNOWN_BEHIND_RECORD;
        w->exact = false;
        w->guessed = true;
        return PROF__STEP_OK;
    }
    return PROF__PC_NO_INFO;
}

PROF_APART static uintptr_t step_by_rule(struct prof__walk *w, const struct prof__rule *r)
{
    struct prof__registers to = w->regs;
    uintptr_t cfa, sp = w->regs.r[PROF__REG_SP];
    uintptr_t why = find_cfa(w, r->step, &cfa);
    const uintptr_t *base_value = prof__rule_kind(r->step) == PROF__RULE_ALIGNED
                                      ? &w->regs.r[prof__rule_base(r->step)]
                                      : NULL;

    if (why != PROF__STEP_OK)
        return why;
    if (cfa < sp) /* stacks grow down, so callers are above */
        return PROF__PC_UNREADABLE;
    for (unsigned i = 0; i < PROF__SAVED; i++)
        if (!restore(w, &to, prof__saved_register[i], prof__rule_saved(r->saves, i), cfa,
                     base_value))
            return PROF__PC_UNREADABLE;
    if (!restore(w, &to, PROF__REG_FP, prof__rule_fp(r->step), cfa, base_value))
        return PROF__PC_UNREADABLE;
    why = find_caller(w, prof__rule_pc(r->step), cfa, &to.pc);
    if (why == PROF__PC_NO_INFO && w->bounds.of == PROF__BOUNDS_COPY)
        return step_by_next_record(w);
    if (why != PROF__STEP_OK)
        return why;
    to.r[PROF__REG_SP] = cfa;
    to.known = (to.known | 1u << PROF__REG_SP) & PROF__KEPT;
    w->regs = to;
    w->exact = false;
    return PROF__STEP_OK;
}

/* --- without unwind info ---------------------------------------------------------------------- */

/* A call through a null pointer has done nothing but leave the return address. */
static bool is_null_call(struct prof__walk *w, uintptr_t *ret_pc)
{
    uintptr_t cfa = w->regs.r[PROF__REG_SP] + PROF__COMMON_CFA;

    return w->exact && w->regs.pc < 4096 &&
           find_caller(w, PROF__COMMON_PC, cfa, ret_pc) == PROF__STEP_OK &&
           prof__object_covers(*ret_pc - 1);
}

/* Do frame pointers lead from the one at `fp` to code with unwind info? Then *ret is the last of
 * them. */
static uintptr_t follow_frame_pointers(struct prof__walk *w, uintptr_t fp, uintptr_t *ret)
{
    uintptr_t pc, next;

    for (unsigned i = 0; i < CHAIN_MAX; i++) {
        if (!read_word(w, fp, &next) || !read_word(w, fp + WORD, &pc))
            return PROF__PC_UNREADABLE;
        pc = prof__code_address(pc);
        if (is_call_with_info(w, pc)) {
            *ret = fp;
            return PROF__STEP_OK;
        }
        if (pc < PROF__CODE_MIN || next <= fp || next % WORD != 0)
            break;
        fp = next;
    }
    return PROF__PC_NO_INFO;
}

static uintptr_t step_by_frame_pointer(struct prof__walk *w)
{
    struct prof__registers to = w->regs;
    uintptr_t sp = w->regs.r[PROF__REG_SP], fp = w->regs.r[PROF__REG_FP], why;

    if (!prof__walk_knows(w, PROF__REG_FP) || fp % WORD != 0 || fp < sp)
        return PROF__PC_NO_INFO;
    prof__bounds_doubt(&w->bounds);
    if (fp > w->chain_end && (why = follow_frame_pointers(w, fp, &w->chain_end)) != PROF__STEP_OK)
        return why == PROF__PC_UNREADABLE && w->bounds.of == PROF__BOUNDS_COPY ? why
                                                                               : PROF__PC_NO_INFO;
    if (!read_word(w, fp, &to.r[PROF__REG_FP]) || !read_word(w, fp + WORD, &to.pc))
        return PROF__PC_UNREADABLE;
    to.pc = prof__code_address(to.pc);
    to.r[PROF__REG_SP] = fp + 2 * WORD;
    to.known = PROF__KNOWN_BEHIND_RECORD; /* who knows what it did to the others */
    w->regs = to;
    w->exact = false;
    w->guessed = true;
    return PROF__STEP_OK;
}

static uintptr_t step_without_info(struct prof__walk *w)
{
    uintptr_t pc;

    if (!w->exact && prof__bounds_ends(&w->bounds, w->regs.r[PROF__REG_SP]))
        return PROF__STEP_END; /* the dynamic linker's or the program's first code */
    if (!is_null_call(w, &pc))
        return step_by_frame_pointer(w);
    w->regs.pc = pc;
    w->regs.r[PROF__REG_SP] += PROF__COMMON_CFA;
    w->regs.known &= PROF__KEPT;
    w->exact = false;
    return PROF__STEP_OK;
}

PROF_COLD uintptr_t prof__step(struct prof__walk *w)
{
    enum prof__reader_how how = prof__walk_how(w);
    uintptr_t at = w->regs.pc - !w->exact;
    struct prof__rule r;

    if (at - w->object.start >= w->object.size &&
        !prof__object_find(at, how == PROF__READ_HELD, &w->object))
        return step_without_info(w);
    prof__rule_find(w->regs.pc, w->exact, &w->object, how, &r);
    switch (prof__rule_kind(r.step)) {
    case PROF__RULE_SP:
    case PROF__RULE_FP:
    case PROF__RULE_BASE:
    case PROF__RULE_DEREF:
    case PROF__RULE_ALIGNED:
        return step_by_rule(w, &r);
    case PROF__RULE_SIGNAL:
        return step_signal(w);
    case PROF__RULE_END:
        return PROF__STEP_END;
    case PROF__RULE_NO_INFO:
        return step_without_info(w);
    case PROF__RULE_LOST:
        break;
    }
    return PROF__PC_NO_INFO;
}
