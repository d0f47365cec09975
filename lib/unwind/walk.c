/*
 * walk.c - up the stack, a rule for each frame.
 *
 *   pc -> rule -> CFA = sp or fp + offset -> the slot of the return address -> the next pc
 *
 * The loop keeps three registers, pc, sp and fp, since nearly all frames need no others, and
 * makes one chain of loads for each frame: the rule, then the return address. Whatever is not an
 * ordinary frame goes to prof__step(), with what the loop knows put into the walk's state and taken
 * out again. Should a frame, half-way up, need a register that was let go, the walk starts again
 * and carries them all.
 *
 * Callers lie above their callees, so each step must lead up, inside the window that bounds.h
 * vouches for. Only a signal frame may lead elsewhere. The number of frames is limited, so a stack
 * that is damaged ends the walk, at the latest, there.
 */
#include "unwind/stack.h"

#include "unwind/cfi.h"
#include "unwind/step.h"

/* Frames between prof__stack_here() and the caller of a hook, at most. */
enum { OWN_FRAMES = 24 };

struct prof__stack_stats prof__stack_stats;

/* The rule, where it is not in its first place; all ones, which is no ordinary one, if it is in
 * none. */
PROF_COLD static uint64_t in_other_places(uintptr_t pc, uint64_t key)
{
    const struct prof__rule_entry *home = &prof__rule_steps[prof__rule_home(pc)];
    uint64_t step;

    /* Places are filled from the first on, and never free again (rules.c). */
    if (atomic_load_explicit(&home->check, memory_order_relaxed) == 0)
        return UINT64_MAX;
    for (unsigned way = 1; way < PROF__RULE_WAYS; way++)
        if (prof__rule_read(&prof__rule_steps[prof__rule_home(pc) ^ way], key, &step))
            return step;
    return UINT64_MAX;
}

/*
 * Ordinary frames, as many as follow each other: record the current one at *out, step to its
 * caller, again. All pcs are return addresses. Ends with PROF__STEP_LIMIT at `end`, PROF__STEP_END,
 * or PROF__STEP_OK in front of a frame that is not ordinary, or has no rule yet.
 *
 * This loop is what a sample costs. Its length is the way from one pc to the next: some arithmetic,
 * the load of the rule, the load of the return address. Nothing else has to wait, and there is
 * little else: fp, for one, is not loaded but only where it was saved remembered.
 */
PROF_NO_SANITIZE
static uintptr_t run_ordinary(struct prof__walk *w, uintptr_t **out, uintptr_t *end)
{
    typedef uintptr_t word __attribute__((may_alias, aligned(1)));
    uintptr_t pc = w->regs.pc, sp = w->regs.r[PROF__REG_SP],
              fp_at = (uintptr_t)&w->regs.r[PROF__REG_FP];
    uintptr_t first = w->object.start + 1, size = w->object.size;
    uint64_t identity = w->object.identity;
    const uintptr_t high = w->bounds.high;
    const bool held = !w->guessed; /* no copy comes here */
    uintptr_t *at = *out;
    uintptr_t why = PROF__STEP_LIMIT;

    while (at != end) {
        uintptr_t base = sp;
        uint64_t step;

        if (PROF_UNLIKELY(pc - first >= size)) {
            why = PROF__STEP_OK;
            if (!prof__object_find(pc - 1, held, &w->object))
                break;
            first = w->object.start + 1;
            size = w->object.size;
            identity = w->object.identity;
            why = PROF__STEP_LIMIT;
        }
        if (PROF_UNLIKELY(
                !prof__rule_read(&prof__rule_steps[prof__rule_home(pc)], pc ^ identity, &step)))
            step = in_other_places(pc, pc ^ identity);
        if (PROF_UNLIKELY(step >> 48 != PROF__RULE_SP)) {
            why = PROF__STEP_OK;
            base = *(const word *)fp_at;
            if (prof__rule_kind(step) == PROF__RULE_END) {
                *at++ = pc - 1;
                why = PROF__STEP_END;
                break;
            }
            if (step >> 48 != PROF__RULE_FP || base < sp || base > high)
                break;
            why = PROF__STEP_LIMIT;
        }
        uintptr_t offset = prof__rule_distance(step), cfa = base + offset;
        __asm__("" : "+r"(offset)); /* the load of pc adds for itself, and does not wait for cfa */
        uintptr_t slot = prof__rule_slot(step, cfa);

        /* Frames lead up, inside the window, and a slot below sp has been popped. */
        if (PROF_UNLIKELY(cfa > high) || PROF_UNLIKELY(slot < sp)) {
            why = PROF__STEP_OK;
            break;
        }
        *at++ = pc - 1;
        pc = prof__code_address(*(const word *)prof__rule_return_slot(slot, base + offset));
        fp_at = prof__rule_keeps_fp(slot, cfa) ? fp_at : slot;
        sp = cfa;
    }
    if (at != *out) {
        w->regs.r[PROF__REG_FP] = *(const word *)fp_at;
        w->regs.r[PROF__REG_SP] = sp;
        w->regs.pc = pc;
        w->regs.known = PROF__KNOWN_FAST;
        *out = at;
    }
    return why;
}

