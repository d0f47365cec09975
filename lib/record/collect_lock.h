/*
 * collect_lock.h - waits, for mutex and block: what hooks tell, and what is asked about it.
 *
 * Context: hook; of what reading asks, signal.
 */
#ifndef PROF_RECORD_COLLECT_LOCK_H
#define PROF_RECORD_COLLECT_LOCK_H

#include "base/compiler.h"
#include "table/lock_ledger.h"
#include "table/stack_table.h"
#include "table/wait_table.h"
#include "unwind/tail.h"

/* How a wait ended. */
enum prof__wait_end {
    PROF__WAIT_CANCELLED, /* it did not return: the thread is being cancelled */
    PROF__WAIT_GOT,       /* what was waited for */
    PROF__WAIT_GAVE_UP,   /* after a time-out or a signal */
    PROF__WAIT_REFUSED,   /* an error; nobody waited */
};

/* A wait that is under way, in the frame of the hook. */
struct prof__wait {
    const void *caller; /* return address of the hook; NULL: not watched */
    int64_t since_ns;   /* CLOCK_MONOTONIC */
    uint64_t since;     /* trace_ring.h; 0: not traced. A hook that tries before it waits may have
                           set it to when it began to try */
    const void *object;
    bool wakes;       /* it has not waited: the others waited for it, until it began */
    uint32_t account; /* lock_ledger.h; 0: none */
    uint32_t place;   /* wait_table.h; 0: none */
    enum prof__wait_kind kind;
    enum prof__wait_end end;
    bool shared; /* for a lock that others may have, too */
};

/* Before and after a real function that waits. Nothing is held between the two. The end is called
 * on every way out, cancellation included, so hooks make it a cleanup. errno is kept. */
PROF_SHARED void prof__wait_begin(struct prof__wait *w, enum prof__wait_kind kind, bool timed,
                                  const void *object, const void *caller);
PROF_SHARED void prof__wait_end(struct prof__wait *w);

/* Before an unlock, if prof__ledger_maybe() says so: take what this critical section owes. False:
 * nothing. After it, charge it to `caller`, or put it back when the unlock was refused. The lock is
 * a name by then and is not read. errno is kept. */
PROF_SHARED bool prof__release_begin(const void *lock, struct prof__debt *ret_debt);
PROF_SHARED void prof__release_end(const void *lock, const struct prof__debt *debt, bool released,
                                   const void *caller);

/* What the pthread hooks tell of themselves. */
struct prof__lock_hooks {
    /* Switches between forwarding and recording. Called at once, and whenever a rate changes, by
     * any thread, maybe with the same value again. */
    void (*watch)(bool on);
    void (*watch_io)(bool on); /* the same for collect_io.h's */

    /* What they ask before an unlock. */
    struct prof__lock_filter *filter;

    /* The pointers that the hooks jump through. */
    struct prof__doors doors[2];
};

/* Let them forward or record, as is wanted now. */
void prof__lock_hooks_switch(void);

/* They are in this process. Never taken back. */
PROF_SHARED void prof__lock_hooks_present(const struct prof__lock_hooks *hooks);

/* --- what reading asks ---------------------------------------------------------------------- */

/* The stack of who called a hook, `caller` being where the hook returns to. Context: hook, signal.
 */
prof__stack_id prof__hook_stack(const void *caller);

/* Nanoseconds between two samples of block, and n of mutex, 1 event in n; 0 is off. */
uint64_t prof__block_rate(void);
uint64_t prof__mutex_fraction(void);

/* Are there hooks that tell of waits? */
bool prof__lock_watched(void);

#endif
