/*
 * thread_timer.h - a signal for one thread, after so much of its own CPU time.
 *
 * This is the only way in which libprof sends signals. It never ends a system call early: the
 * kernel looks at such timers when its clock ticks while the thread runs, and has the signal made
 * by the thread itself on its way back to the program's code (Linux 5.9 on x86-64,
 * CONFIG_POSIX_CPU_TIMERS_TASK_WORK). A thread that sleeps in a call is not met; one that was met
 * on its way into the call sleeps on, and takes the signal when the call has ended by itself. For
 * the same reason none is ever on its way, sent and not yet handled, but to a thread that blocks
 * it. exec() takes the timers away, and what they have sent with them; a child has none.
 *
 * Made by the system call, since libc's function takes neither the clock of another thread nor
 * SIGEV_THREAD_ID. Context: signal.
 */
#ifndef PROF_RECORD_THREAD_TIMER_H
#define PROF_RECORD_THREAD_TIMER_H

#include <sys/types.h>
#include <time.h>

#include "base/compiler.h"

enum { PROF__NO_TIMER = -1 };

/* The clock of a thread of this process. */
static inline clockid_t prof__thread_clock(pid_t tid)
{
    /* The kernel's arithmetic: 4 for a thread, 2 for the scheduler's time. */
    return (clockid_t)(~(unsigned)tid << 3 | 6);
}

/* CPU time that the thread has used. False: it is no more. */
bool prof__thread_time(pid_t tid, uint64_t *ret_ns);

/* A timer for that thread, not yet set, whose signal carries `value`. Its id, or a negative errno:
 * -EAGAIN (no more signals may be queued, RLIMIT_SIGPENDING), -EPERM, -ENOSYS (a seccomp filter),
 * -ESRCH (there is no such thread). */
int prof__thread_timer_make(pid_t tid, int signal, void *value);

/* Have it go off when the thread has used `first_ns` more, which is not 0, and then each
 * `every_ns`; 0: once. 0 or a negative errno. Never with an absolute time, which may have passed:
 * then the kernel would send the signal at once, to a thread that may be asleep. */
int prof__thread_timer_set(int timer, uint64_t first_ns, uint64_t every_ns);

/* Has it nothing left to run for, as after its thread has ended? */
bool prof__thread_timer_is_dead(int timer);

/* Take it back, if it is one. */
void prof__thread_timer_delete(int *timer);

#endif
