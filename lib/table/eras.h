/*
 * eras.h - which of several objects that were at one address one after the other is meant.
 *
 * A library's code goes with dlclose(), and another library may come to its place. So an address in
 * a stack has the era of its place in the bits that no user address has: 0 where it is the first
 * object that was ever there, and a number of its own for each that came where another had been. An
 * object that comes back to its place has the era that it had. So a plug-in which is loaded for the
 * thousandth time has the stacks that it had the first time, and no more.
 */
#ifndef PROF_TABLE_ERAS_H
#define PROF_TABLE_ERAS_H

#include "base/compiler.h"

enum {
    PROF__ERA_SHIFT = 48,
    PROF__ERA_LAST = 0xfffe, /* of all that came after the numbers were used up: not told apart */
};

#define PROF__ERA_ABOVE ((uint64_t)0xffff) /* no era: an address in the kernel's half */

static inline uint32_t prof__era_of(uint64_t marked)
{
    uint64_t top = marked >> PROF__ERA_SHIFT;

    return top == PROF__ERA_ABOVE ? 0 : (uint32_t)top;
}

static inline uint64_t prof__era_address(uint64_t marked)
{
    bool above = marked >> PROF__ERA_SHIFT == PROF__ERA_ABOVE;

    return above ? marked : marked & (((uint64_t)1 << PROF__ERA_SHIFT) - 1);
}

/* Give each address the era of what is there now. Those that have one keep it. Context: signal. */
void prof__eras_mark(uintptr_t *pcs, size_t n);

/* One address; one that is marked, or none of a program's, comes back as it is. */
static inline uint64_t prof__era_mark(uint64_t address)
{
    uintptr_t pc = (uintptr_t)address;

    prof__eras_mark(&pc, 1);
    return pc;
}

/* --- telling what is where -------------------------------------------------------------------- */

/*
 * A range in which objects have been before, and one of these: it is there now, or it is gone. Of
 * one that is gone: 8 bytes of its memory by which to know it again should it come back, before
 * anybody has told us; id_at 0: none are known.
 */
struct prof__era_place {
    uintptr_t start, limit;
    uintptr_t id_at;
    uint64_t id;
    uint32_t era;
    bool loaded;
};

/*
 * All such places, by rising start: begin, add each, end. `fresh` is the era of what comes to one
 * of them and is none of those which are gone. One thread at a time. 0 or -ENOMEM, which leaves
 * what was told before. Places beyond 4,096 are left out.
 */
int prof__eras_begin(uint32_t fresh);
void prof__eras_add(const struct prof__era_place *place);
void prof__eras_end(void);

#endif
