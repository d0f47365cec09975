/*
 * rules.h - how to get from one frame to its caller, for each pc that has been seen.
 *
 * A rule is two words. The first says where the caller's frame begins (its CFA: the stack pointer
 * before the call) and where rbp was saved, which is all that a walk needs as a rule; the second
 * says where rbx and r12..r15 were saved, for the few frames whose CFA depends on those. The
 * return address is in the word below the CFA.
 *
 *   step    0..31   offset, bytes: CFA = base + offset. Signed, but for ordinary frames
 *          32..43   where rbp is saved (see below)
 *          44..47   base register, in DWARF's numbers
 *          48..51   kind
 *          52..63   PROF__RULE_DEREF, _ALIGNED: signed bytes added after the load
 *   saves   12 bits each for rbx, r12, r13, r14, r15
 *
 * Where a register is saved is told in words below the CFA, or with PROF__RULE_ALIGNED, whose
 * frames have no fixed distance to their CFA, in words above the base register, plus 2048.
 *
 * Of an ordinary rule the second word is made when it is first asked for.
 *
 * The cache is global, of fixed size and takes no lock. Each of the two words has a check beside
 * it, the exclusive or of the key and a mix of the word, so one that is half of an older entry does
 * not match and is a miss. The key holds the identity of the object that the pc is in: what was
 * learned of code since unloaded does not match either.
 */
#ifndef PROF_UNWIND_RULES_H
#define PROF_UNWIND_RULES_H

#include "arch/registers.h"
#include "base/compiler.h"
#include "unwind/reader.h"

enum prof__rule_kind {
    PROF__RULE_SP,      /* CFA = rsp + offset */
    PROF__RULE_FP,      /* CFA = rbp + offset; up to here rbp is known to be recoverable */
    PROF__RULE_BASE,    /* CFA = base register + offset */
    PROF__RULE_DEREF,   /* CFA = *(base register + offset) + more */
    PROF__RULE_ALIGNED, /* the same, and what is saved is found from the base register */
    PROF__RULE_SIGNAL,  /* a signal frame: rsp points to the ucontext */
    PROF__RULE_END,     /* the outermost frame */
    PROF__RULE_NO_INFO, /* nothing is known of this pc */
    PROF__RULE_LOST,    /* unwind info exists, and says what a rule cannot */
};

enum {
    PROF__SAVE_NONE = 1,     /* still in its register. No real slot: the return address is there */
    PROF__SAVE_LOST = 0xfff, /* saved where a rule cannot say */
    PROF__SAVE_BIAS = 2048,  /* PROF__RULE_ALIGNED */
};

struct prof__rule {
    uint64_t step, saves;
};

static inline int64_t prof__rule_offset(uint64_t step)
{
    return (int32_t)step;
}

static inline unsigned prof__rule_fp(uint64_t step)
{
    return step >> 32 & 0xfff;
}

static inline unsigned prof__rule_base(uint64_t step)
{
    return step >> 44 & 15;
}

static inline enum prof__rule_kind prof__rule_kind(uint64_t step)
{
    return (enum prof__rule_kind)(step >> 48 & 15);
}

/* All that a walk needs for it is the first half. */
static inline bool prof__rule_is_ordinary(uint64_t step)
{
    return prof__rule_kind(step) <= PROF__RULE_FP;
}

static inline int64_t prof__rule_more(uint64_t step)
{
    return (int64_t)step >> 52;
}

/* --- cache ---------------------------------------------------------------------------------- */

enum { PROF__RULES = 16384, PROF__RULE_WAYS = 4 };

/* Half a rule. The halves are in two tables, at the same index, because the second is rarely
 * looked at: this way the first takes a cache line for each pc, and half the pages. */
struct prof__rule_entry {
    _Atomic uint64_t check, word;
};

extern struct prof__rule_entry prof__rule_steps[PROF__RULES], prof__rule_saves[PROF__RULES];

/* An exact pc is where execution stopped; any other is a return address, and its rule is that of
 * the call before it. */
static inline uint64_t prof__rule_key(uintptr_t pc, bool exact, const struct prof__object *o)
{
    return pc ^ o->identity ^ (uint64_t)exact << 63;
}

static inline uint64_t prof__rule_mix(uint64_t word)
{
    return word * 0x9e3779b97f4a7c15u;
}

/* The first of the entries that can hold a pc's rule; the others are its neighbours in the cache
 * line, at this number ^ 1, 2 and 3. It is (pc ^ pc >> 14) % PROF__RULES, written so that a walk
 * waits for one shift and not for two. */
static inline size_t prof__rule_home(uintptr_t pc)
{
    enum { SIZE = sizeof(struct prof__rule_entry) };

    return ((pc * SIZE ^ pc / (16384 / SIZE)) & (PROF__RULES - 1) * SIZE) / SIZE;
}

/* Half of a rule, if this entry has it. Context: signal. */
static inline bool prof__rule_read(const struct prof__rule_entry *e, uint64_t key,
                                   uint64_t *ret_word)
{
    /* Relaxed: words of different writes are told by the check. */
    uint64_t check = atomic_load_explicit(&e->check, memory_order_relaxed);

    *ret_word = atomic_load_explicit(&e->word, memory_order_relaxed);
    return (check ^ prof__rule_mix(*ret_word)) == key;
}

/* If a return address has no rule in the cache, compile it. True: it has one now, which is an
 * ordinary one; another kind is kept whole, for prof__rule_find(). The rest as below. */
PROF_COLD bool prof__rule_make(uintptr_t pc, const struct prof__object *o,
                               enum prof__reader_how how);

/* The pc's rule, from the cache or by compiling it, for which `how` says how the object may be
 * read. Context: signal, unless `how` says normal. */
PROF_COLD void prof__rule_find(uintptr_t pc, bool exact, const struct prof__object *o,
                               enum prof__reader_how how, struct prof__rule *ret);

#endif
