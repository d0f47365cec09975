/*
 * collect_internal.h - what prof.c asks of the recording half: rates and counts.
 */
#ifndef PROF_RECORD_COLLECT_INTERNAL_H
#define PROF_RECORD_COLLECT_INTERNAL_H

#include "base/thread.h"

/* The heap interval now in force; 0 is off. Context: signal. */
uint64_t prof__heap_rate(void);

/* Set it; returns the previous one. */
uint64_t prof__heap_rate_set(uint64_t interval);

/* Live blocks not remembered for want of memory; prof_heap_free() of blocks that were not there,
 * which only shows at rate 1. */
uint64_t prof__heap_lost(void);
uint64_t prof__heap_unseen_frees(void);
uint64_t prof__heap_foreign_frees(void);

/* Nanoseconds between two samples of block, and n of mutex, 1 event in n; 0 is off.
 * Context: signal. */
uint64_t prof__block_rate(void);
uint64_t prof__mutex_fraction(void);

/* Are there hooks that tell of waits? */
bool prof__lock_watched(void);

/* Give the thread's random generator its seed. Context: signal. */
void prof__seed(struct prof__thread *t);

/* --- CPU -------------------------------------------------------------------------------------- */

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

/* --- threads ---------------------------------------------------------------------------------- */

/* Are there hooks that tell of new threads? */
bool prof__hooks_here(void);

#endif
