/*
 * hook_mutex.c - mutexes and read/write locks while a rate is on.
 *
 * A mutex that looks free is left to libc at once: no clock, no stack, nothing written. Another
 * thread may lock it in the few instructions after the look, and then that wait is missed. One that
 * does not look free, and a read/write lock, is tried first, since it may yet be had at once:
 * glibc's trylock answers as its lock does, but for EBUSY, where the lock itself is asked. It may
 * have to wait, or have an error of its own, such as EDEADLK. Unlocking looks at the filter of
 * contended locks. Context: hook.
 */
#include "hooks/real_pthread.h"
#include "hooks/watch.h"

struct prof__lock_filter prof__lock_filter __attribute__((aligned(4096)));

/* --- mutexes ---------------------------------------------------------------------------------- */

/*
 * Can `m`, which does not look free, be had without waiting? Its owner may lock it once more.
 *
 * A robust mutex is not tried. Its trylock, once the mutex is not recoverable, says so but keeps it
 * locked (glibc 2.36), and then who locks it next would wait for ever instead of hearing the same.
 */
static int try_held(pthread_mutex_t *m)
{
    return prof__mutex_robust(m) ? EBUSY : prof__pthread_real.pthread_mutex_trylock(m);
}

static PROF_COLD int lock_held(pthread_mutex_t *m, const void *caller)
{
    int r = try_held(m);
    if (r != EBUSY)
        return r;

    PROF__WAIT(w, PROF__WAIT_MUTEX, false, m, caller);
    r = prof__pthread_real.pthread_mutex_lock(m);
    w.end = prof__wait_result(r);
    return r;
}

int prof__watch_pthread_mutex_lock(pthread_mutex_t *m)
{
    return PROF_LIKELY(prof__mutex_free(m)) ? prof__pthread_real.pthread_mutex_lock(m)
                                            : lock_held(m, CALLER);
}

static PROF_COLD int unlock_contended(pthread_mutex_t *m, const void *caller)
{
    if (prof__mutex_nested(m))
        return prof__pthread_real.pthread_mutex_unlock(m);
    PROF__RELEASE(m, prof__pthread_real.pthread_mutex_unlock, caller);
}

int prof__watch_pthread_mutex_unlock(pthread_mutex_t *m)
{
    if (prof__contended(m))
        return unlock_contended(m, CALLER);
    return prof__pthread_real.pthread_mutex_unlock(m);
}

int prof__watch_pthread_mutex_timedlock(pthread_mutex_t *m, const struct timespec *t)
{
    if (prof__mutex_free(m) || !prof__timeout_valid(CLOCK_REALTIME, t))
        return prof__pthread_real.pthread_mutex_timedlock(m, t);
    int r = try_held(m);
    if (r != EBUSY)
        return r;

    PROF__WAIT(w, PROF__WAIT_MUTEX, true, m, CALLER);
    r = prof__pthread_real.pthread_mutex_timedlock(m, t);
    w.end = prof__wait_result(r);
    return r;
}

int prof__watch_pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock,
                                        const struct timespec *t)
{
    if (prof__mutex_free(m) || !prof__timeout_valid(clock, t))
        return prof__pthread_real.pthread_mutex_clocklock(m, clock, t);
    int r = try_held(m);
    if (r != EBUSY)
        return r;

    PROF__WAIT(w, PROF__WAIT_MUTEX, true, m, CALLER);
    r = prof__pthread_real.pthread_mutex_clocklock(m, clock, t);
    w.end = prof__wait_result(r);
    return r;
}

/* --- read/write locks ------------------------------------------------------------------------- */

typedef int rwlock_fn(pthread_rwlock_t *l);
typedef int rwlock_timed_fn(pthread_rwlock_t *l, const struct timespec *t);
typedef int rwlock_clock_fn(pthread_rwlock_t *l, clockid_t clock, const struct timespec *t);

static inline int rwlock_wait(pthread_rwlock_t *l, rwlock_fn *try_it, rwlock_fn *real,
                              enum prof__wait_kind kind, const void *caller)
{
    int r = try_it(l);

