/*
 * ask.h - ask running threads for their own stacks.
 *
 * For threads that are on a processor nothing else will do. A question is a timer on the thread's
 * own clock (thread_timer.h), so the thread meets it when it has run until the next tick of the
 * kernel's, some milliseconds, and nothing happens to one that has gone to sleep instead: that can
 * be looked at from outside. Only one thread may ask at a time. Context: normal.
 */
#ifndef PROF_RECORD_ASK_H
#define PROF_RECORD_ASK_H

#include <sys/types.h>

#include "arch/registers.h"
#include "base/compiler.h"
#include "table/stack_table.h"

struct prof__answer {
    prof__stack_id stack;
    uint32_t labels;
    uintptr_t sp, pc;
    uintptr_t word[PROF__CONTEXT_WORDS]; /* all that was in its registers, in the kernel's order */
};

/* Before the first question of a dump. 0, or a negative errno when no signal could be had. */
int prof__ask_prepare(void);

/* Put a question to a thread. Its number, or a negative errno: -EBUSY the thread blocks the
 * signal, -ENOBUFS too many questions are open, -ESRCH, or why there is no timer. */
int prof__ask(pid_t tid);

/* Has it been answered? Then it is over. */
bool prof__ask_answered(int question, struct prof__answer *ret);

/* It is over without an answer. */
void prof__ask_withdraw(int question);

/* Sleep until there have been more answers than `seen`, or `ns` are over. */
uint32_t prof__ask_count(void);
void prof__ask_wait(uint32_t seen, int64_t ns);

#endif
