/*
 * test_helpers.c - threads of ours: who is one, that one which is slow to leave is not there twice
 * when all come back, that one party too many is refused, and how long all have to leave.
 */
#include <prof/prof.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/withdraw.h"
#include "check.h"
#include "proc.h"

enum { SLOW_MS = 1500 }; /* longer than withdrawing waits for a thread to be forgotten */

static _Atomic bool is_slow, is_over;

/* How those sleep that look whether they are to leave. */
int __real_nanosleep(const struct timespec *wait, struct timespec *left);
int __wrap_nanosleep(const struct timespec *wait, struct timespec *left);

int __wrap_nanosleep(const struct timespec *wait, struct timespec *left)
{
    const struct timespec slow = { SLOW_MS / 1000, SLOW_MS % 1000 * 1000000 };

    return __real_nanosleep(atomic_load(&is_slow) ? &slow : wait, left);
}

/* --- who is one ------------------------------------------------------------------------------- */

static void *nothing(void *arg)
{
    return arg;
}

static void *start_in_vain(void *unused)
{
    struct prof_helper h = PROF_HELPER_INIT;
    pthread_t t;

    CHECK(prof__helper_is_me(), "a helper is one");
    h.run = nothing;
    h.stack_bytes = (size_t)1 << 60;
    CHECK(prof_helper_start(&h, &t) < 0, "no such stack is to be had");
    CHECK(prof__helper_is_me(), "and the one that asked for it is still one");
    return unused;
}

static void test_who_starts_in_vain_is_still_one(void)
{
    struct prof_helper h = PROF_HELPER_INIT;
    pthread_t t;

    h.run = start_in_vain;
    CHECK(!prof__helper_is_me(), "the program's thread is none");
    CHECK_INT(prof_helper_start(&h, &t), 0, prof_last_error());
    pthread_join(t, NULL);
    CHECK(!prof__helpers_present(), "none is left");
}

/* --- who watches for the last thread ---------------------------------------------------------- */

static void *stay(void *arg)
{
    while (!atomic_load(&is_over))
        usleep(1000);
    return arg;
}

static int count_watches(void)
{
    pid_t tid;

    return proc_threads_named("prof-last", &tid);
}

static void wait_for_a_watch(void)
{
    int64_t end = prof__monotonic_ns() + 20 * (int64_t)1000000000;

    while (count_watches() == 0 && prof__monotonic_ns() < end)
        usleep(1000);
}

/* Of a process whose main thread has left. */
static void *withdraw_beside_a_slow_watch(void *main_thread)
{
    struct prof_helper h = PROF_HELPER_INIT;

    pthread_join(*(pthread_t *)main_thread, NULL);
    atomic_store(&is_slow, true);
    h.run = stay;
    h.detached = true;
    CHECK_INT(prof_helper_start(&h, NULL), 0, prof_last_error());
    wait_for_a_watch();
    usleep(100000); /* so that it sleeps; if it does not yet, it leaves in time, which is as well */
    prof__helpers_withdraw();
    prof__helpers_return();
    usleep(2 * SLOW_MS * 1000);
    CHECK_INT(count_watches(), 1, "who watch");
    atomic_store(&is_over, true);
    fflush(stdout);
    _exit(check_failed);
}

static void test_a_slow_watch_is_there_once(void)
{
    static pthread_t main_thread;
    int status = -1;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;

        main_thread = pthread_self();
        pthread_create(&t, NULL, withdraw_beside_a_slow_watch, &main_thread);
        pthread_exit(NULL);
    }
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0, "a process without its main thread");
}

/* --- who can leave ---------------------------------------------------------------------------- */

enum { PARTIES_ENOUGH = 8, PARTIES_MANY = 10000 };

enum { BUSY_MS = 300 };

static int left, came_back, longest_ms, last_ms;
static bool is_busy;

static int leave(int timeout_ms)
{
    longest_ms = timeout_ms > longest_ms ? timeout_ms : longest_ms;
    last_ms = timeout_ms;
    if (is_busy && left < 2)
        usleep(BUSY_MS * 1000);
    pthread_testcancel(); /* as in pthread_join() */
    left++;
    return timeout_ms > 0 ? 0 : -EINVAL;
}

static int come_back(void)
{
    came_back++;
    return 0;
}

/* Those beyond what there is room for, of whoever it may be, are told: their threads would be in
 * the way unseen. Those before go and come. */
static void test_one_party_too_many(void)
{
    int n = 0, r = 0;

    CHECK_INT(prof_helper_can_leave(NULL, come_back), -EINVAL, "no function");
    while (n < PARTIES_MANY && (r = prof_helper_can_leave(leave, come_back)) == 0)
        n++;
    CHECK_INT(r, -ENOSPC, "one too many");
    CHECK(n >= PARTIES_ENOUGH, "there is room for %d", n);
    CHECK(strstr(prof_last_error(), "prof_helper_can_leave"), "a sentence: %s", prof_last_error());
    CHECK(prof__helpers_withdraw(), "all have left");
    CHECK_INT(left, n, "who left");
    prof__helpers_return();
    CHECK_INT(came_back, n, "who came back");
}

/* However many are slow, the program waits as long as for one. */
static void test_all_together_have_one_time(void)
{
    left = longest_ms = last_ms = 0;
    is_busy = true;
    prof__helpers_withdraw();
    is_busy = false;
    prof__helpers_return();
    CHECK(left > 2, "%d left", left);
    CHECK(last_ms <= longest_ms - 2 * BUSY_MS, "the first is given %d ms, the last %d", longest_ms,
          last_ms);
}

static void *withdraw_when_cancelled(void *arg)
{
    bool *came_through = arg;

    pthread_cancel(pthread_self());
    prof__helpers_withdraw();
    prof__helpers_return();
    *came_through = true;
    pthread_testcancel();
    return NULL;
}

/* setuid() and others are no points of cancellation, and a thread that ended in one would keep the
 * lock: every later such call of the program would wait for ever. */
static void test_nobody_is_cancelled_in_it(void)
{
    bool came_through = false;
    void *result = NULL;
    pthread_t t;

    pthread_create(&t, NULL, withdraw_when_cancelled, &came_through);
    pthread_join(t, &result);
    CHECK(came_through, "the call has come to its end");
    CHECK(result == PTHREAD_CANCELED, "and the thread ends where it may");
}

int main(void)
{
    test_who_starts_in_vain_is_still_one();
#ifndef __SANITIZE_THREAD__ /* its own thread would keep the process */
    test_a_slow_watch_is_there_once();
#else
    (void)test_a_slow_watch_is_there_once;
#endif
    test_one_party_too_many();
    test_all_together_have_one_time();
    test_nobody_is_cancelled_in_it();
    return check_report();
}
