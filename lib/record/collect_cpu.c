/*
 * collect_cpu.c - profile: which code the processors run.
 *
 *   a thread's CPU clock -> its timer -> SIGPROF to it -> walk, intern, add to a row
 *
 * The handler does all of it, without a lock (cpu_samples.c). A sample weighs what the thread's
 * clock says that nothing has been told of (cpu_timers.h), since the kernel looks at the timers
 * only when its clock ticks. Time of which no signal will tell is added under a frame that says
 * why, by the scans.
 *
 * Timers exist while at least one reader's window is open; each reader takes the difference of the
 * rows, so any number can. While they exist, a thread of ours looks each second for threads that no
 * hook has announced, and ten times a second whether SIGPROF still is ours. The handler stays for
 * good: a signal may still be under way, and by default would end the process.
 *
 * A program that uses SIGPROF itself is left alone: then there is no CPU profile, and if it begins
 * in the middle, the profile ends there and says so.
 *
 * One lock guards all this. It is taken with signals blocked, for threads that start and end take
 * it too, and must be neither interrupted nor cancelled meanwhile.
 */
#include "record/collect_cpu.h"

#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/settings.h"
#include "base/slot.h"
#include "base/task.h"
#include "base/thread.h"
#include "base/wait.h"
#include "record/cpu_samples.h"
#include "record/cpu_timers.h"
#include "record/own_signal.h"
#include "unwind/stack.h"

enum {
    HZ_DEFAULT = 100,
    HZ_MAX = 250,
    LOOKS_PER_SCAN = 10,
    LOOK_NS = 100 * 1000 * 1000,
    JOIN_YIELDS = 10000,
    JOIN_MS = 2000,
    CONTROLLER_STACK = 128 * 1024,
    FIRST_LOOK_NS = 5 * 1000 * 1000,
    HIDE_NS = 100 * 1000 * 1000 /* in which our own thread is to have hidden itself */
};

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_CPU);

/* Guarded by the lock. */
static unsigned readers;
static bool taken_over;    /* SIGPROF, by the program, since the timers were armed */
static bool no_controller; /* its thread could not be made */
static bool no_proc;       /* /proc/self/task cannot be read */
static pthread_t controller;
static bool controller_runs;  /* and is to be joined */
static _Atomic int in_loader; /* controllers that ask it something, and may be waiting for it */
static _Atomic uint32_t controller_tid; /* 0: it has not hidden itself yet */

static _Atomic pid_t session_pid;  /* written with the lock */
static _Atomic uint64_t period_ns; /* of the last timers; 0: there have been none */
static _Atomic int rate_hz;        /* 0: not set yet */

/* Odd while timers exist. The controller sleeps on it, and leaves when it changes. */
static _Atomic uint32_t session;

_Atomic uint32_t prof__cpu_watching;

/* --- whose signal it is ---------------------------------------------------------------------- */

static void hand_over(void)
{
    taken_over = true;
    prof__cpu_timers_clear();
    atomic_store_explicit(&prof__cpu_watching, 0, memory_order_relaxed);
}

static void before_program(void)
{
    int saved = errno;
    uint64_t mask = prof__lock_masked(&lock);

    /* A child made by vfork() shares our memory, but neither the timers nor the actions. */
    if (readers > 0 && session_pid == getpid())
        hand_over();
    prof__unlock_masked(&lock, mask);
    errno = saved;
}

static int claim_signal(void)
{
    static const struct prof__own_signal own = { prof__cpu_samples_on_signal,
                                                 prof__cpu_timer_is_ours, before_program };
    int r = prof__own_signal_claim(SIGPROF, &own, false);

    if (r == -EBUSY)
        return prof_set_last_error(r, "the program has a handler of its own for SIGPROF, which a "
                                      "CPU profile needs");
    return r < 0 ? prof_set_last_error(r, "SIGPROF cannot be handled: %s", strerror(-r)) : 0;
}

/* --- the controller -------------------------------------------------------------------------- */

