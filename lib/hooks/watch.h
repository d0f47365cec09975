/*
 * watch.h - what the watching functions share.
 */
#ifndef PROF_HOOKS_WATCH_H
#define PROF_HOOKS_WATCH_H

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "record/collect_lock.h"

/* Where a hook returns to: its frame is gone when a watching function runs. */
#define CALLER __builtin_return_address(0)

/* The filter of this copy of the hooks. */
extern struct prof__lock_filter prof__lock_filter __attribute__((visibility("hidden")));

static inline bool prof__contended(const void *lock)
{
    return PROF_UNLIKELY(prof__ledger_maybe(&prof__lock_filter, lock));
}

/*
 * A wait under way, ended on every way out of the block: real functions that wait may be points of
 * cancellation, and then the stack is unwound through us. Nothing else is to be undone.
 */
#define PROF__WAIT(w, kind, timed, object, caller)                \
    struct prof__wait w __attribute__((cleanup(prof__wait_end))); \
    prof__wait_begin(&w, kind, timed, object, caller)

/* What the result of a pthread function that waits says of the wait. */
static inline enum prof__wait_end prof__wait_result(int r)
{
    switch (r) {
    case 0:
    case EOWNERDEAD:
        return PROF__WAIT_GOT;
    case ETIMEDOUT:
    case ENOTRECOVERABLE:
        return PROF__WAIT_GAVE_UP;
    default:
        return PROF__WAIT_REFUSED;
    }
}

/* May a lock be tried before a real function with a time-out is called? That one might refuse the
 * time or the clock even if the lock is free, and then it shall have its way. */
static inline bool prof__timeout_valid(clockid_t clock, const struct timespec *t)
{
    return t && (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC) && t->tv_nsec >= 0 &&
           t->tv_nsec < 1000000000;
}

/* Will this unlock, or this wait on a condition, leave a recursive mutex locked? Called by its
 * owner. */
static inline bool prof__mutex_nested(const pthread_mutex_t *m)
{
#ifdef __GLIBC__
    return (m->__data.__kind & 3) == PTHREAD_MUTEX_RECURSIVE && m->__data.__count > 1;
#else
    (void)m;
    return false;
#endif
}

/* Does nobody hold `m` at this instant? In doubt no: the word of a mutex with a priority ceiling is
 * never 0. */
static inline bool prof__mutex_free(const pthread_mutex_t *m)
{
#ifdef __GLIBC__
    return __atomic_load_n(&m->__data.__lock, __ATOMIC_RELAXED) == 0;
#else
    (void)m;
    return false;
#endif
}

static inline bool prof__mutex_robust(const pthread_mutex_t *m)
{
#ifdef __GLIBC__
    return m->__data.__kind & 16;
#else
    (void)m;
    return false;
#endif
}

/* Around the real unlock of what others wait for. */
#define PROF__RELEASE(lock, real_unlock, caller)        \
    struct prof__debt debt;                             \
    bool charge = prof__release_begin(lock, &debt);     \
    int r = real_unlock(lock);                          \
    if (charge)                                         \
        prof__release_end(lock, &debt, r == 0, caller); \
    return r

#endif
