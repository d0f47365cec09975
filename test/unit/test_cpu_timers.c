/*
 * test_cpu_timers.c - each period of a thread's time is told of once, by whoever comes first, and
 * for no other thread than the one it was of.
 */
#include "record/cpu_timers.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/task.h"
#include "check.h"

enum { PERIOD_NS = 1000000 };

static volatile sig_atomic_t signals;
static siginfo_t last; /* signal */
static int64_t claimed, charged, charged_unseen;
static enum prof__cpu_why charged_why;
static bool claims = true; /* the handler does */

static void on_signal(int number, siginfo_t *info, void *ucontext)
{
    (void)number;
    (void)ucontext;
    signals++;
    last = *info;
    if (claims && prof__cpu_timer_is_ours(info))
        claimed += prof__cpu_timer_claim(info);
}

static void on_charge(enum prof__cpu_why why, pid_t tid, int64_t periods)
{
    if (why == PROF__CPU_UNSEEN) {
        charged_unseen += periods;
        return;
    }
    CHECK_INT(tid, prof__gettid(), "whose time");
    charged_why = why;
    charged += periods;
}

static int64_t own_ns(void)
{
    return prof__clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void burn_ns(int64_t ns)
{
    for (int64_t end = own_ns() + ns; own_ns() < end;)
        for (int i = 0; i < 100; i++)
            __asm__ volatile("" : : "r"(i));
}

static void set_blocked(bool blocked)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPROF);
    sigprocmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

/* A scan as of a thread that blocks SIGPROF, or does not. */
static void scan(bool blocks)
{
    CHECK_INT(prof__cpu_timers_scan(blocks ? ~0ull : 0), 0, "scan");
}

static void begin(bool blocks)
{
    signals = 0;
    claimed = charged = charged_unseen = 0;
    prof__cpu_timers_begin(PERIOD_NS, on_charge);
    scan(blocks);
}

static void burn_until_a_signal(void)
{
    sig_atomic_t seen = signals;

    while (signals == seen)
        burn_ns(PERIOD_NS);
}

static void test_only_our_own_are_ours(void)
{
    siginfo_t info;

    begin(false);
    burn_until_a_signal();
    CHECK(prof__cpu_timer_is_ours(&last), "a signal of a timer of ours");
    info = last;
    info.si_code = SI_QUEUE;
    CHECK(!prof__cpu_timer_is_ours(&info), "the same sent by somebody");
    info = last;
    info.si_value.sival_ptr = (char *)info.si_value.sival_ptr + 1;
    CHECK(!prof__cpu_timer_is_ours(&info), "not an entry's beginning");
    for (int i = 0; i < 1000; i++) {
        info.si_value.sival_ptr = NULL;
        info.si_value.sival_int = i;
        CHECK(!prof__cpu_timer_is_ours(&info), "a number %d of the program's own timer", i);
    }
    prof__cpu_timers_clear();
}

static void test_each_period_is_told_once(void)
{
    enum prof__cpu_why why = PROF__CPU_UNSEEN;

    begin(false);
    int64_t first = own_ns();
    for (int i = 0; i < 20; i++) {
        set_blocked(i % 2);
        burn_ns(3 * PERIOD_NS);
        scan(i % 2); /* which charges for it while it blocks the signal */
        if (i % 3 == 0)
            prof__cpu_timers_look_again();
    }
    set_blocked(false);
    int64_t missing = prof__cpu_timers_end(prof__gettid(), &why);
    int64_t periods = (own_ns() - first) / PERIOD_NS;
    CHECK_BETWEEN(claimed + charged + missing, periods - 1, periods + 1,
                  "periods told by signals, by scans, and at the end");
    CHECK(claimed > 0 && charged > 0, "%ld by signals, %ld by scans", (long)claimed, (long)charged);
    CHECK_INT(charged_why, PROF__CPU_BLOCKED, "why by scans");
    CHECK_INT(charged_unseen, 0, "periods of no thread");
    CHECK_INT(prof__cpu_timers_end(prof__gettid(), &why), 0, "missing at a second end");
    prof__cpu_timers_clear();
}

/* A signal may be handled long after its session, or its thread, is over. */
static void test_a_late_signal_counts_for_nobody(void)
{
    enum prof__cpu_why why;

    begin(false);
    claims = false;
    burn_until_a_signal();
    siginfo_t late = last;
    CHECK(prof__cpu_timer_claim(&late) > 0, "in time it counts");
    burn_ns(2 * PERIOD_NS);
    prof__cpu_timers_clear();
    CHECK_INT(prof__cpu_timer_claim(&late), 0, "after its session");

    set_blocked(true);
    begin(true); /* the same entry is taken again, of the same thread */
    burn_ns(5 * PERIOD_NS);
    CHECK(prof__cpu_timer_is_ours(&late), "it still is one of ours");
    CHECK_INT(prof__cpu_timer_claim(&late), 0, "in the next session");
    CHECK_BETWEEN(prof__cpu_timers_end(prof__gettid(), &why), 5, 7,
                  "and takes nothing away from that");
    claims = true;
    set_blocked(false);
    prof__cpu_timers_clear();
}

static void test_a_new_thread_counts_from_its_first_moment(void)
{
    enum { TIMES = 1000 };
    int64_t sum = 0, used = own_ns();
    enum prof__cpu_why why;

    /* As if the calling thread, again and again, had just begun: with the same time each. */
    prof__cpu_timers_begin((uint64_t)used * 10, on_charge);
    for (int i = 0; i < TIMES; i++) {
        prof__cpu_timers_add(prof__gettid(), 0);
        sum += prof__cpu_timers_end(prof__gettid(), &why);
    }
    double want = (double)(used + own_ns()) / 2 / ((double)used * 10) * TIMES;
    CHECK_BETWEEN(sum, want * 0.9 - 2, want * 1.1 + 2, "a tenth of a period, a thousand times");
    prof__cpu_timers_clear();
}

/* --- the kernel says "try again" -------------------------------------------------------------- */

static int refusals; /* that are still to come */
static int refusals_seen;

int __real_prof__thread_timer_make(pid_t tid, int signal, void *value);
int __wrap_prof__thread_timer_make(pid_t tid, int signal, void *value);

int __wrap_prof__thread_timer_make(pid_t tid, int signal, void *value)
{
    if (refusals == 0)
        return __real_prof__thread_timer_make(tid, signal, value);
    refusals--;
    refusals_seen++;
    return -EAGAIN;
}

/* What RLIMIT_SIGPENDING allows may be used up for a moment only, by signals of timers that are
 * gone; but nobody waits for what does not come. */
static void test_a_timer_that_is_to_be_had_in_a_moment(void)
{
    refusals = 3;
    CHECK_INT(prof__cpu_timers_try(), 0, "refused three times");
    CHECK_INT(refusals, 0, "refusals left");

    refusals = 1 << 30;
    refusals_seen = 0;
    CHECK_INT(prof__cpu_timers_try(), -EAGAIN, "refused for ever");
    CHECK_BETWEEN(refusals_seen, 4, 1000, "tries");
    refusals = 0;
}

int main(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGPROF, &action, NULL);
    CHECK_INT(prof__cpu_timers_try(), 0, "timers are to be had");
    test_only_our_own_are_ours();
    test_each_period_is_told_once();
    test_a_late_signal_counts_for_nobody();
    burn_ns(10 * PERIOD_NS);
    test_a_new_thread_counts_from_its_first_moment();
    test_a_timer_that_is_to_be_had_in_a_moment();
    return check_report();
}