static void look_for_owner(void)
{
    if (!taken_over && !prof__own_signal_kept(SIGPROF))
        hand_over();
}

static void scan(uint64_t mask)
{
    no_proc = prof__cpu_timers_scan(mask) < 0;
}

/* Who closes the last window may have the loader's lock, and must not wait for us while we wait for
 * that. Sequentially consistent, as in closing: either we see that the session is over before we
 * ask, or the closer sees that we are asking. */
static void look_for_code(uint32_t mine)
{
    atomic_fetch_add(&in_loader, 1);
    if (atomic_load(&session) == mine)
        prof__stack_code_loaded();
    atomic_fetch_sub(&in_loader, 1);
}

static void *control(void *arg)
{
    uint32_t mine = (uint32_t)(uintptr_t)arg;
    int64_t look_ns = FIRST_LOOK_NS;

    atomic_store_explicit(&controller_tid, (uint32_t)prof__gettid(), memory_order_release);
    prof__word_wake(&controller_tid);
    for (unsigned i = 1; atomic_load_explicit(&session, memory_order_relaxed) == mine; i++) {
        prof__word_wait(&session, mine, prof__monotonic_ns() + look_ns);
        uint64_t mask = prof__lock_masked(&lock);
        if (atomic_load_explicit(&session, memory_order_relaxed) == mine) {
            look_for_owner();
            if (!taken_over)
                prof__cpu_timers_look_again();
            if (!taken_over && i % LOOKS_PER_SCAN == 0)
                scan(mask);
        }
        look_ns = LOOK_NS;
        prof__unlock_masked(&lock, mask);
        if (i % LOOKS_PER_SCAN == 0)
            look_for_code(mine);
    }
    return NULL;
}

/*
 * As a rule it is hidden when this returns, so that nobody sees it who asks for all threads; but it
 * is not waited for without end, nor with a lock held, since whoever else stands in the way of new
 * threads (an interposer, say) may be waiting for the caller.
 */
static bool start_controller(uint32_t mine, pthread_t *ret_thread)
{
    struct prof_helper helper = PROF_HELPER_INIT;

    helper.name = "prof-cpu";
    helper.stack_bytes = CONTROLLER_STACK;
    helper.run = control;
    helper.arg = (void *)(uintptr_t)mine;
    int r = prof_helper_start(&helper, ret_thread);
    if (r == 0)
        prof__word_wait(&controller_tid, 0, prof__monotonic_ns() + HIDE_NS);
    return r == 0;
}

/* For a session under way. The lock is not held. */
static void have_controller(uint32_t mine)
{
    pthread_t thread;
    bool made = start_controller(mine, &thread);
    uint64_t mask = prof__lock_masked(&lock);
    bool over = atomic_load_explicit(&session, memory_order_relaxed) != mine;

    if (!over) {
        no_controller = !made;
        controller_runs = made;
        controller = thread;
    }
    prof__unlock_masked(&lock, mask);
    if (made && over)
        pthread_detach(thread); /* it sees that, too */
}

/* The thread that is to be joined, if any, which has been told to leave. The lock is held. */
static bool take_controller(pthread_t *ret_thread)
{
    bool runs = controller_runs;

    *ret_thread = controller;
    controller_runs = false;
    prof__word_wake(&session);
    return runs;
}

/* It may be asking the loader, whose lock the caller has. Then it ends when it is answered. */
static bool join_within(pthread_t thread, int timeout_ms)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += timeout_ms / 1000;
    if (pthread_timedjoin_np(thread, NULL, &end) == 0)
        return true;
    pthread_detach(thread);
    return false;
}

/* When this returns, nothing of ours runs any more. libc says that a thread has ended while the
 * kernel still lists it, for a moment. */
static void join_controller(pthread_t thread, pid_t tid)
{
    struct prof__thread *t = &prof__self;
    bool entered = prof__enter(t);
    int cancel;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    bool joined = join_within(thread, JOIN_MS);
    pthread_setcancelstate(cancel, &cancel);
    for (int i = 0; joined && i < JOIN_YIELDS && syscall(SYS_tgkill, getpid(), tid, 0) == 0; i++)
        sched_yield();
    if (entered)
        prof__leave(t);
}