/* Does the current frame, at which the loop above has stopped, have a rule now that it can take?
 * Once for each frame: another thread may take the rule's place at once. */
PROF_COLD static bool has_new_rule(const struct prof__walk *w, uintptr_t *asked)
{
    uintptr_t pc = w->regs.pc;

    if (pc == *asked || pc - 1 - w->object.start >= w->object.size)
        return false;
    *asked = pc;
    return prof__rule_make(pc, &w->object, prof__walk_how(w));
}

/*
 * Record frames from the current one on, `max` of them at most, and stop short of the one that
 * returns to `stop` (0: the word that ends some stacks). Returns why it ended.
 */
static uintptr_t run(struct prof__walk *w, uintptr_t stop, uintptr_t *pcs, size_t max,
                     size_t *ret_n)
{
    uintptr_t *at = pcs, *const end = pcs + max;
    uintptr_t why = PROF__STEP_OK, asked = 0;

    while (why == PROF__STEP_OK) {
        const uintptr_t *before = at;

        if (!w->exact && w->regs.pc == stop) {
            why = PROF__STEP_STOP;
        } else if (at == end) {
            why = PROF__STEP_LIMIT;
        } else if (w->exact || w->all_registers || !prof__walk_knows(w, PROF__REG_SP)) {
            *at++ = w->regs.pc - !w->exact;
            why = prof__step(w);
            if (w->frame)
                w->frame[at - 1 - pcs] =
                    (struct prof__stack_frame) { why == PROF__STEP_OK ? w->regs.r[PROF__REG_SP] : 0,
                                                 w->regs.known };
        } else {
            /* No frame returns to 0, but with a real `stop` each has to be looked at. */
            why = run_ordinary(w, &at, stop ? at + 1 : end);
            if (why == PROF__STEP_LIMIT) {
                why = PROF__STEP_OK;
            } else if (why == PROF__STEP_OK && at == before && !has_new_rule(w, &asked)) {
                *at++ = w->regs.pc - 1;
                why = prof__step(w);
            }
        }
    }
    if (why >= PROF__PC_LOST && at > pcs && at[-1] < PROF__CODE_MIN)
        at--; /* no address of code: it would be taken for a null pointer or a pseudo frame */
    *ret_n = (size_t)(at - pcs);
    return why;
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Put the reason of an early end at pcs[n], and count it. */
static size_t finish(uintptr_t why, uintptr_t *pcs, size_t n, size_t max)
{
    switch (why) {
    case PROF__STEP_END:
    case PROF__STEP_STOP:
        return n;
    case PROF__STEP_LIMIT:
        why = PROF__PC_TRUNCATED;
        count(&prof__stack_stats.truncated);
        break;
    case PROF__PC_UNREADABLE:
        count(&prof__stack_stats.unreadable);
        break;
    default:
        why = PROF__PC_NO_INFO;
        count(&prof__stack_stats.no_info);
        break;
    }
    if (n < max)
        pcs[n++] = why;
    return n;
}

/* From the current frame to the end. A last place is kept for the reason, unless it is the only
 * one. */
static uintptr_t run_to_end(struct prof__walk *w, uintptr_t *pcs, size_t max, size_t *ret_n)
{
    return run(w, 0, pcs, max > 1 ? max - 1 : max, ret_n);
}

/* All but the registers. */
static void start(struct prof__walk *w, bool exact, bool all_registers)
{
    w->frame = NULL;
    w->object = (struct prof__object) { 0 };
    w->chain_end = 0;
    w->exact = exact;
    w->all_registers = all_registers;
    w->guessed = false;
    prof__bounds_start(&w->bounds, w->regs.r[PROF__REG_SP]);
}

PROF_NO_SANITIZE __attribute__((noinline)) size_t prof__stack_here(const void *return_address,
                                                                   uintptr_t *pcs, size_t max)
{
    uintptr_t why = PROF__STEP_AGAIN, own;
    struct prof__walk w;
    size_t n = 0;

    for (int again = 0; again < 2 && why == PROF__STEP_AGAIN; again++) {
        PROF__CAPTURE(&w.regs);
        w.regs.known = PROF__KEPT;
        start(&w, false, again);
        why = PROF__STEP_LIMIT;
        for (int i = 0; i < OWN_FRAMES && why == PROF__STEP_LIMIT; i++)
            why = run(&w, (uintptr_t)return_address, &own, 1, &n);
        n = 0;
        if (why == PROF__STEP_STOP)
            why = run_to_end(&w, pcs, max, &n);
    }
    if (n == 0) { /* not met: all that is known is who called */
        pcs[n++] = (uintptr_t)return_address - 1;
        if (why < PROF__PC_LOST)
            why = PROF__PC_NO_INFO;
    }
    return finish(why, pcs, n, max);
}

PROF_APART static uintptr_t from_site(const struct prof__site *site, uintptr_t *pcs, size_t max,
                                      size_t *ret_n)
{
    struct prof__walk w;

    w.regs.pc = (uintptr_t)site->return_address;
    w.regs.r[PROF__REG_SP] = site->sp;
    w.regs.r[PROF__REG_FP] = site->fp;
    w.regs.known = PROF__KNOWN_FAST;
    start(&w, false, false);
    return run_to_end(&w, pcs, max, ret_n);
}

size_t prof__stack_from(const struct prof__site *site, uintptr_t *pcs, size_t max)
{
    uintptr_t why = PROF__STEP_AGAIN;
    size_t n;

    if (site->sp)
        why = from_site(site, pcs, max, &n);
    if (why == PROF__STEP_AGAIN) /* all registers are needed, and those are with us */
        return prof__stack_here(site->return_address, pcs, max);
    return finish(why, pcs, n, max);
}

size_t prof__stack_interrupted(const void *ucontext, uintptr_t *pcs, size_t max)
{
    const uintptr_t *words = (const uintptr_t *)((const char *)ucontext + prof__context_at);
    uintptr_t why = PROF__STEP_AGAIN;
    struct prof__walk w;
    size_t n = 0;

    for (int again = 0; again < 2 && why == PROF__STEP_AGAIN; again++) {
        prof__registers_from_context(&w.regs, words);
        start(&w, true, again);
        why = run_to_end(&w, pcs, max, &n);
    }
    return finish(why, pcs, n, max);
}

size_t prof__stack_copied(const struct prof__stack_copy *copy, uintptr_t *pcs,
                          struct prof__stack_frame *frames, size_t max)
{
    struct prof__walk w;
    size_t n = 0;
    uintptr_t why;

    w.regs = (struct prof__registers) { .pc = copy->pc, .known = 1u << PROF__REG_SP };
    w.regs.r[PROF__REG_SP] = copy->sp;
    start(&w, true, true);
    w.frame = frames;
    w.bounds = (struct prof__bounds) {
        .low = copy->sp,
        .high = copy->sp + copy->size,
        .shift = (uintptr_t)copy->bytes - copy->sp,
        .of = PROF__BOUNDS_COPY,
        .whole = copy->whole,
    };
    why = run_to_end(&w, pcs, max, &n);
    return finish(why, pcs, n, max);
}

void prof__stack_init(void)
{
    prof__objects_refresh();
    prof__objects_init();
}

void prof__stack_code_loaded(void)
{
    prof__objects_look();
}

void prof__stack_code_unloaded(void)
{
    prof__objects_renew();
    prof__objects_refresh();
}

uintptr_t prof__stack_function_start(uintptr_t pc)
{
    struct prof__cfi_entry entry;
    struct prof__reader reader;
    struct prof__object o;

    if (!prof__object_find(pc, false, &o))
        return 0;
    prof__reader_start(&reader, &o, PROF__READ_NORMAL);
    return prof__cfi_entry(&reader, pc, &entry) ? entry.start : 0;
}
