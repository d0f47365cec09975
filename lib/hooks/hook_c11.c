/*
 * hook_c11.c - the locks of C11's <threads.h> while a rate is on.
 *
 * In glibc they are the pthread ones under other names, reached without the pthread symbols, and
 * with results of their own. Context: hook.
 */
#include "hooks/real_pthread.h"
#include "hooks/watch.h"
#include "record/collect_trace.h"

static enum prof__wait_end c11_result(int r)
{
    switch (r) {
    case thrd_success:
        return PROF__WAIT_GOT;
    case thrd_timedout:
        return PROF__WAIT_GAVE_UP;
    default:
        return PROF__WAIT_REFUSED;
    }
}

/* glibc's mtx_t is a pthread_mutex_t. */
static inline const pthread_mutex_t *as_pthread(const mtx_t *m)
{
    static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "glibc and musl have it so");
    return (const pthread_mutex_t *)m;
}

static PROF_COLD int lock_held(mtx_t *m, const void *caller)
{
    int r = prof__pthread_real.mtx_trylock(m);
    if (r != thrd_busy)
        return r;

    PROF__WAIT(w, PROF__WAIT_MUTEX, false, m, caller);
    r = prof__pthread_real.mtx_lock(m);
    w.end = c11_result(r);
    return r;
}

int prof__watch_mtx_lock(mtx_t *m)
{
    return PROF_LIKELY(prof__mutex_free(as_pthread(m))) ? prof__pthread_real.mtx_lock(m)
                                                        : lock_held(m, CALLER);
}

int prof__watch_mtx_timedlock(mtx_t *m, const struct timespec *t)
{
    if (prof__mutex_free(as_pthread(m)) || !prof__timeout_valid(CLOCK_REALTIME, t))
        return prof__pthread_real.mtx_timedlock(m, t);
    int r = prof__pthread_real.mtx_trylock(m);
    if (r != thrd_busy)
        return r;

    PROF__WAIT(w, PROF__WAIT_MUTEX, true, m, CALLER);
    r = prof__pthread_real.mtx_timedlock(m, t);
    w.end = c11_result(r);
    return r;
}

static PROF_COLD int unlock_contended(mtx_t *m, const void *caller)
{
    if (prof__mutex_nested(as_pthread(m)))
        return prof__pthread_real.mtx_unlock(m);
    PROF__RELEASE(m, prof__pthread_real.mtx_unlock, caller);
}

int prof__watch_mtx_unlock(mtx_t *m)
{
    if (prof__contended(m))
        return unlock_contended(m, CALLER);
    return prof__pthread_real.mtx_unlock(m);
}

static void release_for_wait(mtx_t *m, const void *caller)
{
    struct prof__debt debt;

    if (prof__contended(m) && !prof__mutex_nested(as_pthread(m)) && prof__release_begin(m, &debt))
        prof__release_end(m, &debt, true, caller);
}

int prof__watch_cnd_wait(cnd_t *c, mtx_t *m)
{
    release_for_wait(m, CALLER);
    PROF__WAIT(w, PROF__WAIT_CONDITION, false, c, CALLER);
    int r = prof__pthread_real.cnd_wait(c, m);
    w.end = c11_result(r);
    return r;
}

int prof__watch_cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *t)
{
    release_for_wait(m, CALLER);
    PROF__WAIT(w, PROF__WAIT_CONDITION, true, c, CALLER);
    int r = prof__pthread_real.cnd_timedwait(c, m, t);
    w.end = c11_result(r);
    return r;
}

int prof__watch_cnd_signal(cnd_t *c)
{
    prof__trace_wake(c, false);
    return prof__pthread_real.cnd_signal(c);
}

int prof__watch_cnd_broadcast(cnd_t *c)
{
    prof__trace_wake(c, true);
    return prof__pthread_real.cnd_broadcast(c);
}

int prof__watch_thrd_join(thrd_t thread, int *ret)
{
    PROF__WAIT(w, PROF__WAIT_JOIN, false, (const void *)thread, CALLER);
    int r = prof__pthread_real.thrd_join(thread, ret);
    w.end = c11_result(r);
    return r;
}
