/*
 * fork.h - what fork() means for the locks.
 */
#ifndef PROF_FORK_H
#define PROF_FORK_H

/* Register the handlers, once. */
void prof__fork_install(void);

#endif
