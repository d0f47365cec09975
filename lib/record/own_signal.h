/*
 * own_signal.h - the signals that libprof handles, beside those that the program does.
 */
#ifndef PROF_RECORD_OWN_SIGNAL_H
#define PROF_RECORD_OWN_SIGNAL_H

#include <signal.h>

#include "base/compiler.h"

/* Who handles one. Constant. */
struct prof__own_signal {
    void (*handler)(int signal, siginfo_t *info, void *ucontext);

    /* Have we sent this one? NULL: we send none, and only stand before the default action. Context:
     * signal. */
    bool (*sent)(const siginfo_t *info);

    /* The program is about to set an action for it: stop sending it. NULL if none is sent.
     * errno is kept. Context: signal. */
    void (*before)(void);

    /* Does it stand before the default action? Then the handler is there when the program asks for
     * that action. NULL: it never does. Context: signal. */
    bool (*stands_in)(void);
};

/*
 * Have the handler called for the signal, with all signals blocked, on an alternate stack if there
 * is one. 0, also when it is so already; -EBUSY when the program has a handler of its own, or, with
 * `only_default`, even just ignores the signal, or is setting an action at this moment. With a lock
 * held that own->before() takes, if what is sent is to end there. The handler stays for good: a
 * thread may block the signal, and be handed one of ours much later.
 */
int prof__own_signal_claim(int signal, const struct prof__own_signal *own, bool only_default);

/* Is it still ours, and nobody about to change that? */
bool prof__own_signal_kept(int signal);

/* --- what hooks ask ------------------------------------------------------------------------- */

/* The program is about to set an action for a signal: stop sending it, if it is one of ours. True:
 * prof__signal_after() is to be called when it has, with the same mask. Until then signals are
 * blocked, unless that is NULL. errno is kept. Context: signal. */
PROF_SHARED bool prof__signal_before(int signal, uint64_t *ret_mask);
PROF_SHARED void prof__signal_after(int signal, const uint64_t *mask);

/* Is there a handler of ours for the default action that the program asks for? *ret is what sets
 * it. Context: signal. */
PROF_SHARED bool prof__signal_stands_in(int signal, struct sigaction *ret);

/* Is this a signal that we sent, and not for the program to see? `number` is that of the signal.
 * Context: signal. */
PROF_SHARED bool prof__signal_is_ours(int number, const siginfo_t *info);

/* What the program is to see where the kernel says `handler`: that, SIG_DFL or SIG_IGN.
 * Context: signal. */
PROF_SHARED uintptr_t prof__signal_seen(int signal, uintptr_t handler);

/* Of our signals, those that the thread blocks now and that `mask` would let in, as the kernel
 * counts them: bit n - 1 for signal n. NULL lets none in, nor does what cannot be read. errno is
 * kept. Context: signal. */
PROF_SHARED uint64_t prof__signals_let_in(const sigset_t *mask);

#endif
