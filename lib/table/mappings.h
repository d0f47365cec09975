/*
 * mappings.h - what the program has mapped and not unmapped, by address.
 *
 * Unlike blocks of malloc's, mappings may be cut up, mapped over and moved, so they are kept in
 * order of address. Context: hook. Nobody waits for the lock for more than a millisecond, whoever
 * has it: what cannot be noted then is counted as missed.
 */
#ifndef PROF_TABLE_MAPPINGS_H
#define PROF_TABLE_MAPPINGS_H

#include "base/arena.h"
#include "base/compiler.h"

/* Whose end is known: bytes of a row, and whether the mapping is counted as gone with them. */
typedef void prof__mapping_gone_fn(uint32_t row, uint64_t bytes, bool object);

/* A moment. What was remembered before it is older. */
uint64_t prof__mappings_now(void);

/* Remember [start, start + size), and forget whatever was there. False: it is not; there is no
 * room, or the lock could not be had. */
bool prof__mappings_add(uintptr_t start, size_t size, uint32_t row, prof__mapping_gone_fn *gone);

/* Forget what was remembered of it before `moment`: what others have mapped there since is theirs.
 * False: the lock could not be had. */
bool prof__mappings_remove(uintptr_t start, size_t size, uint64_t moment,
                           prof__mapping_gone_fn *gone);

/* A piece of one that is still mapped. */
struct prof__mapping {
    uintptr_t start, end;
    uint32_t row;
};

/* All pieces by rising address, in memory from `a`. Those that come or go meanwhile may be missing.
 * 0, -ENOMEM, or -EBUSY: the lock could not be had. Context: normal. */
int prof__mappings_copy(struct prof__arena *a, struct prof__mapping **ret, size_t *ret_n);

/* For a forked child's handler. True: somebody who is not there has the lock, so all of it has been
 * given up. */
bool prof__mappings_fork_child(void);

/* How often the lock could not be had, and pieces that a forked child had to give up. */
uint64_t prof__mappings_missed(void);

#endif
