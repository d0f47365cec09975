/*
 * fork.h - a forked child must find every lock free, though the thread that held it is not there.
 *
 * Each room says here what fork() means for it; nobody keeps a list. Short locks are taken before
 * the fork, in their order, and released on both sides, with signals blocked as they are whenever
 * one of them is held: a handler may fork. A lock that may be held for long is not waited for; the
 * child abandons what it guards instead. Tables that take no lock go on in the child from the
 * parent's numbers, as its memory does. A process made by raw clone() or vfork() runs no handlers
 * and has to do with that.
 */
#ifndef PROF_BASE_FORK_H
#define PROF_BASE_FORK_H

#include "base/lock.h"

/* Rank of a room that has no lock to take: it comes last before a fork, first after it. */
enum { PROF__FORK_NO_LOCK = PROF__RANKS };

/* Any of the functions may be NULL. Before a fork they are called by rising rank, after it by
 * falling. */
struct prof__fork_handlers {
    uint32_t rank; /* enum prof__rank */
    void (*prepare)(void);
    void (*in_parent)(void);
    void (*in_child)(void);
    struct prof__fork_handlers *next;
};

/* Must live for ever. Context: constructors. */
void prof__fork_register(struct prof__fork_handlers *handlers);

/* Come before whoever registers with libc from now on. Context: constructors, and any of the
 * program's calls that registers. */
PROF_SHARED void prof__fork_take_place(void);

/* Once in a file: PROF__AT_FORK(rank, prepare, in_parent, in_child). */
#define PROF__AT_FORK(...)                                                  \
    __attribute__((constructor(101))) static void register_at_fork(void)    \
    {                                                                       \
        static struct prof__fork_handlers handlers = { __VA_ARGS__, NULL }; \
                                                                            \
        prof__fork_register(&handlers);                                     \
    }

/* How many forks there are between this process and the one that loaded libprof: what another
 * process of the line has opened is not ours to close. */
extern unsigned prof__fork_count;

#endif
