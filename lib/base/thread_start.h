/*
 * thread_start.h - the functions that the threads of this process began with, as libc notes them.
 */
#ifndef PROF_BASE_THREAD_START_H
#define PROF_BASE_THREAD_START_H

#include <sys/types.h>

#include "base/compiler.h"

/* The calling thread was made by pthread_create() with these two: learn from it where libc keeps
 * them. Context: normal. */
void prof__thread_start_learn(uintptr_t function, uintptr_t arg);

/* The function that a thread began with; 0: not known, as for the main thread, and before anybody
 * has called the above. Context: normal. */
uintptr_t prof__thread_start_of(pid_t tid);

#endif