/* For withdraw.h. The session goes on, under another number. */
static int leave(int timeout_ms)
{
    pthread_t thread;
    uint64_t mask = prof__lock_masked(&lock);
    bool join = controller_runs;

    if (join)
        atomic_fetch_add(&session, 2);
    take_controller(&thread);
    prof__unlock_masked(&lock, mask);
    if (!join || join_within(thread, timeout_ms))
        return 0;
    have_controller(atomic_load(&session));
    return -ETIMEDOUT;
}

static int come_back(void)
{
    uint64_t mask = prof__lock_masked(&lock);
    uint32_t mine = atomic_load_explicit(&session, memory_order_relaxed);
    bool wanted = readers > 0 && !controller_runs && !no_controller;

    if (wanted)
        atomic_store_explicit(&controller_tid, 0, memory_order_relaxed);
    prof__unlock_masked(&lock, mask);
    if (wanted)
        have_controller(mine);
    return 0; /* a profile without says so */
}

/* --- windows --------------------------------------------------------------------------------- */

static int start_session(uint64_t mask)
{
    uint64_t period = 1000000000 / (uint64_t)prof__cpu_rate();
    int r = prof__cpu_timers_try();

    if (r < 0)
        return prof_set_last_error(r, "the kernel refuses CPU timers: %s%s", strerror(-r),
                                   r == -EAGAIN ? " (RLIMIT_SIGPENDING is used up)"
                                                : "; a seccomp filter may forbid them");
    taken_over = no_controller = false;
    session_pid = getpid();
    atomic_store_explicit(&period_ns, period, memory_order_relaxed);
    prof__cpu_samples_begin();
    prof__cpu_timers_begin(period, prof__cpu_samples_charge);
    /* Before the scan: a thread that starts meanwhile is seen by one of the two. Sequentially
     * consistent, as its hook first starts it and then looks here. */
    atomic_store(&prof__cpu_watching, 1);
    scan(mask);
    atomic_store_explicit(&controller_tid, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&session, 1, memory_order_relaxed);
    return 0;
}

int prof__cpu_open(void)
{
    uint64_t mask = prof__lock_masked(&lock);
    bool first = readers == 0;
    int r = claim_signal();

    if (r == 0 && first)
        r = start_session(mask);
    else if (r == 0 && taken_over)
        r = prof_set_last_error(-EBUSY, "the program has used SIGPROF while it was being profiled; "
                                        "try again when the profiles under way have ended");
    if (r == 0)
        readers++;
    uint32_t mine = atomic_load_explicit(&session, memory_order_relaxed);
    prof__unlock(&lock);
    if (r == 0 && first)
        have_controller(mine);
    prof__signals_restore(mask);
    return r;
}

void prof__cpu_close(void)
{
    uint64_t mask = prof__lock_masked(&lock);
    bool last = readers > 0 && --readers == 0;
    bool join = false;
    pthread_t thread;
    pid_t tid = (pid_t)atomic_load_explicit(&controller_tid, memory_order_relaxed);

    if (last) {
        atomic_store_explicit(&prof__cpu_watching, 0, memory_order_relaxed);
        prof__cpu_timers_clear();
        atomic_fetch_add(&session, 1);
        join = take_controller(&thread);
    }
    prof__unlock_masked(&lock, mask);
    if (join && atomic_load(&in_loader) > 0)
        pthread_detach(thread); /* it ends as soon as it is answered */
    else if (join)
        join_controller(thread, tid);
}

uint64_t prof__cpu_period_ns(void)
{
    uint64_t period = atomic_load_explicit(&period_ns, memory_order_relaxed);

    return period ? period : 1000000000 / (uint64_t)prof__cpu_rate();
}

void prof__cpu_settle(void)
{
    uint64_t mask = prof__lock_masked(&lock);

    if (readers > 0 && !taken_over) {
        look_for_owner();
        if (!taken_over)
            scan(mask);
    }
    prof__unlock_masked(&lock, mask);
}

