/*
 * own_signal.c - installing handlers next to a program that knows nothing of them.
 *
 * libc's function is asked, not the kernel: under ThreadSanitizer the kernel knows only its
 * handler. That function may be hooked by ourselves, which lets calls from inside libprof through
 * as they are. More is blocked than sigfillset() would, which leaves out the two signals by which
 * libc cancels threads and changes their ids.
 */
#include "record/own_signal.h"

#include <errno.h>
#include <string.h>

#include "base/thread.h"
#include "record/ask.h"
#include "record/collect.h"
#include "record/cpu_timers.h"

/* By number: our handler, and what there was before, SIG_DFL or SIG_IGN. Only ever set once. */
static _Atomic uintptr_t ours[_NSIG], before[_NSIG];

static int set_action(int signal, const struct sigaction *action, struct sigaction *ret_old)
{
    bool entered = prof__enter(&prof__self); /* so that our hook takes the call for ours */
    int r = sigaction(signal, action, ret_old) == 0 ? 0 : -errno;

    if (entered)
        prof__leave(&prof__self);
    return r;
}

static bool is_ours(int signal, uintptr_t handler)
{
    return handler == atomic_load_explicit(&ours[signal], memory_order_relaxed) && handler != 0;
}

int prof__own_signal_claim(int signal, prof__handler *handler, bool only_default)
{
    struct sigaction now, mine;
    int r = set_action(signal, NULL, &now);

    if (r < 0 || is_ours(signal, (uintptr_t)now.sa_handler))
        return r;
    if (now.sa_handler != SIG_DFL && (only_default || now.sa_handler != SIG_IGN))
        return -EBUSY;
    atomic_store_explicit(&before[signal], (uintptr_t)now.sa_handler, memory_order_relaxed);
    atomic_store_explicit(&ours[signal], (uintptr_t)handler, memory_order_relaxed);
    memset(&mine, 0, sizeof(mine));
    mine.sa_sigaction = handler;
    mine.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    memset(&mine.sa_mask, 0xff, sizeof(mine.sa_mask));
    return set_action(signal, &mine, NULL);
}

bool prof__own_signal_kept(int signal)
{
    struct sigaction now;

    return set_action(signal, NULL, &now) == 0 && is_ours(signal, (uintptr_t)now.sa_handler);
}

bool prof__own_signal_is_masked(int signal)
{
    for (int other = 1; other < _NSIG; other++) {
        struct sigaction a;

        if (set_action(other, NULL, &a) == 0 && a.sa_handler != SIG_DFL &&
            a.sa_handler != SIG_IGN && !is_ours(other, (uintptr_t)a.sa_handler) &&
            sigismember(&a.sa_mask, signal) == 1)
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
