/*
 * before_end.h - what is to be done before a signal, or _exit(), ends the process.
 *
 * SIGTERM and SIGINT end most programs that are not made to be ended, and a profile that is written
 * at exit is not written then. Where the program leaves such a signal at its default action, a
 * handler of ours comes first: it has a thread of ours do what is to be done, waits for that, and
 * then ends the process by the signal, as it would have ended. So nothing is done in the handler
 * itself, which may have interrupted malloc.
 *
 *   who waits   the one thread that was interrupted, for WAIT_NS at most: what it holds may be what
 *               the other needs. The rest of the program goes on
 *   again       within a second the same signal is the same wish (timeout(1) sends each twice);
 *               after that it ends the process at once, as it does for who holds Ctrl-C
 *   elsewhere   a child of fork() has the default action again, one of vfork() ends at once
 *   process 1   is ended by no signal that it does not handle, so there is no handler of ours
 *
 * A program that handles, ignores, blocks or waits for these signals never meets any of this.
 */
#ifndef PROF_RECORD_BEFORE_END_H
#define PROF_RECORD_BEFORE_END_H

#include "base/compiler.h"

struct prof__before_end {
    /* Have a thread of yours do it, who calls prof__before_end_done(). False: there is none.
     * Context: signal. */
    bool (*ask)(void);

    _Atomic uint32_t state; /* before_end.c's own, as is what follows */
    struct prof__before_end *next;
};

/* From now on, in this process. `b` lives for ever; a forked child has none until it says so, too.
 * Context: normal. */
PROF_SHARED void prof__before_end_add(struct prof__before_end *b);

/* Is the caller, who ends the process in another way, to do it himself? Then he calls
 * prof__before_end_done(). If not, it has been done when this returns, or takes too long. */
PROF_SHARED bool prof__before_end_take(struct prof__before_end *b);
PROF_SHARED void prof__before_end_done(struct prof__before_end *b);

/* For _exit(): have all of it done. False: something was not. Context: signal. */
PROF_SHARED bool prof__before_end(void);

#endif
