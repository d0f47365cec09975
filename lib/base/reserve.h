/*
 * reserve.h - memory mapped from the start, for the one profile that is wanted when there is no
 * more.
 *
 * Whoever writes a profile has a claim on it and names that in its arenas. They take memory from
 * the kernel as ever; only when that refuses, from here. One writer has the reserve at a time, from
 * its first block to the end of its claim. Until then none of it is touched, so it takes addresses
 * and no memory.
 */
#ifndef PROF_BASE_RESERVE_H
#define PROF_BASE_RESERVE_H

#include "base/compiler.h"

/* Zero is one that was not needed yet. */
struct prof__claim {
    bool is_served; /* the reserve is this one's */
    bool has_lent;  /* something of what was lent is */
};

/* A moment of a claim. */
struct prof__claim_mark {
    size_t used, lent;
};

/* Map it, once, before anybody claims it. Without memory there is none. */
void prof__reserve_init(size_t bytes);

/* `size` zeroed bytes, a multiple of 16, or NULL: others have it, or it is used up. */
void *prof__reserve_take(struct prof__claim *c, size_t size);

bool prof__reserve_has(const void *p);

/* How much of it is taken, and back to that: what was taken since then is gone. */
struct prof__claim_mark prof__reserve_mark(const struct prof__claim *c);
void prof__reserve_rewind(struct prof__claim *c, struct prof__claim_mark mark);

/*
 * Memory of the calling thread's own, zeroed, that its claims take from before they ask the kernel:
 * for who writes just when there is no memory to be had, and so has it there before, page by page.
 * One thread at a time has such; NULL: no more. The bytes stay the lender's.
 */
void prof__reserve_lend(void *memory, size_t bytes);

/* Of that, `size` bytes or NULL. */
void *prof__reserve_take_lent(struct prof__claim *c, size_t size);

/* How much has been asked for at once, whether or not it was there; since the last lend. */
size_t prof__reserve_lent_wanted(void);

/* The claim is over, and all that was taken is gone. */
void prof__reserve_end(struct prof__claim *c);

#endif
