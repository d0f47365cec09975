/*
 * rules.c - the cache of rules: what a walk does when the first entry is not the one.
 *
 * 16,384 entries in zeroed static memory, so a process pays for the pages it uses, 512 KiB at
 * most. A pc has four places next to each other, two lines of the processor's cache. When all are
 * taken, one of them goes, picked by a counter: rules are cheap to make again, and
 * programs with more active call sites than entries have other worries.
 */
#include "unwind/rules.h"

#include "unwind/compile.h"

struct prof__rule_entry prof__rule_steps[PROF__RULES] __attribute__((aligned(64)));
struct prof__rule_entry prof__rule_saves[PROF__RULES] __attribute__((aligned(64)));

static bool in_cache(uintptr_t pc, uint64_t key, struct prof__rule *ret)
{
    size_t home = prof__rule_home(pc);

    for (unsigned way = 0; way < PROF__RULE_WAYS; way++)
        if (prof__rule_read(&prof__rule_steps[home ^ way], key, &ret->step) &&
            prof__rule_read(&prof__rule_saves[home ^ way], key, &ret->saves))
            return true;
    return false;
}

static void write_entry(struct prof__rule_entry *e, uint64_t key, uint64_t word)
{
    atomic_store_explicit(&e->word, word, memory_order_relaxed);
    atomic_store_explicit(&e->check, key ^ prof__rule_mix(word), memory_order_relaxed);
}

/* Enter a rule: into a free place, or that of another. The caller holds the compiler's lock. */
static void keep(uintptr_t pc, uint64_t key, const struct prof__rule *r)
{
    static unsigned next;
    size_t home = prof__rule_home(pc), at = home ^ (next++ % PROF__RULE_WAYS);

    for (unsigned way = 0; way < PROF__RULE_WAYS; way++) {
        if (atomic_load_explicit(&prof__rule_steps[home ^ way].check, memory_order_relaxed) == 0) {
            at = home ^ way;
            break;
        }
    }
    write_entry(&prof__rule_saves[at], key, r->saves);
    write_entry(&prof__rule_steps[at], key, r->step);
}

PROF_COLD uintptr_t prof__rule_find(uintptr_t pc, bool exact, const struct prof__object *o,
                                    bool may_init, struct prof__rule *ret)
{
    uint64_t key = prof__rule_key(pc, exact, o);

    if (in_cache(pc, key, ret))
        return 0;
    uintptr_t r = prof__compile_enter(may_init);
    if (r != 0)
        return r;
    /* Another thread may have been here while we waited. */
    if (!in_cache(pc, key, ret)) {
        prof__compile(pc, exact, o, ret);
        keep(pc, key, ret);
    }
    prof__compile_leave();
    return 0;
}
