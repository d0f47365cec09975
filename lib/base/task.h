/*
 * task.h - the threads of this process, as the kernel shows them in /proc/self/task.
 *
 * Read with plain system calls: no malloc, no stdio, and a descriptor only for the moment, marked
 * to be closed on exec. Context: normal, and errno is kept.
 */
#ifndef PROF_BASE_TASK_H
#define PROF_BASE_TASK_H

#include <sys/types.h>

#include "base/compiler.h"

pid_t prof__gettid(void);

/* Call `each` for every thread, in the order in which they were made, as a rule. A non-zero return
 * stops and is returned. Else 0, or what opening the folder gave: -ENOENT without /proc. */
int prof__tasks_each(int (*each)(pid_t tid, void *arg), void *arg);

/* Where there is no /proc: try the numbers that follow the process's own. Finds most threads of a
 * process that was not started long ago. Context: normal. */
int prof__tasks_probe(int (*each)(pid_t tid, void *arg), void *arg);

/* The file `name` of a thread into buf, which gets a NUL. Its length, or a negative errno. */
int prof__task_read(pid_t tid, const char *name, char *buf, size_t size);

/* Where a thread stands in the kernel. */
struct prof__position {
    bool running;          /* on a processor or about to be; nothing else is known then */
    int system_call;       /* its number; -1: none */
    uintptr_t sp, pc;      /* of the program; 0: it is no more */
    uintptr_t argument[6]; /* of the system call, if there is one */
};

/* 0, or a negative errno: -ENOENT when the thread is no more. */
int prof__task_position(pid_t tid, struct prof__position *ret);

/* The same from what the kernel's file says, of a thread of whatever process. */
void prof__task_position_parse(const char *line, struct prof__position *ret);

/* What /proc/self/task/TID/stat says first. */
struct prof__task_state {
    char name[32];        /* as set with pthread_setname_np() */
    char state;           /* R, S, D, T, ... as ps shows it */
    unsigned threads;     /* of its process, those included that have ended and are not gone yet */
    uint64_t start_ticks; /* when it was made: _SC_CLK_TCK a second, of CLOCK_BOOTTIME */
};
int prof__task_state(pid_t tid, struct prof__task_state *ret);
int prof__task_state_parse(const char *line, struct prof__task_state *ret);

/* How often the thread has been put on a processor, plus 1; 0: unknown. If that has not changed, a
 * thread that was waiting has not moved. */
uint64_t prof__task_switches(pid_t tid);

/* Does the thread block that signal, or take it by sigwait() and the like? 1 yes, 0 no; it cannot
 * be said: a negative errno, -EAGAIN when the thread was too quick. */
int prof__task_blocks(pid_t tid, int signal);

#endif
