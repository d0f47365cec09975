/*
 * test_own_signal.c - a signal is claimed only where the program has no handler for it, also where
 * that changes at the very moment; and the program that sets an action is rid of what was sent.
 */
#include "record/own_signal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

enum { SIGNAL = SIGUSR2 };

int __real_sigaction(int signal, const struct sigaction *action, struct sigaction *old);
int __wrap_sigaction(int signal, const struct sigaction *action, struct sigaction *old);

static int comes_after_look; /* the program sets its handler when libprof has looked */
static atomic_int ended;

static void programs(int signal)
{
    (void)signal;
}

static void ours(int signal, siginfo_t *info, void *ucontext)
{
    (void)signal, (void)info, (void)ucontext;
}

static bool sent(const siginfo_t *info)
{
    (void)info;
    return false;
}

static void end(void)
{
    atomic_fetch_add(&ended, 1);
}

static void set(void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler };

    __real_sigaction(SIGNAL, &action, NULL);
}

static uintptr_t now(void)
{
    struct sigaction action;

    __real_sigaction(SIGNAL, NULL, &action);
    return (uintptr_t)action.sa_handler;
}

int __wrap_sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
    int r = __real_sigaction(signal, action, old);

    if (comes_after_look && signal == SIGNAL && !action) {
        comes_after_look = 0;
        set(programs);
    }
    return r;
}

static const struct prof__own_signal own = { ours, sent, end };

static void test_a_handler_that_comes_after_the_look(void)
{
    comes_after_look = 1;
    CHECK_INT(prof__own_signal_claim(SIGNAL, &own, false), -EBUSY, "it is the program's");
    CHECK(now() == (uintptr_t)programs, "and stays so");
    CHECK_INT(prof__own_signal_claim(SIGNAL, &own, false), -EBUSY, "the next time, too");
}

static void test_a_handler_that_is_being_set(void)
{
    uint64_t mask = 0;

    set(SIG_DFL);
    CHECK(prof__signal_before(SIGNAL, &mask), "the program is about to set one");
    CHECK_INT(prof__own_signal_claim(SIGNAL, &own, false), -EBUSY, "before there was a claim");
    prof__signal_after(SIGNAL, &mask);
    CHECK_INT(prof__own_signal_claim(SIGNAL, &own, false), 0, "when it has, it is to be had");
    CHECK(prof__own_signal_kept(SIGNAL), "it is ours");

    int before = atomic_load(&ended);
    prof__signal_before(SIGNAL, &mask);
    CHECK_INT(atomic_load(&ended), before + 1, "what was sent has ended");
    CHECK(!prof__own_signal_kept(SIGNAL), "it may be gone any moment");
    CHECK_INT(prof__own_signal_claim(SIGNAL, &own, false), -EBUSY, "and nothing begins");
    prof__signal_after(SIGNAL, &mask);
    CHECK_INT(prof__own_signal_claim(SIGNAL, &own, false), 0, "until then");
    CHECK(!prof__signal_before(0, &mask) && !prof__signal_before(-1, &mask) &&
              !prof__signal_before(10000, &mask),
          "numbers that are no signals");
    CHECK(prof__signal_before(SIGNAL, NULL), "without blocking");
    prof__signal_after(SIGNAL, NULL);
}

/* One that a thread holds back would meet what the program sets now. The timers that have sent it
 * are deleted by then, which before Linux 6.13 does not take it away. */
static void test_what_was_sent_is_taken_back(void)
{
    sigset_t one, pending;
    uint64_t mask;

    set(SIG_DFL);
    CHECK_INT(prof__own_signal_claim(SIGNAL, &own, false), 0, "it is ours");
    sigemptyset(&one);
    sigaddset(&one, SIGNAL);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    raise(SIGNAL);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGNAL) == 1, "it is held back");
    CHECK(prof__signal_before(SIGNAL, &mask), "the program is about to set an action");
    set(SIG_DFL);
    prof__signal_after(SIGNAL, &mask);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGNAL) == 0, "it is gone");
    if (sigismember(&pending, SIGNAL) == 0)
        pthread_sigmask(SIG_UNBLOCK, &one, NULL); /* and we live */
}

int main(void)
{
    test_a_handler_that_comes_after_the_look();
    test_a_handler_that_is_being_set();
    test_what_was_sent_is_taken_back();
    return check_report();
}
