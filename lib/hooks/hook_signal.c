/*
 * hook_signal.c - sigaction(), signal() by all its names, sigwait() and their kin, so that the
 * signals that libprof sends stay its own affair.
 *
 * When the program takes such a signal for itself, ours must have stopped before, or it would get
 * them: at worst, having chosen the default action, it would be ended by one. When it asks what the
 * action was, it is told what it would be without us. And a thread that waits for signals, maybe
 * for all there are, must not be handed one of ours; we avoid sending it any, but whether a thread
 * waits cannot be known for sure from outside. Everything else is forwarded as it is.
 * Context: signal, as far as the real functions are.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/thread.h"
#include "hooks/real.h"
#include "record/own_signal.h"

/* What the action is without us. */
static void see(int signal, struct sigaction *action)
{
    uintptr_t seen = prof__signal_seen(signal, (uintptr_t)action->sa_handler);

    if (seen != (uintptr_t)action->sa_handler) {
        memset(action, 0, sizeof(*action));
        action->sa_handler = (void (*)(int))seen;
    }
}

PROF_SHARED int sigaction(int signal, const struct sigaction *restrict action,
                          struct sigaction *restrict old)
{
    bool program = !prof__thread_in_own_call(&prof__self);
    struct sigaction asked, ours, was;
    uint64_t mask;

    if (!action || !program) {
        int r = prof__real.sigaction(signal, action, old);

        if (r == 0 && old && program)
            see(signal, old);
        return r;
    }
    /* The program's memory is touched while nothing is held off: a handler of its own may have to
     * come, which makes it readable or writable. */
    asked = *action;
    bool after = prof__signal_before(signal, &mask);
    if (asked.sa_handler == SIG_DFL && prof__signal_stands_in(signal, &ours))
        asked = ours;
    int r = prof__real.sigaction(signal, &asked, old ? &was : NULL);
    if (after)
        prof__signal_after(signal, &mask);
    if (r == 0 && old) {
        see(signal, &was);
        *old = was;
    }
    return r;
}

/* --- signal(), and what other standards and times have called it ------------------------------ */

typedef void handler_fn(int signal);

static handler_fn *set_handler(int number, handler_fn *handler,
                               handler_fn *(*real)(int number, handler_fn *handler))
{
    bool program = !prof__thread_in_own_call(&prof__self);
    /* sigset() tells of the mask and changes it. */
    uint64_t blocked, *mask = real == prof__real.sigset ? NULL : &blocked;
    bool after = program && prof__signal_before(number, mask);
    struct sigaction ours, before;
    handler_fn *old;

    if (program && handler == SIG_DFL && mask && prof__signal_stands_in(number, &ours))
        old = prof__real.sigaction(number, &ours, &before) == 0 ? before.sa_handler : SIG_ERR;
    else
        old = real(number, handler);
    if (after)
        prof__signal_after(number, mask);
    return program && old != SIG_ERR ? (handler_fn *)prof__signal_seen(number, (uintptr_t)old)
                                     : old;
}

PROF_SHARED handler_fn *signal(int number, handler_fn *handler)
{
    return set_handler(number, handler, prof__real.signal);
}

PROF_SHARED handler_fn *bsd_signal(int number, handler_fn *handler)
{
    return set_handler(number, handler, prof__real.signal);
}

PROF_SHARED handler_fn *ssignal(int number, handler_fn *handler)
{
    return set_handler(number, handler, prof__real.signal);
}

/* What signal() is in a program that is compiled for nothing but a standard. */
PROF_SHARED handler_fn *__sysv_signal(int number, handler_fn *handler)
{
    return set_handler(number, handler, prof__real.__sysv_signal);
}

PROF_SHARED handler_fn *sysv_signal(int number, handler_fn *handler)
{
    return set_handler(number, handler, prof__real.__sysv_signal);
}

PROF_SHARED handler_fn *sigset(int number, handler_fn *handler)
{
    return set_handler(number, handler, prof__real.sigset);
}

PROF_SHARED int sigignore(int number)
{
    uint64_t mask;
    bool after = !prof__thread_in_own_call(&prof__self) && prof__signal_before(number, &mask);
    int r = prof__real.sigignore(number);

    if (after)
        prof__signal_after(number, &mask);
    return r;
}

/* --- waiting for signals ---------------------------------------------------------------------- */

/* What is left of a timeout that began at `start`. */
static struct timespec time_left(const struct timespec *timeout, const struct timespec *start)
{
    struct timespec now, left;

    clock_gettime(CLOCK_MONOTONIC, &now);
    left.tv_sec = timeout->tv_sec - (now.tv_sec - start->tv_sec);
    left.tv_nsec = timeout->tv_nsec - (now.tv_nsec - start->tv_nsec);
    if (left.tv_nsec < 0) {
        left.tv_sec--;
        left.tv_nsec += 1000000000;
    } else if (left.tv_nsec >= 1000000000) {
        left.tv_sec++;
        left.tv_nsec -= 1000000000;
    }
    return left.tv_sec < 0 ? (struct timespec) { 0, 0 } : left;
}

PROF_SHARED int sigtimedwait(const sigset_t *restrict set, siginfo_t *restrict info,
                             const struct timespec *restrict timeout)
{
    struct timespec start, left;
    siginfo_t own;

    if (!info)
        info = &own;
    if (timeout)
        clock_gettime(CLOCK_MONOTONIC, &start);
    int r = prof__real.sigtimedwait(set, info, timeout);
    while (r > 0 && prof__signal_is_ours(r, info)) {
        if (timeout)
            left = time_left(timeout, &start);
        r = prof__real.sigtimedwait(set, info, timeout ? &left : NULL);
    }
    return r;
}

PROF_SHARED int sigwaitinfo(const sigset_t *restrict set, siginfo_t *restrict info)
{
    siginfo_t own;
    int r;

    if (!info)
        info = &own;
    do
        r = prof__real.sigwaitinfo(set, info);
    while (r > 0 && prof__signal_is_ours(r, info));
    return r;
}

/* Tells its errors by what it returns, and does not know EINTR. */
PROF_SHARED int sigwait(const sigset_t *restrict set, int *restrict ret_number)
{
    int saved = errno, r;
    siginfo_t info;

    do
        r = prof__real.sigwaitinfo(set, &info);
    while ((r < 0 && errno == EINTR) || (r > 0 && prof__signal_is_ours(r, &info)));
    if (r > 0)
        *ret_number = r;
    r = r > 0 ? 0 : errno;
    errno = saved;
    return r;
}
