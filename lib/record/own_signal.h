/*
 * own_signal.h - the signals that libprof handles, beside those that the program does.
 */
#ifndef PROF_RECORD_OWN_SIGNAL_H
#define PROF_RECORD_OWN_SIGNAL_H

#include <signal.h>

#include "base/compiler.h"

typedef void prof__handler(int signal, siginfo_t *info, void *ucontext);

/*
 * Have `handler` called for the signal, with all signals blocked, on an alternate stack if there is
 * one. 0, also when it is so already; -EBUSY when the program has a handler of its own, or, with
 * `only_default`, even just ignores the signal. The handler stays for good: a signal of ours may
 * always be under way, and by default would end the process.
 */
int prof__own_signal_claim(int signal, prof__handler *handler, bool only_default);

/* Is it still ours? */
bool prof__own_signal_kept(int signal);

/* Has the program a handler that blocks `signal`? */
bool prof__own_signal_is_masked(int signal);

#endif
