/*
 * resume.c - undoing EINTR.
 *
 * When a handler is due while a thread is in poll(), the kernel first ends the call: it sets rax to
 * -EINTR, leaves rip behind the syscall instruction, and makes the handler's frame. What is missing
 * to make the call again is its number, which rax held. It is found in the code: libc loads it as a
 * constant a few instructions earlier. Only code is believed that consists of instructions known
 * here, and only numbers in the list below; all else keeps its EINTR. All other registers still are
 * as they were at the call.
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
#include "resume.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "own_signal.h"
#include "unwind/bounds.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

enum { CODE_BEFORE = 48 }; /* bytes looked at before the syscall instruction */

/* By signal, bit n - 1: a program's handler blocks it. */
static _Atomic uint64_t kept_back;

/* --- which call it was ----------------------------------------------------------------------- */

/* Length of the instruction at p if it is one that libc's wrappers have between the number and the
 * system call, and does not write to eax; else 0. */
static size_t instruction(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *start = p;
    bool rex_b = false, rex_r = false, to_register, to_memory;
    size_t immediate = 0;

    if (p < end && *p == 0x66)
        p++;
    if (p < end && (*p & 0xf0) == 0x40) {
        rex_b = *p & 1;
        rex_r = *p & 4;
        p++;
    }
    if (end - p < 2)
        return 0;
    uint8_t op = *p++;

    if (op >= 0xb8 && op <= 0xbf) /* mov $imm32, register */
        return (op != 0xb8 || rex_b) && end - p >= 4 ? (size_t)(p + 4 - start) : 0;
    switch (op) {
    case 0x89: /* mov register, r/m */
    case 0x01: /* add, or, and, sub, xor likewise */
    case 0x09:
    case 0x21:
    case 0x29:
    case 0x31:
        to_register = false;
        to_memory = true;
        break;
    case 0x8b: /* mov r/m, register */
    case 0x8d: /* lea */
    case 0x03:
    case 0x0b:
    case 0x23:
    case 0x2b:
    case 0x33:
        to_register = true;
        to_memory = false;
        break;
    case 0x80: /* add .. xor $imm8, r/m8 */
    case 0x83: /* $imm8, r/m */
    case 0xc1: /* shifts */
        to_register = false;
        to_memory = true;
        immediate = 1;
        break;
    case 0x81: /* $imm32, r/m */
    case 0xc7: /* mov $imm32, r/m */
        to_register = false;
        to_memory = true;
        immediate = 4;
        break;
    case 0xf7: /* not, neg; the others of this group touch rax */
        to_register = false;
        to_memory = true;
        if (((*p >> 3) & 6) != 2)
            return 0;
        break;
    default:
        return 0;
    }
    uint8_t mod = *p >> 6, reg = *p >> 3 & 7, rm = *p & 7;
    p++;
    if ((to_register && reg == 0 && !rex_r) || (to_memory && mod == 3 && rm == 0 && !rex_b))
        return 0; /* eax */
    if (mod != 3) {
        bool sib = rm == 4;
        size_t displacement = mod == 1 ? 1 : mod == 2 ? 4 : 0;

        if (mod == 0 && (rm == 5 || (sib && p < end && (*p & 7) == 5)))
            displacement = 4;
        p += sib + displacement;
    }
    p += immediate;
    return p <= end ? (size_t)(p - start) : 0;
}

static bool leads_to(const uint8_t *p, const uint8_t *end)
{
    while (p < end) {
        size_t n = instruction(p, end);

        if (n == 0)
            return false;
        p += n;
    }
    return p == end;
}

long prof__resume_number(const uint8_t *at)
{
    /* No byte of another page, which need not be readable. */
    size_t room = PROF_MIN((uintptr_t)at & 4095, (uintptr_t)CODE_BEFORE);
    long found = -1;

    for (const uint8_t *p = at - 2; p >= at - room; p--) {
        long number;

        if (p <= at - 5 && p[0] == 0xb8) /* mov $number, %eax */
            number =
                (long)(p[1] | (uint32_t)p[2] << 8 | (uint32_t)p[3] << 16 | (uint32_t)p[4] << 24);
        else if (p[0] == 0x31 && p[1] == 0xc0) /* xor %eax, %eax */
            number = 0;
        else
            continue;
        if (!leads_to(p + (p[0] == 0xb8 ? 5 : 2), at))
            continue;
        if (found >= 0 && found != number)
            return -1;
        found = number;
    }
    return found;
}

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
    { SYS_sendto, 0 },
    { SYS_sendmsg, 0 },
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
    long number = prof__resume_number(next - 2);
    if (number < 0 || !may_resume(number, gregs, signal) || others_pending(uc, signal))
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
