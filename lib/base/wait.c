#include "base/wait.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { SECOND_NS = 1000000000, PAUSE_NS = 50 * 1000 * 1000 };

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec) { ns / SECOND_NS, ns % SECOND_NS };
}

/* After a system call that waits has failed: was it refused, as by a filter? */
static bool is_refused(void)
{
    return errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT;
}

int prof__sleep_ns(int64_t ns)
{
    struct timespec ts = timespec_of(ns);
    uint32_t word = 0;

    if (syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, NULL) == 0)
        return 0;
    if (is_refused())
        syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0);
    if (is_refused())
        return (int)syscall(SYS_ppoll, NULL, 0, &ts, NULL, 0);
    return errno == ETIMEDOUT ? 0 : -1;
}

void prof__word_wait(_Atomic uint32_t *word, uint32_t was, int64_t until_ns)
{
    struct timespec until = timespec_of(PROF_MAX(until_ns, 0));

    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, was, &until, NULL,
                FUTEX_BITSET_MATCH_ANY) < 0 &&
        is_refused()) {
        int64_t left = until_ns - prof__monotonic_ns();

        if (left > 0)
            prof__sleep_ns(PROF_MIN(left, (int64_t)PAUSE_NS));
    }
}

void prof__word_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}
