/*
 * own_signal.c - installing handlers next to a program that knows nothing of them.
 *
 * libc's function is asked, not the kernel: under ThreadSanitizer the kernel knows only its
 * handler. That function may be hooked by ourselves, which lets calls of libprof's own through as
 * they are. More is blocked than sigfillset() would, which leaves out the two signals by which
 * libc cancels threads and changes their ids; but not the one that answers a system call.
 */
#include "record/own_signal.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/signals.h"
#include "base/thread.h"

/* By number: who handles it, and what there was before, SIG_DFL or SIG_IGN. Only ever set. */
static _Atomic(const struct prof__own_signal *) owners[_NSIG];
static _Atomic uintptr_t before[_NSIG];
static _Atomic uint64_t owned; /* the signals of them that we send */

static int set_action(int signal, const struct sigaction *action, struct sigaction *ret_old)
{
    struct prof__thread *t = &prof__self;
    uintptr_t was = t->busy; /* the thread may be hidden */

    t->busy = (uintptr_t)__builtin_frame_address(0) | PROF__OWN_CALL;
    atomic_signal_fence(memory_order_seq_cst);
    int r = sigaction(signal, action, ret_old) == 0 ? 0 : -errno;
    atomic_signal_fence(memory_order_seq_cst);
    t->busy = was;
    return r;
}

/* NULL: nobody here. */
static const struct prof__own_signal *owner_of(int signal)
{
    return signal < 1 || signal >= _NSIG
               ? NULL
               : atomic_load_explicit(&owners[signal], memory_order_relaxed);
}

static bool is_ours(int signal, uintptr_t handler)
{
    const struct prof__own_signal *own = owner_of(signal);

    return own && handler == (uintptr_t)own->handler;
}

static struct sigaction action_of(const struct prof__own_signal *own)
{
    struct sigaction mine;

    memset(&mine, 0, sizeof(mine));
    mine.sa_sigaction = own->handler;
    mine.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    memset(&mine.sa_mask, 0xff, sizeof(mine.sa_mask));
    sigdelset(&mine.sa_mask, SIGSYS); /* base/signals.h */
    return mine;
}

int prof__own_signal_claim(int signal, const struct prof__own_signal *own, bool only_default)
{
    struct sigaction now, mine;
    int r = set_action(signal, NULL, &now);

    if (r < 0 || is_ours(signal, (uintptr_t)now.sa_handler))
        return r;
    if (now.sa_handler != SIG_DFL && (only_default || now.sa_handler != SIG_IGN))
        return -EBUSY;
    atomic_store_explicit(&before[signal], (uintptr_t)now.sa_handler, memory_order_relaxed);
    atomic_store_explicit(&owners[signal], own, memory_order_relaxed);
    if (own->sent)
        atomic_fetch_or_explicit(&owned, PROF__SIGNAL_BIT(signal), memory_order_relaxed);
    mine = action_of(own);
    return set_action(signal, &mine, NULL);
}

bool prof__own_signal_kept(int signal)
{
    struct sigaction now;

    return set_action(signal, NULL, &now) == 0 && is_ours(signal, (uintptr_t)now.sa_handler);
}

void prof__signal_before(int signal)
{
    const struct prof__own_signal *own = owner_of(signal);

    if (own && own->before)
        own->before();
}

bool prof__signal_stands_in(int signal, struct sigaction *ret)
{
    const struct prof__own_signal *own = owner_of(signal);

    if (!own || !own->stands_in || !own->stands_in())
        return false;
    atomic_store_explicit(&before[signal], (uintptr_t)SIG_DFL, memory_order_relaxed);
    *ret = action_of(own);
    return true;
}

bool prof__signal_is_ours(int number, const siginfo_t *info)
{
    const struct prof__own_signal *own = owner_of(number);

    return own && own->sent && own->sent(info);
}

uintptr_t prof__signal_seen(int signal, uintptr_t handler)
{
    return is_ours(signal, handler) ? atomic_load_explicit(&before[signal], memory_order_relaxed)
                                    : handler;
}

/* Of the mask only what the kernel reads is looked at. */
uint64_t prof__signals_let_in(const sigset_t *mask)
{
    uint64_t ours = atomic_load_explicit(&owned, memory_order_relaxed), blocks, blocked = 0;

    if (!ours || !mask)
        return 0;
    memcpy(&blocks, mask, sizeof(blocks));
    int saved = errno;
    if (ours &= ~blocks)
        syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, sizeof(blocked));
    ours &= blocked;
    for (int n = 1; ours && n < _NSIG; n++) /* the program may have taken one for itself */
        if (ours & PROF__SIGNAL_BIT(n) && !prof__own_signal_kept(n))
            ours &= ~PROF__SIGNAL_BIT(n);
    errno = saved;
    return ours;
}
