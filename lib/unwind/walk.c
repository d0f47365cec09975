/*
 * walk.c - up the stack, a rule for each frame.
 *
 *   pc -> rule -> CFA = rsp or rbp + offset -> return address at CFA - 8 -> the next pc
 *
 * The loop keeps three registers, pc, rsp and rbp, since nearly all frames need no others, and
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

#include <assert.h>
#include <ucontext.h>

#include "unwind/compile.h"
#include "unwind/step.h"

/* Frames between prof__stack_here() and the caller of a hook, at most. */
enum { OWN_FRAMES = 24 };

/* Below it lie null pointers and pseudo frames, and no code. */
#define PSEUDO_END ((uintptr_t)0x2000)

struct prof__stack_stats prof__stack_stats;

/* The rule, where it is not in its first place; all ones, which is no ordinary one, if it is in
 * none. */
PROF_COLD static uint64_t in_other_places(uintptr_t pc, uint64_t key)
{
    uint64_t step;

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
 * little else: rbp, for one, is not loaded but only where it was saved remembered.
 */
PROF_NO_SANITIZE
static uintptr_t run_ordinary(struct prof__walk *w, uintptr_t **out, uintptr_t *end)
{
    typedef uintptr_t word __attribute__((may_alias, aligned(1)));
    uintptr_t pc = w->regs.pc, sp = w->regs.r[PROF__RSP], rbp_at = (uintptr_t)&w->regs.r[PROF__RBP];
    uintptr_t first = w->object.start + 1, size = w->object.size;
    uint64_t identity = w->object.identity;
    const uintptr_t high = w->bounds.high;
    uintptr_t *at = *out;
    uintptr_t why = PROF__STEP_LIMIT;

    while (at != end) {
        uintptr_t base = sp;
        uint64_t step;

        if (PROF_UNLIKELY(pc - first >= size)) {
            why = PROF__STEP_OK;
            if (!prof__object_find(pc - 1, &w->object))
                break;
            first = w->object.start + 1;
            size = w->object.size;
            identity = w->object.identity;
            why = PROF__STEP_LIMIT;
        }
        if (PROF_UNLIKELY(
                !prof__rule_read(&prof__rule_steps[prof__rule_home(pc)], pc ^ identity, &step)))
            step = in_other_places(pc, pc ^ identity);
        if (PROF_UNLIKELY(step >> 48 != PROF__RULE_RSP)) {
            why = PROF__STEP_OK;
            base = *(const word *)rbp_at;
            if (prof__rule_kind(step) == PROF__RULE_END) {
                *at++ = pc - 1;
                why = PROF__STEP_END;
                break;
            }
            if (step >> 48 != PROF__RULE_RBP || base < sp || base > high)
                break;
            why = PROF__STEP_LIMIT;
        }
        uintptr_t offset = (uint32_t)step, cfa = base + offset;
        __asm__("" : "+r"(offset)); /* the load of pc adds for itself, and does not wait for cfa */
        uintptr_t slot = cfa - prof__rule_rbp(step) * sizeof(word);

        /* Frames lead up, inside the window, and a slot below rsp has been popped. */
        if (PROF_UNLIKELY(cfa > high) || PROF_UNLIKELY(slot < sp)) {
            why = PROF__STEP_OK;
            break;
        }
        *at++ = pc - 1;
        pc = *(const word *)(base + offset - sizeof(word));
        /* A frame that does not save rbp gives the slot of the return address. */
        rbp_at = slot == cfa - sizeof(word) ? rbp_at : slot;
        sp = cfa;
    }
    if (at != *out) {
        w->regs.r[PROF__RBP] = *(const word *)rbp_at;
        w->regs.r[PROF__RSP] = sp;
        w->regs.pc = pc;
        w->regs.known = PROF__KNOWN_FAST;
        *out = at;
    }
    return why;
}

/* One frame of any kind; w->object need not be right. */
static uintptr_t step_any(struct prof__walk *w)
{
    uintptr_t at = w->regs.pc - !w->exact;
    struct prof__rule r;

    if (at - w->object.start >= w->object.size && !prof__object_find(at, &w->object))
        return prof__step_guess(w);
    uintptr_t why = prof__rule_find(w->regs.pc, w->exact, &w->object, w->may_init, &r);

    return why == 0 ? prof__step(w, &r) : why;
}

/*
 * Record frames from the current one on, `max` of them at most, and stop short of the one that
 * returns to `stop` (0: the word that ends some stacks). Returns why it ended.
 */
static uintptr_t run(struct prof__walk *w, uintptr_t stop, uintptr_t *pcs, size_t max,
                     size_t *ret_n)
{
    uintptr_t *at = pcs, *const end = pcs + max;
    uintptr_t why = PROF__STEP_OK;

    while (why == PROF__STEP_OK) {
        const uintptr_t *before = at;

        if (!w->exact && w->regs.pc == stop) {
            why = PROF__STEP_STOP;
        } else if (at == end) {
            why = PROF__STEP_LIMIT;
        } else if (w->exact || w->all_registers) {
            *at++ = w->regs.pc - !w->exact;
            why = step_any(w);
        } else {
            /* No frame returns to 0, but with a real `stop` each has to be looked at. */
            why = run_ordinary(w, &at, stop ? at + 1 : end);
            if (why == PROF__STEP_LIMIT) {
                why = PROF__STEP_OK;
            } else if (why == PROF__STEP_OK && at == before) {
                *at++ = w->regs.pc - 1;
                why = step_any(w);
            }
        }
    }
    if (why >= PROF__PC_LOST && at > pcs && at[-1] < PSEUDO_END)
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
    case PROF__PC_BUSY:
        count(&prof__stack_stats.busy);
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

/* The registers that matter, as they are at one point in the calling function. What follows may
 * change them, but not what the unwind tables say of this pc; it stands for a return address, and
 * so is the end of an instruction. */
#define CAPTURE(regs)                             \
    __asm__ volatile("leaq 0f(%%rip), %%rax\n\t"  \
                     "movq %%rax, (%0)\n\t"       \
                     "movq %%rbx, 8+8*3(%0)\n\t"  \
                     "movq %%rbp, 8+8*6(%0)\n\t"  \
                     "movq %%rsp, 8+8*7(%0)\n\t"  \
                     "movq %%r12, 8+8*12(%0)\n\t" \
                     "movq %%r13, 8+8*13(%0)\n\t" \
                     "movq %%r14, 8+8*14(%0)\n\t" \
                     "movq %%r15, 8+8*15(%0)\n"   \
                     "0:"                         \
                     :                            \
                     : "D"(regs)                  \
                     : "rax", "memory")

static_assert(offsetof(struct prof__registers, pc) == 0 &&
                  offsetof(struct prof__registers, r) == sizeof(uintptr_t),
              "CAPTURE knows the layout");

/* All but the registers. */
static void start(struct prof__walk *w, bool exact, bool all_registers)
{
    w->object = (struct prof__object) { 0 };
    w->exact = exact;
    w->may_init = false;
    w->guessed = false;
    w->all_registers = all_registers;
    prof__bounds_start(&w->bounds, w->regs.r[PROF__RSP]);
}

PROF_NO_SANITIZE __attribute__((noinline)) size_t prof__stack_here(const void *return_address,
                                                                   uintptr_t *pcs, size_t max)
{
    uintptr_t own[OWN_FRAMES], why = PROF__STEP_AGAIN;
    struct prof__walk w;
    size_t n = 0;

    for (int again = 0; again < 2 && why == PROF__STEP_AGAIN; again++) {
        CAPTURE(&w.regs);
        w.regs.known = PROF__KNOWN_KEPT;
        start(&w, false, again);
        w.may_init = true;
        why = run(&w, (uintptr_t)return_address, own, OWN_FRAMES, &n);
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

size_t prof__stack_from(const struct prof__site *site, uintptr_t *pcs, size_t max)
{
    struct prof__walk w;
    size_t n;

    if (!site->rsp)
        return prof__stack_here(site->return_address, pcs, max);
    w.regs.pc = (uintptr_t)site->return_address;
    w.regs.r[PROF__RSP] = site->rsp;
    w.regs.r[PROF__RBP] = site->rbp;
    w.regs.known = PROF__KNOWN_FAST;
    start(&w, false, false);
    w.may_init = true;
    uintptr_t why = run_to_end(&w, pcs, max, &n);
    if (why == PROF__STEP_AGAIN) /* all registers are needed, and those are with us */
        return prof__stack_here(site->return_address, pcs, max);
    return finish(why, pcs, n, max);
}

size_t prof__stack_interrupted(const void *ucontext, uintptr_t *pcs, size_t max)
{
    const ucontext_t *context = ucontext;
    uintptr_t why = PROF__STEP_AGAIN;
    struct prof__walk w;
    size_t n = 0;

    for (int again = 0; again < 2 && why == PROF__STEP_AGAIN; again++) {
        prof__registers_from_signal(&w.regs, context->uc_mcontext.gregs);
        start(&w, true, again);
        why = run_to_end(&w, pcs, max, &n);
    }
    return finish(why, pcs, n, max);
}

size_t prof__stack_copied(const struct prof__stack_copy *copy, uintptr_t *pcs, size_t max)
{
    struct prof__walk w;
    size_t n = 0;
    uintptr_t why;

    w.regs = (struct prof__registers) { .pc = copy->pc, .known = 1u << PROF__RSP };
    w.regs.r[PROF__RSP] = copy->sp;
    start(&w, true, true);
    w.bounds = (struct prof__bounds) {
        .low = copy->sp,
        .high = copy->sp + copy->size,
        .shift = (uintptr_t)copy->bytes - copy->sp,
        .of = PROF__BOUNDS_COPY,
    };
    why = run_to_end(&w, pcs, max, &n);
    return finish(why, pcs, n, max);
}

void prof__stack_init(void)
{
    uintptr_t pcs[PROF__STACK_MAX];

    prof__objects_refresh();
    prof__objects_init();
    prof__stack_here(__builtin_return_address(0), pcs, ARRAY_LEN(pcs));
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
