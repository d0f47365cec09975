/*
 * hook_wait.c - condition variables, semaphores, barriers and joins while a rate or a trace is on.
 *
 * They show in the block profile only: nobody holds them. Who wakes others shows in traces. But to
 * wait on a condition is also to release a mutex, and that is charged as any other release; before
 * the real call, since after it the mutex is locked again. Most of them are points of cancellation.
 * Context: hook.
 */
#include "hooks/real_pthread.h"
#include "hooks/watch.h"
#include "record/collect_trace.h"

/* --- condition variables ---------------------------------------------------------------------- */

static void release_for_wait(pthread_mutex_t *m, const void *caller)
{
    struct prof__debt debt;

    if (prof__contended(m) && !prof__mutex_nested(m) && prof__release_begin(m, &debt))
        prof__release_end(m, &debt, true, caller);
}

int prof__watch_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
    release_for_wait(m, CALLER);
    PROF__WAIT(w, PROF__WAIT_CONDITION, false, c, CALLER);
    int r = prof__pthread_real.pthread_cond_wait(c, m);
    w.end = prof__wait_result(r);
    return r;
}

int prof__watch_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m,
                                       const struct timespec *t)
{
    release_for_wait(m, CALLER);
    PROF__WAIT(w, PROF__WAIT_CONDITION, true, c, CALLER);
    int r = prof__pthread_real.pthread_cond_timedwait(c, m, t);
    w.end = prof__wait_result(r);
    return r;
}

int prof__watch_pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock,
                                       const struct timespec *t)
{
    release_for_wait(m, CALLER);
    PROF__WAIT(w, PROF__WAIT_CONDITION, true, c, CALLER);
    int r = prof__pthread_real.pthread_cond_clockwait(c, m, clock, t);
    w.end = prof__wait_result(r);
    return r;
}

int prof__watch_pthread_cond_signal(pthread_cond_t *c)
{
    prof__trace_wake(c, false);
    return prof__pthread_real.pthread_cond_signal(c);
}

int prof__watch_pthread_cond_broadcast(pthread_cond_t *c)
{
    prof__trace_wake(c, true);
    return prof__pthread_real.pthread_cond_broadcast(c);
}

/* --- semaphores ------------------------------------------------------------------------------- */

/* Signal: it may be posted from a handler. */
int prof__watch_sem_post(sem_t *s)
{
    prof__trace_wake(s, false);
    return prof__pthread_real.sem_post(s);
}

/* What is posted or ends between trying and waiting has woken this one, too. */
static inline void began_trying(struct prof__wait *w, uint64_t since)
{
    if (since && w->since)
        w->since = since;
}

/* Since when it is to be waited for, in *ret_since, for began_trying(). True: it need not, and then
 * no clock has been read. errno is kept. */
static bool sem_try(sem_t *s, uint64_t *ret_since)
{
    int saved = errno;
    bool got = prof__pthread_real.sem_trywait(s) == 0;

    /* Once more: what was posted before that time woke nobody. */
    if (!got && (*ret_since = prof__trace_try()))
        got = prof__pthread_real.sem_trywait(s) == 0;
    errno = saved;
    return got;
}

static enum prof__wait_end sem_result(int r)
{
    if (r == 0)
        return PROF__WAIT_GOT;
    return errno == EINTR || errno == ETIMEDOUT ? PROF__WAIT_GAVE_UP : PROF__WAIT_REFUSED;
}

int prof__watch_sem_wait(sem_t *s)
{
    pthread_testcancel(); /* as glibc's does, also when it need not wait */
    uint64_t since;
    if (sem_try(s, &since))
        return 0;

    PROF__WAIT(w, PROF__WAIT_SEMAPHORE, false, s, CALLER);
    began_trying(&w, since);
    int r = prof__pthread_real.sem_wait(s);
    w.end = sem_result(r);
    return r;
}

int prof__watch_sem_timedwait(sem_t *s, const struct timespec *t)
{
    if (!prof__timeout_valid(CLOCK_REALTIME, t))
        return prof__pthread_real.sem_timedwait(s, t);
    pthread_testcancel(); /* as above */
    uint64_t since;
    if (sem_try(s, &since))
        return 0;

    PROF__WAIT(w, PROF__WAIT_SEMAPHORE, true, s, CALLER);
    began_trying(&w, since);
    int r = prof__pthread_real.sem_timedwait(s, t);
    w.end = sem_result(r);
    return r;
}

int prof__watch_sem_clockwait(sem_t *s, clockid_t clock, const struct timespec *t)
{
    if (!prof__timeout_valid(clock, t))
        return prof__pthread_real.sem_clockwait(s, clock, t);
    uint64_t since;
    if (sem_try(s, &since)) /* here glibc's is no point of cancellation */
        return 0;

    PROF__WAIT(w, PROF__WAIT_SEMAPHORE, true, s, CALLER);
    began_trying(&w, since);
    int r = prof__pthread_real.sem_clockwait(s, clock, t);
    w.end = sem_result(r);
    return r;
}

/* --- barriers and joins ----------------------------------------------------------------------- */

int prof__watch_pthread_barrier_wait(pthread_barrier_t *b)
{
    PROF__WAIT(w, PROF__WAIT_BARRIER, false, b, CALLER);
    int r = prof__pthread_real.pthread_barrier_wait(b);
    /* The serial thread is the one that came last, so it did not wait: it let the others go. */
    w.end = prof__wait_result(r);
    if (r == PTHREAD_BARRIER_SERIAL_THREAD)
        w.wakes = true;
    return r;
}

int prof__watch_pthread_join(pthread_t thread, void **ret)
{
    uint64_t since = prof__trace_try();
    int r = prof__pthread_real.pthread_tryjoin_np(thread, ret);

    if (r == 0)
        return 0;
    PROF__WAIT(w, PROF__WAIT_JOIN, false, (const void *)thread, CALLER);
    began_trying(&w, since);
    r = prof__pthread_real.pthread_join(thread, ret);
    w.end = prof__wait_result(r);
    return r;
}

int prof__watch_pthread_timedjoin_np(pthread_t thread, void **ret, const struct timespec *t)
{
    uint64_t since = prof__trace_try();
    int r = prof__timeout_valid(CLOCK_REALTIME, t)
                ? prof__pthread_real.pthread_tryjoin_np(thread, ret)
                : EBUSY;

    if (r == 0)
        return 0;
    PROF__WAIT(w, PROF__WAIT_JOIN, t != NULL, (const void *)thread, CALLER);
    began_trying(&w, since);
    r = prof__pthread_real.pthread_timedjoin_np(thread, ret, t);
    w.end = prof__wait_result(r);
    return r;
}

int prof__watch_pthread_clockjoin_np(pthread_t thread, void **ret, clockid_t clock,
                                     const struct timespec *t)
{
    uint64_t since = prof__trace_try();
    int r =
        prof__timeout_valid(clock, t) ? prof__pthread_real.pthread_tryjoin_np(thread, ret) : EBUSY;

    if (r == 0)
        return 0;
    PROF__WAIT(w, PROF__WAIT_JOIN, t != NULL, (const void *)thread, CALLER);
    began_trying(&w, since);
    r = prof__pthread_real.pthread_clockjoin_np(thread, ret, clock, t);
    w.end = prof__wait_result(r);
    return r;
}
