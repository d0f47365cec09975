/*
 * last_thread.h - the profiler's threads do not keep a process alive.
 */
#ifndef PROF_PROCESS_LAST_THREAD_H
#define PROF_PROCESS_LAST_THREAD_H

/* When libprof is loaded, by the main thread as a rule. */
void prof__last_thread_init(void);

/* A thread of the profiler's has marked itself as such. */
void prof__last_thread_helper(void);

#endif