    if (PROF_LIKELY(r != EBUSY))
        return r;
    PROF__WAIT(w, kind, false, l, caller);
    r = real(l);
    w.end = prof__wait_result(r);
    return r;
}

static int rwlock_timed(pthread_rwlock_t *l, const struct timespec *t, rwlock_fn *try_it,
                        rwlock_timed_fn *real, enum prof__wait_kind kind, const void *caller)
{
    int r = prof__timeout_valid(CLOCK_REALTIME, t) ? try_it(l) : EINVAL;

    if (r == EINVAL)
        return real(l, t);
    if (r != EBUSY)
        return r;
    PROF__WAIT(w, kind, true, l, caller);
    r = real(l, t);
    w.end = prof__wait_result(r);
    return r;
}

static int rwlock_clock(pthread_rwlock_t *l, clockid_t clock, const struct timespec *t,
                        rwlock_fn *try_it, rwlock_clock_fn *real, enum prof__wait_kind kind,
                        const void *caller)
{
    int r = prof__timeout_valid(clock, t) ? try_it(l) : EINVAL;

    if (r == EINVAL)
        return real(l, clock, t);
    if (r != EBUSY)
        return r;
    PROF__WAIT(w, kind, true, l, caller);
    r = real(l, clock, t);
    w.end = prof__wait_result(r);
    return r;
}

int prof__watch_pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
    return rwlock_wait(l, prof__pthread_real.pthread_rwlock_tryrdlock,
                       prof__pthread_real.pthread_rwlock_rdlock, PROF__WAIT_READ, CALLER);
}

int prof__watch_pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
    return rwlock_wait(l, prof__pthread_real.pthread_rwlock_trywrlock,
                       prof__pthread_real.pthread_rwlock_wrlock, PROF__WAIT_WRITE, CALLER);
}

int prof__watch_pthread_rwlock_timedrdlock(pthread_rwlock_t *l, const struct timespec *t)
{
    return rwlock_timed(l, t, prof__pthread_real.pthread_rwlock_tryrdlock,
                        prof__pthread_real.pthread_rwlock_timedrdlock, PROF__WAIT_READ, CALLER);
}

int prof__watch_pthread_rwlock_timedwrlock(pthread_rwlock_t *l, const struct timespec *t)
{
    return rwlock_timed(l, t, prof__pthread_real.pthread_rwlock_trywrlock,
                        prof__pthread_real.pthread_rwlock_timedwrlock, PROF__WAIT_WRITE, CALLER);
}

int prof__watch_pthread_rwlock_clockrdlock(pthread_rwlock_t *l, clockid_t clock,
                                           const struct timespec *t)
{
    return rwlock_clock(l, clock, t, prof__pthread_real.pthread_rwlock_tryrdlock,
                        prof__pthread_real.pthread_rwlock_clockrdlock, PROF__WAIT_READ, CALLER);
}

int prof__watch_pthread_rwlock_clockwrlock(pthread_rwlock_t *l, clockid_t clock,
                                           const struct timespec *t)
{
    return rwlock_clock(l, clock, t, prof__pthread_real.pthread_rwlock_trywrlock,
                        prof__pthread_real.pthread_rwlock_clockwrlock, PROF__WAIT_WRITE, CALLER);
}

/* Are there more readers than the one that unlocks? Then it lets nobody in: the last one does. */
static bool others_read(const pthread_rwlock_t *l)
{
#ifdef __GLIBC__
    return l->__data.__cur_writer == 0 && l->__data.__readers >> 3 > 1;
#else
    (void)l;
    return false;
#endif
}

static PROF_COLD int rwlock_unlock_contended(pthread_rwlock_t *l, const void *caller)
{
    if (others_read(l))
        return prof__pthread_real.pthread_rwlock_unlock(l);
    PROF__RELEASE(l, prof__pthread_real.pthread_rwlock_unlock, caller);
}

int prof__watch_pthread_rwlock_unlock(pthread_rwlock_t *l)
{
    if (prof__contended(l))
        return rwlock_unlock_contended(l, CALLER);
    return prof__pthread_real.pthread_rwlock_unlock(l);
}
