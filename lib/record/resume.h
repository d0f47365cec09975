/*
 * resume.h - a system call that one of our signals interrupted goes on as if nothing had been.
 *
 * SA_RESTART does this for some calls. Others, poll(), epoll_wait() and nanosleep() among them,
 * return EINTR after any handler, and programs that install no handlers do not expect it.
 */
#ifndef PROF_RECORD_RESUME_H
#define PROF_RECORD_RESUME_H

#include "base/compiler.h"

/*
 * At the end of a handler of ours: if `ucontext` is that of a system call about to return EINTR
 * for no reason but `signal`, have it made again. The handler must block all signals.
 * Context: signal.
 */
void prof__resume_system_call(void *ucontext, int signal);

/*
 * Look whether the program has handlers that block `signal`. After one of those, our signal may
 * arrive where theirs has ended a call, and the EINTR is theirs; so then nothing is resumed.
 * Context: normal.
 */
void prof__resume_look(int signal);

#endif
