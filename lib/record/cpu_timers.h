/*
 * cpu_timers.h - one timer for each thread, on that thread's own CPU clock, and an account of what
 * has been told of the thread's time.
 *
 * A process-wide timer would do with less, but hits whichever thread runs when the tick comes, and
 * counts bursts wrong by half. None of this locks: all calls but those of context signal are made
 * under collect_cpu.c's lock.
 */
#ifndef PROF_RECORD_CPU_TIMERS_H
#define PROF_RECORD_CPU_TIMERS_H

#include <signal.h>
#include <sys/types.h>

#include "base/compiler.h"

/* Is this signal of one of our timers? Context: signal. */
bool prof__cpu_timer_is_ours(const siginfo_t *info);

/* It is, and the calling thread is the timer's: how many periods of its time are over of which
 * nothing has been told yet; 0: another has told of them, or they are no longer wanted.
 * Context: signal. */
int64_t prof__cpu_timer_claim(const siginfo_t *info);

/* Why a thread's time is told without a stack. */
enum prof__cpu_why {
    PROF__CPU_BLOCKED,  /* it blocks SIGPROF */
    PROF__CPU_NO_TIMER, /* none was to be had */
    PROF__CPU_ENDED,    /* it has ended before it was sampled */
    PROF__CPU_UNSEEN,   /* of threads that came and went, or had not been found yet */
};

/* Told of such time, in periods; `tid` 0: of no single thread. */
typedef void prof__cpu_charge_fn(enum prof__cpu_why why, pid_t tid, int64_t periods);

/* Could the calling thread have a timer? 0, or why not: -EAGAIN (no more signals may be queued,
 * RLIMIT_SIGPENDING), -EPERM, -ENOSYS (a seccomp filter), ... */
int prof__cpu_timers_try(void);

/* From now on each thread that is found or added is sampled each `period_ns` of its time. */
void prof__cpu_timers_begin(uint64_t period_ns, prof__cpu_charge_fn *charge);

/* The calling thread is new. It gets its timer, unless it blocks SIGPROF in the mask `blocked`. */
void prof__cpu_timers_add(pid_t tid, uint64_t blocked);

/* The calling thread ends. How many periods have not been told of, and why. Signals are blocked. */
int64_t prof__cpu_timers_end(pid_t tid, enum prof__cpu_why *ret_why);

/*
 * Look at all threads: timers for the new, none for those that are no more; what no signal will
 * tell of is charged. The caller, who has signals blocked now, blocks `mask` otherwise. -ENOENT
 * without /proc, when it found what it could.
 */
int prof__cpu_timers_scan(uint64_t mask);

/* Look again at threads that blocked the signal when they were first seen, since libc blocks all
 * signals in a thread that is being made, and at those that did at the last look. */
void prof__cpu_timers_look_again(void);

/* Take all timers back. */
void prof__cpu_timers_clear(void);

/* In a forked child, which has inherited none. */
void prof__cpu_timers_forget(void);

struct prof__cpu_timer_counts {
    unsigned blocked; /* threads that were charged for because they block SIGPROF, since begin */
    unsigned refused; /* threads without a timer now */
    int error;        /* the errno of the last refusal */
};
void prof__cpu_timers_count(struct prof__cpu_timer_counts *ret);

#endif
