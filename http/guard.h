/*
 * guard.h - the lock of what the program's threads and the server's share, its condition, and how
 * both live through a fork.
 *
 * A handler of the program's may fork, and a thread of its may be cancelled, in the middle of a
 * call of ours. So whoever takes the lock has raised its shield before: no signal comes through
 * but SIGSYS, by which sandboxes answer system calls, and no cancellation. A thread of our own is
 * born with signals blocked, and first of all puts cancellation off.
 *
 * The lock is held for moments. Nothing is allocated under it, and nobody else's function called:
 * who forks takes it while an allocator's locks, or the program's, may be taken already.
 */
#ifndef PROF_HTTP_GUARD_H
#define PROF_HTTP_GUARD_H

#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* How the thread was before; a local variable of who raises it, and what it does until it is
 * lowered is in no profile. */
struct prof__shield {
    struct prof_hiding hiding;
    int cancel_state;
    sigset_t mask;
};

void prof__shield_raise(struct prof__shield *ret);
void prof__shield_lower(const struct prof__shield *was);

/* With the shield raised. */
void prof__guard_lock(void);
bool prof__guard_trylock(void);
void prof__guard_unlock(void);

/* Both at once. */
void prof__guard_enter(struct prof__shield *ret);
void prof__guard_leave(const struct prof__shield *was);

/* With the lock held, which is given up meanwhile: until something changes, or `end_ns`
 * (clock.h), or for no reason. False: the time is over. */
bool prof__guard_wait(uint64_t end_ns);

/* Something has changed. With the lock held. */
void prof__guard_changed(void);

/* `forked` is called in every forked child, with the lock free and one thread. For constructors. */
void prof__guard_in_child(void (*forked)(void));

#endif
