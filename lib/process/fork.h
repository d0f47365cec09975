/*
 * fork.h - what fork() means for the locks.
 */
#ifndef PROF_PROCESS_FORK_H
#define PROF_PROCESS_FORK_H

/* Register the handlers, once. */
void prof__fork_install(void);

/* How many forks there are between this process and the one that loaded libprof: what another
 * process of the line has opened is not ours to close. */
extern unsigned prof__fork_count;

#endif
