/*
 * collect_cpu.h - the CPU profile: what its windows and new threads ask for. Context: normal.
 */
#ifndef PROF_RECORD_COLLECT_CPU_H
#define PROF_RECORD_COLLECT_CPU_H

#include "base/compiler.h"

/* A reader comes, and goes. Opening arms the timers, or finds them armed; -EBUSY when the program
 * uses SIGPROF, -EAGAIN, -EPERM, ... when no timer can be had; the sentence set. */
int prof__cpu_open(void);
void prof__cpu_close(void);

/* CPU time between two samples of the windows open now, else of the last or the next. */
uint64_t prof__cpu_period_ns(void);

/* Samples a second that the next first window asks for. */
int prof__cpu_rate(void);

/* Have the rows say all that the clocks say by now. Before a snapshot of them. */
void prof__cpu_settle(void);

/* What makes the windows now open incomplete. */
struct prof__cpu_state {
    bool taken_over, no_controller, no_proc;
    unsigned blocked, refused; /* threads without stacks: block SIGPROF, no timer: `error` */
    int error;
};
void prof__cpu_state(struct prof__cpu_state *ret);

/* Not 0: a window is open, so new threads want a timer. */
extern _Atomic uint32_t prof__cpu_watching;

/* The calling thread is new. */
void prof__cpu_thread_started(void);

#endif
