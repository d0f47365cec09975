/*
 * own_signal.c - installing handlers next to a program that knows nothing of them.
 *
 * libc's function is asked, not the kernel: under ThreadSanitizer the kernel knows only its
 * handler. That function may be hooked by ourselves, which lets calls of libprof's own through as
 * they are. More is blocked than sigfillset() would, which leaves out the two signals by which
 * libc cancels threads and changes their ids; but not the one that answers a system call.
 *
 * Between a look at an action and a change of it the program may change it. What has been replaced
 * unseen is put back; and where the hooks are, a signal is not claimed while the program is in the
 * middle of setting its action. Who claims holds a lock that `before` takes: either the claim sees
 * that the program is at it, or the program comes to `before` when all that was begun can be ended.
 */
#include "record/own_signal.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/memory.h"
#include "base/signals.h"
#include "base/thread.h"

/* By number: who handles it, and what there was before, SIG_DFL or SIG_IGN. Only ever set. */
static _Atomic(const struct prof__own_signal *) owners[_NSIG];
static _Atomic uintptr_t before[_NSIG];
static _Atomic uint64_t owned; /* the signals of them that we send */

/* Threads of the program's that are setting the action, in the process `home`. A child of vfork()
 * has actions of its own in memory that is not. */
static _Atomic int setting[_NSIG];
static _Atomic pid_t home;

__attribute__((constructor(101))) static void start(void)
{
    atomic_store(&home, getpid());
}

static void fork_child(void)
{
    for (int i = 0; i < _NSIG; i++)
        atomic_store_explicit(&setting[i], 0, memory_order_relaxed);
    start();
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, fork_child)

static bool is_counted(int signal)
{
    return signal >= 1 && signal < _NSIG && atomic_load(&home) == getpid();
}

static bool is_being_set(int signal)
{
    return atomic_load(&setting[signal]) > 0;
}

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
    return signal < 1 || signal >= _NSIG ? NULL : atomic_load(&owners[signal]);
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

/* Does the program want a signal with such a handler? */
static bool is_wanted(uintptr_t handler, bool only_default)
{
    return handler != (uintptr_t)SIG_DFL && (only_default || handler != (uintptr_t)SIG_IGN);
}

int prof__own_signal_claim(int signal, const struct prof__own_signal *own, bool only_default)
{
    struct sigaction now, mine;
    int r = set_action(signal, NULL, &now);

    if (r < 0)
        return r;
    if (is_ours(signal, (uintptr_t)now.sa_handler))
        return is_being_set(signal) ? -EBUSY : 0;
    if (is_wanted((uintptr_t)now.sa_handler, only_default))
        return -EBUSY;
    atomic_store(&owners[signal], own);
    if (own->sent)
        atomic_fetch_or_explicit(&owned, PROF__SIGNAL_BIT(signal), memory_order_relaxed);
    mine = action_of(own);
    atomic_store_explicit(&before[signal], (uintptr_t)now.sa_handler, memory_order_relaxed);
    r = set_action(signal, &mine, &now);
    if (r < 0)
        return r;
    if (!is_ours(signal, (uintptr_t)now.sa_handler) &&
        is_wanted((uintptr_t)now.sa_handler, only_default)) { /* since we looked */
        set_action(signal, &now, NULL);
        return -EBUSY;
    }
    return is_being_set(signal) ? -EBUSY : 0;
}

static bool is_installed(int signal)
{
    struct sigaction now;

    return set_action(signal, NULL, &now) == 0 && is_ours(signal, (uintptr_t)now.sa_handler);
}

bool prof__own_signal_kept(int signal)
{
    return is_installed(signal) && !is_being_set(signal);
}

/*
 * Those that were sent before, and wait for a thread that blocks them, would meet what the program
 * sets now, which may be the end of the process: before Linux 6.13 the signal of a timer outlives
 * the timer. To ignore a signal takes it back from all threads.
 */
static void take_back(int signal, const struct prof__own_signal *own)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN }, mine = action_of(own);
    int saved = errno;

    if (is_installed(signal)) {
        set_action(signal, &ignore, NULL);
        set_action(signal, &mine, NULL); /* which the program replaces at once */
    }
    errno = saved;
}

/* A handler that came in between and left by a jump would leave the signal being set for ever. */
bool prof__signal_before(int signal, uint64_t *ret_mask)
{
    if (!is_counted(
            signal)) /* a child without fork handlers, which may have our locks as they were */
        return false;
    if (ret_mask)
        *ret_mask = prof__signals_block();
    atomic_fetch_add(&setting[signal], 1);
    const struct prof__own_signal *own = owner_of(signal);
    if (own && own->before) {
        own->before();
        take_back(signal, own);
    }
    return true;
}

void prof__signal_after(int signal, const uint64_t *mask)
{
    int n = atomic_load(&setting[signal]);

    /* Never below 0: a forked child may have begun anew in a handler that came in between. */
    while (n > 0 && !atomic_compare_exchange_weak(&setting[signal], &n, n - 1))
        ;
    if (mask)
        prof__signals_restore(*mask);
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

/* What the kernel reads of a mask. The program may call with any address, and is then to be told
 * EFAULT by the kernel, not ended by us. */
static bool read_mask(const sigset_t *mask, uint64_t *ret)
{
    uintptr_t at = (uintptr_t)mask;

    if (!prof__page_readable(at) || !prof__page_readable(at + sizeof(*ret) - 1))
        return false;
    memcpy(ret, mask, sizeof(*ret));
    return true;
}

uint64_t prof__signals_let_in(const sigset_t *mask)
{
    uint64_t ours = atomic_load_explicit(&owned, memory_order_relaxed), blocks, blocked = 0;

    if (!ours || !mask)
        return 0;
    int saved = errno;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, sizeof(blocked));
    if (ours &= blocked)
        ours = read_mask(mask, &blocks) ? ours & ~blocks : 0;
    for (int n = 1; ours && n < _NSIG; n++) /* the program may have taken one for itself */
        if (ours & PROF__SIGNAL_BIT(n) && !is_installed(n))
            ours &= ~PROF__SIGNAL_BIT(n);
    errno = saved;
    return ours;
}
