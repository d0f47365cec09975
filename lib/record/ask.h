/*
 * ask.h - ask running threads for their own stacks, by a signal.
 *
 * For threads that are on a processor nothing else will do. The others are not asked: a signal
 * ends many system calls with EINTR, whatever SA_RESTART says.
 */
#ifndef PROF_RECORD_ASK_H
#define PROF_RECORD_ASK_H

#include <signal.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "table/stack_table.h"

struct prof__answer {
    pid_t tid;            /* whom to ask */
    prof__stack_id stack; /* the answer; 0: none in time, or the thread blocks the signal */
    uint32_t labels;
};

/* Ask all of them at once and wait until `deadline_ns` of the monotonic clock at most. Only one
 * thread may ask at a time. 0, or a negative errno when no signal could be had. Context: normal. */
int prof__ask(struct prof__answer *answer, size_t n, int64_t deadline_ns);

/* Is this signal a question? Context: signal. */
bool prof__ask_is_ours(int number, const siginfo_t *info);

/* In a forked child: nobody is being asked. */
void prof__ask_fork_child(void);

#endif
