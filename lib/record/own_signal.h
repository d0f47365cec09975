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

    /* Have we sent this one? Context: signal. */
    bool (*sent)(const siginfo_t *info);

    /* The program is about to set an action for it: stop sending it. errno is kept. Context:
     * signal. */
    void (*before)(void);
};

/*
 * Have the handler called for the signal, with all signals blocked, on an alternate stack if there
 * is one. 0, also when it is so already; -EBUSY when the program has a handler of its own, or, with
 * `only_default`, even just ignores the signal. The handler stays for good: a thread may block the
 * signal, and be handed one of ours much later.
 */
int prof__own_signal_claim(int signal, const struct prof__own_signal *own, bool only_default);

/* Is it still ours? */
bool prof__own_signal_kept(int signal);

#endif
