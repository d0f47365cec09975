/*
 * thread.c - where the per-thread state lives, what it begins with, and whether what it says is
 * history.
 */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"

_Thread_local struct prof__thread prof__self;

static _Atomic uint64_t seed_count;

void prof__thread_seed(struct prof__thread *t)
{
    uint64_t n = atomic_fetch_add_explicit(&seed_count, 1, memory_order_relaxed);
    uint64_t who = (uint64_t)getpid() << 32 | n;

    /* Processes forked in one moment differ by their number, threads of one by theirs. */
    t->rng = prof__hash_more(prof__hash(who), (uint64_t)prof__monotonic_ns()) | 1;
}

static bool is_on(const stack_t *s, uintptr_t at)
{
    return at - (uintptr_t)s->ss_sp < s->ss_size;
}

/*
 * `sp` is not below t->busy. Only a handler on the alternate signal stack can be above what it has
 * interrupted; all others are below. The kernel tells whether this thread is on it, unless it was
 * set up to forget it meanwhile (SS_AUTODISARM), which looks like having none: then what is within
 * one stack, the thread's own, has to do for a proof.
 */
PROF_COLD bool prof__entry_is_history(const struct prof__thread *t, uintptr_t sp)
{
    int saved = errno;
    bool history = false;
    stack_t s;

    if (t->busy == PROF__HIDDEN)
        return false;
    if (syscall(SYS_sigaltstack, NULL, &s) != 0)
        errno = saved;
    else if (s.ss_flags & SS_ONSTACK && is_on(&s, sp))
        history = is_on(&s, t->busy);
    else if (s.ss_flags & SS_DISABLE)
        history = t->busy >= t->stack_low && sp < t->stack_high;
    else
        history = true;
    return history;
}
