/*
 * signals.h - what libprof does to the program's signals: it holds them off for moments, and raises
 * none.
 *
 * Held off are all but three. Two numbers are glibc's own: who calls setuid() waits until every
 * thread has taken the one, with a lock that pthread_create() needs. And SIGSYS, by which a seccomp
 * filter answers a forbidden call (SECCOMP_RET_TRAP): a sandbox has a handler that makes an error
 * of it, but to a thread that blocks the signal the kernel does not say so, it ends the process.
 */
#ifndef PROF_BASE_SIGNALS_H
#define PROF_BASE_SIGNALS_H

#include <signal.h>
#include <sys/types.h>

#include "base/compiler.h"

/* As the kernel counts them: bit n - 1 for signal n. */
#define PROF__SIGNAL_BIT(n) ((uint64_t)1 << ((n)-1))

enum { PROF__SIGNAL_CANCEL = 32, PROF__SIGNAL_SETXID = 33 }; /* glibc's own numbers for them */

/* Of a moment in which one of the program's handlers must not run. */
#define PROF__SIGNALS_HELD (~(PROF__SIGNAL_BIT(PROF__SIGNAL_SETXID) | PROF__SIGNAL_BIT(SIGSYS)))

/* Of a thread of ours. What a fault of its own raises is not blocked: the program's memory may be
 * such that a handler has to help each who writes there. */
#define PROF__SIGNALS_HELPER                                                                    \
    (PROF__SIGNALS_HELD & ~(PROF__SIGNAL_BIT(PROF__SIGNAL_CANCEL) | PROF__SIGNAL_BIT(SIGSEGV) | \
                            PROF__SIGNAL_BIT(SIGBUS) | PROF__SIGNAL_BIT(SIGFPE) |               \
                            PROF__SIGNAL_BIT(SIGILL) | PROF__SIGNAL_BIT(SIGTRAP)))

/* Hold off PROF__SIGNALS_HELD. Returns what was blocked before. Context: signal. */
uint64_t prof__signals_block(void);

/* Set the mask. Returns what it was. Context: signal. */
uint64_t prof__signals_set(uint64_t mask);

/* Context: signal. */
void prof__signals_restore(uint64_t mask);

/*
 * write(2), but where that raises a signal, which by default would end or stop the program, there
 * is only an error: EPIPE for SIGPIPE, EFBIG for SIGXFSZ; and a terminal that keeps background jobs
 * from writing (SIGTTOU) takes it. A point of cancellation, as write(2). Context: signal.
 */
ssize_t prof__write(int fd, const void *data, size_t size);

/* The same for a line of at most 512 bytes that is lost rather than waited for: where `fd` takes
 * nothing at the moment, nothing is written. */
void prof__write_line(int fd, const char *line, size_t size);

#endif