void prof__cpu_state(struct prof__cpu_state *ret)
{
    struct prof__cpu_timer_counts counts = { 0 };
    uint64_t mask = prof__lock_masked(&lock);

    if (readers > 0)
        prof__cpu_timers_count(&counts);
    *ret = (struct prof__cpu_state) {
        .taken_over = readers > 0 && taken_over,
        .no_controller = readers > 0 && no_controller,
        .no_proc = readers > 0 && no_proc,
        .blocked = counts.blocked,
        .refused = counts.refused,
        .error = counts.error,
    };
    prof__unlock_masked(&lock, mask);
}

static void fork_child(void)
{
    prof__lock_reset(&lock);
    prof__cpu_samples_forked(readers > 0);
    readers = 0;
    taken_over = no_controller = controller_runs = false;
    atomic_store_explicit(&prof__cpu_watching, 0, memory_order_relaxed);
    if (atomic_load_explicit(&session, memory_order_relaxed) % 2)
        atomic_fetch_add_explicit(&session, 1, memory_order_relaxed);
    prof__cpu_timers_forget();
}

PROF__AT_FORK(PROF__RANK_CPU, NULL, NULL, fork_child)

/* --- threads that start and end -------------------------------------------------------------- */

/* A child without fork handlers has the timers of none, and maybe the lock of a thread that is not
 * there. */
static bool is_watching(void)
{
    return atomic_load_explicit(&prof__cpu_watching, memory_order_relaxed) &&
           atomic_load_explicit(&session_pid, memory_order_relaxed) == getpid();
}

static void thread_ended(const struct prof__slot *s)
{
    uintptr_t function = atomic_load_explicit(&s->function, memory_order_relaxed);
    pid_t tid = (pid_t)atomic_load_explicit(&s->tid, memory_order_relaxed);
    enum prof__cpu_why why = PROF__CPU_ENDED;

    if (!is_watching())
        return;
    uint64_t mask = prof__lock_masked(&lock);
    int64_t missing = prof__cpu_timers_end(tid, &why);
    if (missing > 0 && prof__self.busy != PROF__HIDDEN)
        prof__cpu_samples_add(why, function, atomic_load_explicit(&s->labels, memory_order_relaxed),
                              missing);
    prof__unlock_masked(&lock, mask);
}

void prof__cpu_thread_started(void)
{
    if (!is_watching() || !prof__slot_mine())
        return; /* without a slot its end would not be told */
    uint64_t mask = prof__lock_masked(&lock);
    if (atomic_load_explicit(&prof__cpu_watching, memory_order_relaxed))
        prof__cpu_timers_add(prof__gettid(), mask);
    prof__unlock_masked(&lock, mask);
}

__attribute__((constructor(101))) static void set_up(void)
{
    prof_helper_can_leave(leave, come_back);
    prof__slot_at_exit(PROF__SLOT_EXIT_CPU, thread_ended);
}

/* --- the rate -------------------------------------------------------------------------------- */

int prof__cpu_rate(void)
{
    int hz = atomic_load_explicit(&rate_hz, memory_order_relaxed);

    if (hz == 0) {
        struct prof__settings settings;

        prof__settings_read(&settings, false);
        int first = settings.cpu_rate >= 1 ? (int)settings.cpu_rate : HZ_DEFAULT;
        if (atomic_compare_exchange_strong_explicit(&rate_hz, &hz, first, memory_order_relaxed,
                                                    memory_order_relaxed))
            hz = first;
    }
    return hz;
}

int prof_set_cpu_rate(int hz)
{
    int before = prof__cpu_rate();

    if (hz < 0)
        return before;
    if (hz < 1 || hz > HZ_MAX)
        return prof_set_last_error(-EINVAL, "a CPU rate of %d Hz is not between 1 and %d", hz,
                                   HZ_MAX);
    return atomic_exchange_explicit(&rate_hz, hz, memory_order_relaxed);
}
