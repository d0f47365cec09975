/*
 * rules.h - how to get from one frame to its caller, for each pc that has been seen.
 *
 * A rule is two words, whose layout is the processor's: arch/rule.h. The first says where the
 * caller's frame begins (its CFA: the stack pointer before the call), and where the frame pointer
 * and the return address were saved, which is all that a walk needs as a rule; the second says
 * where the other kept registers were saved, for the few frames whose CFA depends on those.
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

#include "arch/rule.h"
#include "base/compiler.h"
#include "unwind/reader.h"

struct prof__rule {
    uint64_t step, saves;
};

/* All that a walk needs for it is the first half. */
static inline bool prof__rule_is_ordinary(uint64_t step)
{
    return prof__rule_kind(step) <= PROF__RULE_FP;
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
