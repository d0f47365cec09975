#include "arch/thread.h"

#include <errno.h>
#include <sys/syscall.h>

/* Nothing that uses thread-local data: errno, and what guards the stack. */
#define BARE __attribute__((no_stack_protector))

static inline uintptr_t thread_pointer(void)
{
    uintptr_t at;

    __asm__("mrs %0, tpidr_el0" : "=r"(at));
    return at;
}

static inline __attribute__((always_inline)) long can_be_read(uintptr_t at)
{
    register long x8 __asm__("x8") = SYS_rt_sigprocmask;
    register long x0 __asm__("x0") = ~0L; /* a `how` that does not exist: base/memory.c */
    register long x1 __asm__("x1") = (long)at;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = sizeof(uint64_t);

    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0 == -EINVAL;
}

/* There is no word in the thread's control block that points to itself, as on other processors:
 * only its place, its alignment, and that it and what lies around it, can be read, tell. The word
 * at the thread pointer is the table of dynamically loaded thread-local data, and is never 0. */
BARE bool prof__thread_is_libcs(void)
{
    uintptr_t at = thread_pointer();

    return at && at % 16 == 0 && can_be_read(at) && *(const uintptr_t *)at != 0;
}

uintptr_t prof__thread_control_block(void)
{
    return thread_pointer();
}

size_t prof__thread_record_before(void)
{
    return PROF__THREAD_RECORD; /* it ends there: 1,824 bytes of glibc 2.41 */
}
