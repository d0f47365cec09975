/*
 * lock_ledger.h - for each lock that somebody waits for: how long, and how much of it has been
 * charged to whoever kept them waiting.
 *
 * A lock is only known by its address and never read. Nothing here takes a lock or allocates.
 * Context of all of it: hook, signal, but where it says otherwise.
 */
#ifndef PROF_TABLE_LOCK_LEDGER_H
#define PROF_TABLE_LOCK_LEDGER_H

#include "arch/instructions.h"
#include "base/compiler.h"

/*
 * How many entries of the ledger have an open account, by bits 4 to 18 of the lock's address. So
 * one cache line is about 512 bytes of locks, and no lock elsewhere is disturbed by it. Each copy
 * of the hooks has its own, because it is looked at between two locked instructions, where a load
 * that hangs on another one is felt: its address must not have to be loaded first.
 */
enum { PROF__LOCK_FILTER = 1 << 15 };
struct prof__lock_filter {
    _Atomic uint16_t open[PROF__LOCK_FILTER];
};

/* What an unlock asks first: may there be something to charge? A relaxed load: a waiter that comes
 * a moment later is charged to the next one. */
static inline bool prof__ledger_maybe(const struct prof__lock_filter *filter, const void *lock)
{
    return prof__is_set_16(&filter->open[(uint32_t)(uintptr_t)lock >> 4 & (PROF__LOCK_FILTER - 1)]);
}

/* Keep this filter from now on; accounts that are open already do not show in it. At most two,
 * further ones stay as they are. It must live for ever. */
void prof__ledger_keep_filter(struct prof__lock_filter *filter);

/* What is taken out of an account: the time waited, by all, and the waits that are over with it, of
 * those not counted before. */
struct prof__debt {
    int64_t wait_ns;
    uint32_t waiters;
    uint64_t at; /* when it was taken out, for who traces (trace_ring.h); 0: nobody */
};

/* Who owes what comes in after a release has been charged: the time it takes until the next owner
 * really runs. 0: nobody known. */
struct prof__heir {
    uint32_t row;    /* rows.h; PROF__HEIR_NOBODY: it is to be dropped */
    uint32_t factor; /* what the release was multiplied with */
};
#define PROF__HEIR_NOBODY UINT32_MAX

/* A thread begins to wait, maybe only to share the lock with others. Returns a reference for
 * prof__ledger_leave(); 0 when there is no room, which is counted. */
uint32_t prof__ledger_arrive(const void *lock, bool shared, int64_t now_ns);

/* It has stopped waiting. `owner`: the thread id under which it has the lock now, or 0 if it gave
 * up. True: *ret_debt is what *ret_heir has to be charged. */
bool prof__ledger_leave(uint32_t ref, int64_t now_ns, uint32_t owner, struct prof__debt *ret_debt,
                        struct prof__heir *ret_heir);

/* It never waited: the lock was refused to it. The rest is what it arrived with. */
void prof__ledger_retract(uint32_t ref, bool shared, int64_t since_ns);

/* Take out all that is owed, for a release that is about to happen. False: nothing is. */
bool prof__ledger_take(const void *lock, int64_t now_ns, struct prof__debt *ret_debt);

/* The release failed: nobody has let go of anything. */
void prof__ledger_put_back(const void *lock, const struct prof__debt *debt);

/* The release that was taken for has been charged to this row. */
void prof__ledger_set_heir(const void *lock, struct prof__heir heir);

/* Since when `owner` has had the lock (CLOCK_MONOTONIC); 0: not known. Only of an owner who waited
 * for it, while others wait for him. */
int64_t prof__ledger_held_since(const void *lock, uint32_t owner);

/* Forget what is owed until now: it was waited for while nobody looked. */
void prof__ledger_forgive(int64_t now_ns);

/* Waits that found no room. */
uint64_t prof__ledger_lost(void);

#endif
