/*
 * resume.c - undoing EINTR.
 *
 * When a handler is due while a thread is in poll(), the kernel first ends the call: it sets rax to
 * -EINTR, leaves rip behind the syscall instruction, and makes the handler's frame. What is missing
 * to make the call again is its number, which rax held. It is found in the code (call_number.h),
 * and only numbers in the list below are believed; all else keeps its EINTR. All other registers
 * still are as they were at the call.
 *
 * The call is resumed only if EINTR is nobody else's:
 * - another signal that is pending and not blocked has reason of its own to end the call. All
 *   signals are blocked while our handler runs, so what came together with ours is still pending;
 * - a program's handler that blocked our signal may have run before us (prof__resume_look());
 * - a call that changes the signal mask may have kept ours back until it had returned.
 *
 * A relative timeout starts anew. Our signals go to threads that are running, and a thread that is
 * running in such a call has either just entered it or is about to leave it, so what is lost is
 * some microseconds. Calls that do part of their work before they sleep return what they have done
 * instead of EINTR, so they are made again only if they have done nothing.
 */
#include "record/resume.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "record/call_number.h"
#include "record/own_signal.h"
#include "unwind/bounds.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

/* By signal, bit n - 1: a program's handler blocks it. */
static _Atomic uint64_t kept_back;

/* --- may it be made again -------------------------------------------------------------------- */

/* Calls that return EINTR having done nothing. `mask`: the argument, counted from 1, that points to
 * a signal mask to use meanwhile; 0: none. */
static const struct {
    short number, mask;
} resumable[] = {
    { SYS_read, 0 },
    { SYS_write, 0 },
    { SYS_readv, 0 },
    { SYS_writev, 0 },
    { SYS_poll, 0 },
    { SYS_ppoll, 4 },
    { SYS_select, 0 },
    { SYS_pselect6, 6 },
    { SYS_epoll_wait, 0 },
    { SYS_epoll_pwait, 5 },
    { SYS_epoll_pwait2, 5 },
    { SYS_nanosleep, 0 },
    { SYS_clock_nanosleep, 0 },
    { SYS_pause, 0 },
    { SYS_rt_sigsuspend, 1 },
    { SYS_rt_sigtimedwait, 0 },
    { SYS_futex, 0 },
    { SYS_semop, 0 },
    { SYS_semtimedop, 0 },
    { SYS_msgrcv, 0 },
    { SYS_msgsnd, 0 },
    { SYS_accept, 0 },
    { SYS_accept4, 0 },
    { SYS_connect, 0 },
    { SYS_recvfrom, 0 },
    { SYS_recvmsg, 0 },
    { SYS_recvmmsg, 0 },
    { SYS_sendto, 0 },
    { SYS_sendmsg, 0 },
    { SYS_sendmmsg, 0 },
    { SYS_io_getevents, 0 },
};

static uint64_t bit(int signal)
{
    return (uint64_t)1 << (signal - 1);
}

static bool mask_keeps_back(const greg_t *gregs, unsigned argument, bool is_pselect, int signal)
{
    static const int where[] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9 };
    const uint64_t *mask;

    if (argument == 0)
        return false;
    /* The kernel has read it, so it can be read. pselect6 has it in a struct of pointer and size.
     */
    mask = (const uint64_t *)gregs[where[argument - 1]];
    if (is_pselect && mask)
        mask = *(const uint64_t *const *)(const void *)mask;
    return mask && *mask & bit(signal);
}

/* Through syscall() these only, since its caller may have jumped to the call with another number;
 * and a wrong one must not do anything. */
static bool makes_sense(long number, const greg_t *gregs)
{
    long op = gregs[REG_RSI] & ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);

    if (number == SYS_futex)
        return (op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET) && gregs[REG_RDI] % 4 == 0;
    return number == SYS_io_getevents && gregs[REG_RSI] > 0 && gregs[REG_RDX] >= gregs[REG_RSI];
}

static bool may_resume(long number, const greg_t *gregs, int signal)
{
    for (size_t i = 0; i < ARRAY_LEN(resumable); i++)
        if (resumable[i].number == number)
            return !mask_keeps_back(gregs, (unsigned)resumable[i].mask, number == SYS_pselect6,
                                    signal);
    return false;
}

static bool others_pending(const ucontext_t *uc, int signal)
{
    uint64_t pending = 0, blocked = *(const uint64_t *)(const void *)&uc->uc_sigmask;

    if (syscall(SYS_rt_sigpending, &pending, sizeof(pending)) != 0)
        return true;
    return pending & ~blocked & ~bit(signal);
}

void prof__resume_system_call(void *ucontext, int signal)
{
    ucontext_t *uc = ucontext;
    greg_t *gregs = uc->uc_mcontext.gregs;
    const uint8_t *next = (const uint8_t *)gregs[REG_RIP];

    if (PROF_LIKELY(gregs[REG_RAX] != -EINTR) || ((uintptr_t)next & 4095) < 2 ||
        !prof__page_readable((uintptr_t)next) || next[-2] != 0x0f || next[-1] != 0x05)
        return;
    if (atomic_load_explicit(&kept_back, memory_order_relaxed) & bit(signal))
        return;
    bool passed_on;
    long number = prof__call_number(next - 2, (const uint8_t *const *)gregs[REG_RSP], &passed_on);
    if (number < 0 || (passed_on && !makes_sense(number, gregs)) ||
        !may_resume(number, gregs, signal) || others_pending(uc, signal))
        return;
    gregs[REG_RAX] = number;
    gregs[REG_RIP] -= 2;
}

void prof__resume_look(int signal)
{
    if (prof__own_signal_is_masked(signal))
        atomic_fetch_or_explicit(&kept_back, bit(signal), memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&kept_back, ~bit(signal), memory_order_relaxed);
}
