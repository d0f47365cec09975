/*
 * rawmask.h - rt_sigprocmask() as the kernel has it.
 *
 * libc's own leaves out the two signals by which it cancels threads and changes their ids, sets
 * errno, and is replaced by sanitizers. Context: signal.
 */
#ifndef PROF_UNWIND_RAWMASK_H
#define PROF_UNWIND_RAWMASK_H

#include <sys/syscall.h>

#include "base/compiler.h"

/* 0 or a negative errno. A set is 64 bits. */
static inline long prof__raw_sigmask(long how, const void *set, uint64_t *ret_old)
{
    register long size __asm__("r10") = sizeof(uint64_t);
    long r;

    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "0"((long)SYS_rt_sigprocmask), "D"(how), "S"(set), "d"(ret_old), "r"(size)
                     : "rcx", "r11", "memory");
    return r;
}

#endif
