/*
 * lock.c - the three-state futex lock of Drepper's "Futexes Are Tricky", and the check of ranks.
 */
#include "base/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/wait.h"

enum { REFUSED_NS = 50 * 1000 };

#ifdef PROF__DEBUG_LOCKS
static _Thread_local uint32_t held __attribute__((tls_model("initial-exec"))); /* bit per rank */

static void note_taken(const struct prof__lock *l)
{
    if (held >> l->rank)
        abort();
    held |= 1u << l->rank;
}

static void note_given(const struct prof__lock *l)
{
    if (!(held & 1u << l->rank))
        abort();
    held &= ~(1u << l->rank);
}
#else
static void note_taken(const struct prof__lock *l)
{
    (void)l;
}

static void note_given(const struct prof__lock *l)
{
    (void)l;
}
#endif

bool prof__trylock(struct prof__lock *l)
{
    uint32_t seen = 0;

    /* Acquire: we see what the last holder wrote; pairs with the release in prof__unlock(). */
    if (!atomic_compare_exchange_strong_explicit(&l->state, &seen, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    note_taken(l);
    return true;
}

static bool is_before(const struct timespec *until)
{
    return !until || prof__monotonic_ns() < (int64_t)until->tv_sec * 1000000000 + until->tv_nsec;
}

/* `until`: of CLOCK_MONOTONIC; NULL: for ever. Who was woken tries again however late it is, or
 * nobody else would be; who was not, as where a filter refuses the call, only until then. */
static bool lock_slowly(struct prof__lock *l, const struct timespec *until)
{
    int saved = errno;
    bool in_time = true;

    /* From here on we may not be the only waiter, so the state we leave behind is 2. */
    while (in_time && atomic_exchange_explicit(&l->state, 2, memory_order_acquire) != 0) {
        if (syscall(SYS_futex, &l->state, FUTEX_WAIT_BITSET_PRIVATE, 2, until, NULL,
                    FUTEX_BITSET_MATCH_ANY) == 0)
            continue;
        in_time = errno != ETIMEDOUT && is_before(until);
        if (in_time && errno != EAGAIN && errno != EINTR) /* a filter has refused it */
            prof__sleep_ns(REFUSED_NS);
    }
    errno = saved;
    if (in_time)
        note_taken(l);
    return in_time;
}

void prof__lock(struct prof__lock *l)
{
    if (!prof__trylock(l))
        lock_slowly(l, NULL);
}

bool prof__lock_until(struct prof__lock *l, int64_t until_ns)
{
    struct timespec until = { until_ns / 1000000000, until_ns % 1000000000 };

    return prof__trylock(l) || lock_slowly(l, &until);
}

void prof__unlock(struct prof__lock *l)
{
    note_given(l);
    if (atomic_exchange_explicit(&l->state, 0, memory_order_release) == 2) {
        int saved = errno;

        syscall(SYS_futex, &l->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        errno = saved;
    }
}

uint64_t prof__lock_masked(struct prof__lock *l)
{
    uint64_t mask = prof__signals_block();

    prof__lock(l);
    return mask;
}

void prof__unlock_masked(struct prof__lock *l, uint64_t mask)
{
    prof__unlock(l);
    prof__signals_restore(mask);
}

void prof__lock_reset(struct prof__lock *l)
{
    atomic_store_explicit(&l->state, 0, memory_order_relaxed);
#ifdef PROF__DEBUG_LOCKS
    held &= ~(1u << l->rank);
#endif
}
