/*
 * own_signal.c - installing handlers next to a program that knows nothing of them.
 *
 * Actions are read by the system call, since libc's function may be hooked by ourselves so that the
 * program does not get to see what is read here. It blocks more than sigfillset() would, which
 * leaves out the two signals by which libc cancels threads and changes their ids.
 */
#include "own_signal.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ask.h"
#include "base/thread.h"
#include "collect.h"
#include "cpu_timers.h"

/* What the kernel takes for a struct sigaction. */
struct action {
    uintptr_t handler;
    unsigned long flags;
    uintptr_t restorer;
    uint64_t mask;
};

/* By number: our handler, and what there was before, SIG_DFL or SIG_IGN. Only ever set once. */
static _Atomic uintptr_t ours[_NSIG], before[_NSIG];

static int action_of(int signal, struct action *ret)
{
    return syscall(SYS_rt_sigaction, signal, NULL, ret, sizeof(ret->mask)) == 0 ? 0 : -errno;
}

static bool is_ours(int signal, uintptr_t handler)
{
    return handler == atomic_load_explicit(&ours[signal], memory_order_relaxed) && handler != 0;
}

int prof__own_signal_claim(int signal, prof__handler *handler, bool only_default)
{
    struct sigaction mine;
    struct action now;
    int r = action_of(signal, &now);

    if (r < 0 || is_ours(signal, now.handler))
        return r;
    if (now.handler != (uintptr_t)SIG_DFL && (only_default || now.handler != (uintptr_t)SIG_IGN))
        return -EBUSY;
    atomic_store_explicit(&before[signal], now.handler, memory_order_relaxed);
    atomic_store_explicit(&ours[signal], (uintptr_t)handler, memory_order_relaxed);
    memset(&mine, 0, sizeof(mine));
    mine.sa_sigaction = handler;
    mine.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    memset(&mine.sa_mask, 0xff, sizeof(mine.sa_mask));

    bool entered = prof__enter(&prof__self); /* so that our hook takes the call for ours */
    r = sigaction(signal, &mine, NULL) == 0 ? 0 : -errno;
    if (entered)
        prof__leave(&prof__self);
    return r;
}

bool prof__own_signal_kept(int signal)
{
    struct action now;

    return action_of(signal, &now) == 0 && is_ours(signal, now.handler);
}

bool prof__own_signal_is_masked(int signal)
{
    for (int other = 1; other < _NSIG; other++) {
        struct action a;

        if (action_of(other, &a) == 0 && a.handler != (uintptr_t)SIG_DFL &&
            a.handler != (uintptr_t)SIG_IGN && !is_ours(other, a.handler) &&
            a.mask >> (signal - 1) & 1)
            return true;
    }
    return false;
}

bool prof__signal_is_ours(int number, const siginfo_t *info)
{
    return (number == SIGPROF && prof__cpu_timer_is_ours(info)) || prof__ask_is_ours(number, info);
}

uintptr_t prof__signal_seen(int signal, uintptr_t handler)
{
    if (signal < 1 || signal >= _NSIG || !is_ours(signal, handler))
        return handler;
    return atomic_load_explicit(&before[signal], memory_order_relaxed);
}
