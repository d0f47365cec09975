/*
 * parked.h - the control socket of a process that serves nothing else.
 */
#ifndef PROF_PRELOAD_PARKED_H
#define PROF_PRELOAD_PARKED_H

#include <stdbool.h>

/* Once, before main(), unless LIBPROF_CONTROL=0. `now`: open it, and wait for somebody in a thread
 * of ours; else only what follows is prepared. Where it cannot be had the log says why. */
void prof__parked_begin(bool now);

/* This process, a forked one, is there to stay: open it. */
void prof__parked_again(void);

/* A server is about to have the name. */
void prof__parked_end(void);

#endif
