/*
 * test_capture_guest.c - a thread of ours that is slow to close what it has open, as where a file
 * system does not answer, holds up nobody: who wants it away is told that it is not, who has it
 * come back waits for nothing, and it is there again, once.
 */
#include "capture/guest.h"

#include <errno.h>
#include <poll.h>

#include "base/clock.h"
#include "check.h"

enum { MOMENT_MS = 20, WATCHDOG_MS = 20000 };

static _Atomic int runs, inside;
static _Atomic bool is_closing, may_close;

static _Atomic int gone_calls, gone_early;

static void run(void);
static void gone(void);
static struct prof__guest guest =
    PROF__GUEST_INIT(PROF__RANK_VARS, "prof-guest", 64 * 1024, run, gone);

/* Who asks it for something after that is told that it has left; who asked before is known here.
 * And there is no other yet, which may be asked for something else. */
static void gone(void)
{
    atomic_fetch_add(&gone_early, !prof__guest_has_left(&guest) || prof__guest_is_gone(&guest));
    atomic_fetch_add(&gone_calls, 1);
}

static void run(void)
{
    CHECK_INT(atomic_fetch_add(&inside, 1), 0, "one at a time");
    atomic_fetch_add(&runs, 1);
    while (!prof__guest_is_ending(&guest)) {
        uint32_t turn = prof__guest_turn(&guest);

        if (!prof__guest_is_ending(&guest))
            prof__guest_wait(&guest, turn, INT64_MAX);
    }
    atomic_store(&is_closing, true);
    for (int ms = 0; !atomic_load(&may_close) && ms < WATCHDOG_MS; ms++)
        poll(NULL, 0, 1);
    atomic_store(&is_closing, false);
    atomic_fetch_sub(&inside, 1);
}

static bool comes_true(bool (*what)(void))
{
    for (int ms = 0; !what() && ms < WATCHDOG_MS; ms++)
        poll(NULL, 0, 1);
    return what();
}

static bool closes(void)
{
    return atomic_load(&is_closing);
}

static bool has_begun(void)
{
    return atomic_load(&runs) == 1;
}

static bool runs_again(void)
{
    return atomic_load(&runs) == 2 && !closes();
}

static bool is_gone(void)
{
    return prof__guest_is_gone(&guest);
}

static bool has_said_so(void)
{
    return atomic_load(&gone_calls) == 1;
}

static void test_one_that_closes_slowly(void)
{
    CHECK_INT(prof__guest_start(&guest), 0, "start");
    CHECK(comes_true(has_begun), "one that is told to leave before would have nothing to close");
    CHECK_INT(prof__guest_leave(&guest, MOMENT_MS), -ETIMEDOUT, "it is there, and says so");
    CHECK(comes_true(closes), "it has begun to close");

    int64_t before = prof__monotonic_ns();
    CHECK_INT(prof__guest_come_back(&guest), 0, "come back");
    CHECK(closes(), "nobody has waited for it");
    CHECK(prof__monotonic_ns() - before < WATCHDOG_MS * (int64_t)1000000 / 2, "for long");
    atomic_store(&may_close, true);
    CHECK(comes_true(runs_again), "runs anew when it has closed");
    CHECK_INT(prof__guest_stop(&guest), 0, "stop");
    CHECK(comes_true(is_gone), "gone");
    CHECK(comes_true(has_said_so), "and it says so");
    CHECK_INT(gone_early, 0, "not earlier, nor beside another");
    CHECK_INT(runs, 2, "runs");
}

static void test_one_that_is_quick(void)
{
    runs = 0;
    CHECK_INT(prof__guest_start(&guest), 0, "start");
    CHECK_INT(prof__guest_leave(&guest, WATCHDOG_MS), 0, "leave");
    CHECK(is_gone(), "is gone");
    CHECK_INT(prof__guest_come_back(&guest), 0, "come back");
    CHECK(!is_gone(), "is back");
    CHECK_INT(prof__guest_stop(&guest), 0, "stop");
    CHECK_INT(prof__guest_stop(&guest), -EALREADY, "twice");
    CHECK(comes_true(is_gone), "gone");
}

int main(void)
{
    test_one_that_closes_slowly();
    test_one_that_is_quick();
    return check_report();
}
