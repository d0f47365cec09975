/*
 * rules.c - the cache of rules: what a walk does when the first entry is not the one.
 *
 * 16,384 entries in zeroed static memory, so a process pays for the pages it uses, 512 KiB at
 * most. A pc has four places next to each other, two lines of the processor's cache. When all are
 * taken, one of them goes, picked by a counter: rules are cheap to make again, and
 * programs with more active call sites than entries have other worries.
 * Most rules are ordinary, and of those nobody asks for the second half, so it is not kept before
 * somebody does: a program pays for half the pages.
 *
 * Two threads that make the same rule write the same words; two that write different ones into one
 * place leave halves that no key fits.
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

/* Where a pc's rule goes: into its place, if its first half has one, a free one, or another's. */
static size_t place(uintptr_t pc, uint64_t key)
{
    static _Atomic unsigned next;
    size_t home = prof__rule_home(pc);
    uint64_t unused;

    for (unsigned way = 0; way < PROF__RULE_WAYS; way++) {
        const struct prof__rule_entry *e = &prof__rule_steps[home ^ way];

        if (atomic_load_explicit(&e->check, memory_order_relaxed) == 0 ||
            prof__rule_read(e, key, &unused))
            return home ^ way;
    }
    unsigned turn = atomic_load_explicit(&next, memory_order_relaxed);
    atomic_store_explicit(&next, turn + 1, memory_order_relaxed);
    return home ^ (turn % PROF__RULE_WAYS);
}

/* Is the object still the one that was read? What was held is. */
static bool is_still_there(uintptr_t pc, const struct prof__object *o, enum prof__reader_how how)
{
    struct prof__object now;

    return how == PROF__READ_HELD || o->permanent ||
           (prof__object_find(pc, false, &now) && now.identity == o->identity);
}

PROF_COLD void prof__rule_find(uintptr_t pc, bool exact, const struct prof__object *o,
                               enum prof__reader_how how, struct prof__rule *ret)
{
    uint64_t key = prof__rule_key(pc, exact, o);

    if (in_cache(pc, key, ret))
        return;
    prof__compile(pc, exact, o, how, ret);
    if (is_still_there(exact ? pc : pc - 1, o, how)) {
        size_t at = place(pc, key);

        write_entry(&prof__rule_saves[at], key, ret->saves);
        write_entry(&prof__rule_steps[at], key, ret->step);
    }
}

PROF_COLD bool prof__rule_make(uintptr_t pc, const struct prof__object *o,
                               enum prof__reader_how how)
{
    uint64_t key = prof__rule_key(pc, false, o);
    size_t at = place(pc, key);
    struct prof__rule r;

    if (prof__rule_read(&prof__rule_steps[at], key, &r.step))
        return false;
    prof__compile_first(pc, o, how, &r);
    if (!is_still_there(pc - 1, o, how))
        return false;
    bool ordinary = prof__rule_is_ordinary(r.step);
    if (!ordinary) /* then it is whole, and the step that follows asks for it */
        write_entry(&prof__rule_saves[at], key, r.saves);
    write_entry(&prof__rule_steps[at], key, r.step);
    return ordinary;
}
