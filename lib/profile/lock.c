/*
 * lock.c - what the block and mutex profiles show of the rows that collect_lock.c fills.
 *
 * Both are off until asked for, as in Go, and each says so itself.
 */
#include "profile/builtin.h"
#include "record/collect_lock.h"
#include "record/wait_sampler.h"

static void lock_finish(const struct prof__values *raw, int64_t ret_value[PROF__VALUES_MAX])
{
    ret_value[0] = prof__values_total(raw, 0, PROF__EVENT_SHIFT);
    ret_value[1] = prof__values_total(raw, 1, 0);
}

static void append_unwatched(char *buf, size_t size, int *length, const char *feed)
{
    if (!prof__lock_watched())
        prof__append(buf, size, length,
                     "pthread is not watched: link libprof-hooks, or run under profrun; only what "
                     "is fed by %s() shows\n",
                     feed);
}

static int block_status(char *buf, size_t size)
{
    int length = 0;

    if (!prof__block_rate())
        prof__append(buf, size, &length,
                     "block profiling is off: set LIBPROF_BLOCK_RATE=10us or call "
                     "prof_set_block_rate(10000)\n");
    append_unwatched(buf, size, &length, "prof_block_record");
    prof__append_losses(buf, size, &length);
    return length;
}

static int mutex_status(char *buf, size_t size)
{
    int length = 0;

    if (!prof__mutex_fraction())
        prof__append(buf, size, &length,
                     "mutex profiling is off: set LIBPROF_MUTEX_FRACTION=100 or call "
                     "prof_set_mutex_fraction(100)\n");
    append_unwatched(buf, size, &length, "prof_mutex_record");
    if (prof__ledger_lost())
        prof__append(buf, size, &length,
                     "%llu waits could not be charged: too many locks were contended at a time\n",
                     (unsigned long long)prof__ledger_lost());
    prof__append_losses(buf, size, &length);
    return length;
}

/* clang-format off */
#define CONTENTION                                                                                 \
    .text = PROF__TEXT_CONTENTION, .n_values = 2,                                                  \
    .value_type = { { "contentions", "count" }, { "delay", "nanoseconds" } },                      \
    .period_type = { "contentions", "count" }, .finish = lock_finish
/* clang-format on */

struct prof_profile prof__profile_block = {
    .name = "block",
    .description = "Time spent waiting for locks, condition variables, semaphores and threads, by "
                   "who waited.",
    .table = PROF__TABLE_BLOCK,
    .status = block_status,
    CONTENTION,
};

struct prof_profile prof__profile_mutex = {
    .name = "mutex",
    .description = "Time that others spent waiting for locks, by who held them: the unlock that "
                   "ended the wait.",
    .table = PROF__TABLE_MUTEX,
    .status = mutex_status,
    CONTENTION,
};
