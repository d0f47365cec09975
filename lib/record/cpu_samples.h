/*
 * cpu_samples.h - samples of processor time, into rows of their own.
 */
#ifndef PROF_RECORD_CPU_SAMPLES_H
#define PROF_RECORD_CPU_SAMPLES_H

#include <signal.h>

#include "record/cpu_timers.h"

/* A session begins: no window was open, so what the last ones have left is emptied. The caller has
 * collect_cpu.c's lock. */
void prof__cpu_samples_begin(void);

/* In a forked child. `windows`: some of the parent's are open, and may be read in the child. */
void prof__cpu_samples_forked(bool windows);

/* SIGPROF's: walk, intern, add. Context: signal. */
void prof__cpu_samples_on_signal(int signal, siginfo_t *info, void *ucontext);

/* Time of which no stack is known, but the function that the thread began with. One that has ended
 * is charged to that: it was too short-lived to be much else. */
void prof__cpu_samples_add(enum prof__cpu_why why, uintptr_t function, uint32_t labels,
                           int64_t periods);

/* The same of a thread, for the scans. */
void prof__cpu_samples_charge(enum prof__cpu_why why, pid_t tid, int64_t periods);

#endif
