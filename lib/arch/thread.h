/*
 * thread.h - how a processor finds the running thread's own data.
 */
#ifndef PROF_ARCH_THREAD_H
#define PROF_ARCH_THREAD_H

#include "base/compiler.h"

/* Does this thread have libc's thread-local data, errno and prof__self among them? One that the
 * program makes by clone(2) may have something else in that place, or nothing, and is sent signals
 * all the same. To be asked before any of that is touched, so in a function without a stack
 * protector. Context: signal. */
bool prof__thread_is_libcs(void);

/* Where libc keeps what it knows of this thread, which is one of its own: glibc puts it at the end
 * of the stack's mapping. Context: signal. */
uintptr_t prof__thread_control_block(void);

/* How many bytes before that libc's own record of the thread begins (struct pthread of glibc), at
 * most; 0: there. The first PROF__THREAD_RECORD bytes of the record are what is looked at. */
size_t prof__thread_record_before(void);
#define PROF__THREAD_RECORD ((size_t)2304)

#endif
