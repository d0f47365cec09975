/*
 * test_collect_cpu.c - ending a CPU profile does not wait for the dynamic loader.
 *
 * The thread that looks after a profile asks the loader for new code, and libc asks it for a new
 * thread's data; and who ends the profile may be the one that has the loader's lock: in a
 * constructor of a plugin, say. Here the loader is one that does not answer until the end.
 */
#include <prof/prof.h>

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/withdraw.h"
#include "check.h"
#include "proc.h"
#include "text_profile.h"

enum { WATCHDOG_MS = 20000 };

static _Atomic bool at_begin; /* libc asks, when a thread begins; else we do, later */
static _Atomic int asking;
static _Atomic bool is_answered;

void __real_prof__helper_begins(void);
void __wrap_prof__helper_begins(void);
void __wrap_prof__stack_code_loaded(void);

static void ask(void)
{
    atomic_fetch_add(&asking, 1);
    while (!atomic_load(&is_answered))
        poll(NULL, 0, 1);
    atomic_fetch_sub(&asking, 1);
}

void __wrap_prof__helper_begins(void)
{
    if (atomic_load(&at_begin))
        ask();
    __real_prof__helper_begins();
}

void __wrap_prof__stack_code_loaded(void)
{
    if (prof__helper_is_me())
        ask();
}

static int count_controllers(void)
{
    pid_t tid;

    return proc_threads_named("prof-cpu", &tid);
}

/* alarm() is the watchdog: who waits for ever never gets to a check. */
static void test_who_ends_a_profile_waits_for_nobody(bool begins)
{
    atomic_store(&at_begin, begins);
    atomic_store(&is_answered, false);
    for (int turn = 1; turn <= 2; turn++) {
        CHECK_INT(prof_cpu_start(text_profile_drop, NULL), 0, prof_last_error());
        for (int ms = 0; atomic_load(&asking) < turn && ms < WATCHDOG_MS; ms++)
            poll(NULL, 0, 1);
        CHECK_INT(asking, turn, "threads that ask the loader");
        alarm(WATCHDOG_MS / 1000);
        prof_cpu_stop();
        alarm(0);
        CHECK_INT(asking, turn, "which has not answered");
    }
    atomic_store(&is_answered, true);
    /* A list of threads may lack one when another ends meanwhile: two lists in a row. */
    int left = 1;
    for (int ms = 0; left > 0 && ms < WATCHDOG_MS; ms++) {
        poll(NULL, 0, 1);
        left = count_controllers() + count_controllers();
    }
    CHECK_INT(left, 0, "they end when they are answered");
}

int main(void)
{
    test_who_ends_a_profile_waits_for_nobody(false);
    test_who_ends_a_profile_waits_for_nobody(true);
    return check_report();
}
