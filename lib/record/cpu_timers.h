/*
 * cpu_timers.h - one timer for each thread, on that thread's own CPU clock.
 *
 * A process-wide timer would do with less, but hits whichever thread runs when the tick comes, and
 * counts bursts wrong by half. None of this locks: all calls are made under collect_cpu.c's lock.
 */
#ifndef PROF_RECORD_CPU_TIMERS_H
#define PROF_RECORD_CPU_TIMERS_H

#include <signal.h>
#include <sys/types.h>

#include "base/compiler.h"

/* Is this signal of one of our timers? Context: signal. */
bool prof__cpu_timer_is_ours(const siginfo_t *info);

/* It is: how many times its timer has gone off since the last. Context: signal. */
int64_t prof__cpu_timer_deliver(const siginfo_t *info);

/* From now on new timers fire each `period_ns` of CPU time. */
void prof__cpu_timers_set_period(uint64_t period_ns);

/* Give a thread its timer, unless it blocks SIGPROF in the mask `blocked`. 0, or why it has none:
 * -EAGAIN (no more signals may be queued, RLIMIT_SIGPENDING), -EPERM, -ENOSYS (a seccomp filter),
 * -EBUSY (it blocks the signal), ... */
int prof__cpu_timers_add(pid_t tid, uint64_t blocked);

/* The calling thread ends. How many times its timer has gone off, or should have, that no signal
 * has told of and none will. Signals are blocked. */
int64_t prof__cpu_timers_end(pid_t tid);

/* Look at all threads: timers for the new, none for those that are no more. The caller, who has
 * signals blocked now, blocks `mask` otherwise. -ENOENT without /proc, when it found what it
 * could. */
int prof__cpu_timers_scan(uint64_t mask);

/* Look again at threads that blocked the signal when they were first seen, since libc blocks all
 * signals in a thread that is being made, and at those that did at the last look. */
void prof__cpu_timers_look_again(void);

/* Take all timers back. */
void prof__cpu_timers_clear(void);

/* In a forked child, which has inherited none. */
void prof__cpu_timers_forget(void);

struct prof__cpu_timer_counts {
    unsigned armed, blocked, refused; /* threads: with a timer, blocking SIGPROF, without one */
    int error;                        /* the errno of the last refusal */
};

/* How many there are now. */
void prof__cpu_timers_count(struct prof__cpu_timer_counts *ret);

/* See which threads block the signal by now; `mask` as above. */
void prof__cpu_timers_look(uint64_t mask);

#endif
