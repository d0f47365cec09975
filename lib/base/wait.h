/*
 * wait.h - sleeping, by whichever call the program's filter lets through.
 *
 * A filter of system calls that refuses one of those that sleep makes a loop around it run for
 * ever. So each has others in its place. Keeps no errno. No point of cancellation. Context: signal.
 */
#ifndef PROF_BASE_WAIT_H
#define PROF_BASE_WAIT_H

#include "base/compiler.h"

/* 0, or -1 and errno: a handler came in between, or there is no way to sleep. */
int prof__sleep_ns(int64_t ns);

/* A word that others change: sleep until that moment of prof__monotonic_ns(), or until it is no
 * more what it was; and wake who sleeps there. It may end sooner. */
PROF_SHARED void prof__word_wait(_Atomic uint32_t *word, uint32_t was, int64_t until_ns);
PROF_SHARED void prof__word_wake(_Atomic uint32_t *word);

#endif
