/*
 * locks.c - every call that locks, as its specification and glibc have it: results, errno,
 * time-outs, robust and error-checking mutexes, recursion, inheritance; C11's too.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <threads.h>

#include "waiting.h"

static int lock(void *m)
{
    return pthread_mutex_lock(m);
}

static int lock_and_unlock(void *m)
{
    int r = pthread_mutex_lock(m);

    return r ? r : pthread_mutex_unlock(m);
}

static int timedlock_and_unlock(void *m)
{
    int r = pthread_mutex_timedlock(m, LATER);

    return r ? r : pthread_mutex_unlock(m);
}

static int clocklock_and_unlock(void *m)
{
    int r = pthread_mutex_clocklock(m, CLOCK_MONOTONIC, LATER_MONOTONIC);

    return r ? r : pthread_mutex_unlock(m);
}

static int timedlock_in_vain(void *m)
{
    struct timespec before, after, t;

    clock_gettime(CLOCK_REALTIME, &before);
    t = before;
    t.tv_nsec += 5000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    int r = pthread_mutex_timedlock(m, &t);
    clock_gettime(CLOCK_REALTIME, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >= 5000000,
          "it waited as long as it was told");
    return r;
}

static int clocklock_in_vain(void *m)
{
    return pthread_mutex_clocklock(m, CLOCK_MONOTONIC, SOON_MONOTONIC);
}

static int try_it(void *m)
{
    return pthread_mutex_trylock(m);
}

static int unlock(void *m)
{
    return pthread_mutex_unlock(m);
}

/* --- mutexes ---------------------------------------------------------------------------------- */

static void see_mutex_kind(int type, int robust, int protocol)
{
    bool recursive = type == PTHREAD_MUTEX_RECURSIVE, checks = type == PTHREAD_MUTEX_ERRORCHECK;
    pthread_mutex_t m;

    mutex_make(&m, type, robust, protocol);
    SEE(pthread_mutex_lock(&m));
    SEE(pthread_mutex_trylock(&m));
    if (recursive)
        SEE(pthread_mutex_unlock(&m));
    if (recursive || checks) {
        SEE(pthread_mutex_lock(&m));
        SEE(pthread_mutex_timedlock(&m, SOON));
        SEE(pthread_mutex_clocklock(&m, CLOCK_MONOTONIC, SOON_MONOTONIC));
    }
    if (recursive)
        for (int i = 0; i < 3; i++)
            SEE(pthread_mutex_unlock(&m));
    SEE(in_other(try_it, &m));
    SEE(in_other(timedlock_in_vain, &m));
    if (!protocol)
        SEE(in_other(clocklock_in_vain, &m));
    if (checks || recursive || robust)
        SEE(in_other(unlock, &m));
    SEE_WAIT("lock", lock_and_unlock, &m, SEE(pthread_mutex_unlock(&m)));
    SEE(pthread_mutex_lock(&m));
    SEE_WAIT("timedlock", timedlock_and_unlock, &m, SEE(pthread_mutex_unlock(&m)));
    if (!protocol) {
        SEE(pthread_mutex_lock(&m));
        SEE_WAIT("clocklock", clocklock_and_unlock, &m, SEE(pthread_mutex_unlock(&m)));
    }
    if (recursive) { /* the inner unlock does not let go */
        struct other o;

        SEE(pthread_mutex_lock(&m));
        SEE(pthread_mutex_lock(&m));
        start(&o, lock_and_unlock, &m);
        until_asleep(&o);
        SEE(pthread_mutex_unlock(&m));
        SEE(in_other(try_it, &m));
        SEE(pthread_mutex_unlock(&m));
        finish(&o, "lock");
    }
    if (checks || recursive)
        SEE(pthread_mutex_unlock(&m));
    SEE(pthread_mutex_timedlock(&m, &nonsense));
    SEE(pthread_mutex_unlock(&m));
    SEE(pthread_mutex_clocklock(&m, CLOCK_PROCESS_CPUTIME_ID, SOON));
    SEE(pthread_mutex_destroy(&m));
}

static void see_mutexes(void)
{
    static const int types[] = { PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
                                 PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP };
    static char name[64];

    for (int type = 0; type < 4; type++)
        for (int robust = 0; robust < 2; robust++)
            for (int protocol = 0; protocol < 2; protocol++) {
                snprintf(name, sizeof(name), "mutex of type %d%s%s", type, robust ? ", robust" : "",
                         protocol ? ", inheriting" : "");
                part = name;
                see_mutex_kind(types[type], robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED,
                               protocol ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE);
            }
}

static void see_protected(void)
{
    pthread_mutex_t m;

    part = "protected mutex";
    mutex_make(&m, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_PROTECT);
    SEE(pthread_mutex_lock(&m)); /* who may not have the ceiling is refused */
    SEE(pthread_mutex_lock(&m));
    SEE(pthread_mutex_timedlock(&m, SOON));
    SEE(pthread_mutex_unlock(&m));
    SEE(pthread_mutex_unlock(&m));
    pthread_mutex_destroy(&m);
}

static int die_after(void *arg)
{
    _Atomic int *go = ((void **)arg)[1];
    int r = pthread_mutex_lock(((void **)arg)[0]);

    while (go && !*go)
        sched_yield();
    return r;
}

static int lock_and_hold(void *m)
{
    int r = pthread_mutex_lock(m);

    if (r == EOWNERDEAD) {
        pthread_mutex_consistent(m);
        pthread_mutex_unlock(m);
    }
    return r;
}

static void see_robust(int protocol)
{
    pthread_mutex_t m;
    _Atomic int go = 0;

    part = protocol ? "dead owner, inheriting" : "dead owner";
    mutex_make(&m, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, protocol);
    SEE(in_other(die_after, ((void *[]) { &m, NULL })));
    SEE(pthread_mutex_lock(&m));
    SEE(pthread_mutex_consistent(&m));
    SEE(pthread_mutex_unlock(&m));
    SEE(in_other(die_after, ((void *[]) { &m, NULL })));
    SEE(pthread_mutex_timedlock(&m, SOON));
    SEE(pthread_mutex_consistent(&m));
    SEE(pthread_mutex_unlock(&m));

    /* The owner dies while another waits. */
    struct other dying, waiting;
    start(&dying, die_after, (void *[]) { &m, &go });
    while (pthread_mutex_trylock(&m) == 0) {
        pthread_mutex_unlock(&m);
        sched_yield();
    }
    start(&waiting, lock_and_hold, &m);
    until_asleep(&waiting);
    go = 1;
    finish(&dying, "lock and die");
    finish(&waiting, "lock");

    SEE(in_other(die_after, ((void *[]) { &m, NULL })));
    SEE(pthread_mutex_lock(&m));
    SEE(pthread_mutex_unlock(&m)); /* not made consistent */
    SEE(pthread_mutex_lock(&m));
    SEE(pthread_mutex_trylock(&m));
    SEE(pthread_mutex_timedlock(&m, SOON));
    SEE(pthread_mutex_destroy(&m));
}

/* --- read/write locks ------------------------------------------------------------------------- */

static int read_lock(void *l)
{
    int r = pthread_rwlock_rdlock(l);

    return r ? r : pthread_rwlock_unlock(l);
}

static int write_lock(void *l)
{
    int r = pthread_rwlock_wrlock(l);

    return r ? r : pthread_rwlock_unlock(l);
}

static int read_in_time(void *l)
{
    int r = pthread_rwlock_timedrdlock(l, LATER);

    return r ? r : pthread_rwlock_unlock(l);
}

static int write_in_time(void *l)
{
    int r = pthread_rwlock_clockwrlock(l, CLOCK_MONOTONIC, LATER_MONOTONIC);

    return r ? r : pthread_rwlock_unlock(l);
}

static int read_in_vain(void *l)
{
    return pthread_rwlock_timedrdlock(l, SOON);
}

static int write_in_vain(void *l)
{
    return pthread_rwlock_timedwrlock(l, SOON);
}

static int clock_read_in_vain(void *l)
{
    return pthread_rwlock_clockrdlock(l, CLOCK_MONOTONIC, SOON_MONOTONIC);
}

static int clock_write_in_vain(void *l)
{
    return pthread_rwlock_clockwrlock(l, CLOCK_MONOTONIC, SOON_MONOTONIC);
}

static int try_read(void *l)
{
    return pthread_rwlock_tryrdlock(l);
}

static void see_rwlocks(int kind)
{
    static char name[32];
    pthread_rwlockattr_t a;
    pthread_rwlock_t l;

    snprintf(name, sizeof(name), "read/write lock of kind %d", kind);
    part = name;
    pthread_rwlockattr_init(&a);
    pthread_rwlockattr_setkind_np(&a, kind);
    pthread_rwlock_init(&l, &a);
    SEE(pthread_rwlock_rdlock(&l));
    SEE(pthread_rwlock_rdlock(&l));
    SEE(pthread_rwlock_trywrlock(&l));
    SEE(pthread_rwlock_timedwrlock(&l, SOON));
    SEE(in_other(clock_write_in_vain, &l));
    SEE(pthread_rwlock_unlock(&l));
    SEE_WAIT("write lock", write_lock, &l, SEE(pthread_rwlock_unlock(&l)));
    SEE(pthread_rwlock_wrlock(&l));
    SEE(pthread_rwlock_rdlock(&l));
    SEE(pthread_rwlock_wrlock(&l));
    SEE(in_other(try_read, &l));
    SEE(in_other(read_in_vain, &l));
    SEE(in_other(write_in_vain, &l));
    SEE(in_other(clock_read_in_vain, &l));
    SEE_WAIT("read lock", read_lock, &l, SEE(pthread_rwlock_unlock(&l)));
    SEE(pthread_rwlock_wrlock(&l));
    SEE_WAIT("timed read lock", read_in_time, &l, SEE(pthread_rwlock_unlock(&l)));
    SEE(pthread_rwlock_wrlock(&l));
    SEE_WAIT("timed write lock", write_in_time, &l, SEE(pthread_rwlock_unlock(&l)));
    SEE(pthread_rwlock_timedrdlock(&l, &nonsense));
    SEE(pthread_rwlock_timedwrlock(&l, &nonsense));
    SEE(pthread_rwlock_clockrdlock(&l, CLOCK_PROCESS_CPUTIME_ID, SOON));
    SEE(pthread_rwlock_clockwrlock(&l, CLOCK_PROCESS_CPUTIME_ID, SOON));
    SEE(pthread_rwlock_destroy(&l));
}

/* --- C11 -------------------------------------------------------------------------------------- */

static int c11_lock(void *m)
{
    int r = mtx_lock(m);

    return r != thrd_success ? r : mtx_unlock(m);
}

static int c11_timedlock(void *m)
{
    int r = mtx_timedlock(m, LATER);

    return r != thrd_success ? r : mtx_unlock(m);
}

static int c11_in_vain(void *m)
{
    return mtx_timedlock(m, SOON);
}

static void see_c11(void)
{
    mtx_t mtx, recursive;

    part = "C11";
    mtx_init(&mtx, mtx_timed);
    mtx_init(&recursive, mtx_plain | mtx_recursive);
    SEE(mtx_lock(&mtx) == thrd_success);
    SEE(mtx_trylock(&mtx) == thrd_busy);
    SEE(in_other(c11_in_vain, &mtx) == thrd_timedout);
    SEE_WAIT("mtx_lock", c11_lock, &mtx, SEE(mtx_unlock(&mtx)));
    SEE(mtx_lock(&mtx));
    SEE_WAIT("mtx_timedlock", c11_timedlock, &mtx, SEE(mtx_unlock(&mtx)));
    SEE(mtx_timedlock(&mtx, &nonsense));
    SEE(mtx_unlock(&mtx));
    for (int i = 0; i < 3; i++)
        SEE(mtx_lock(&recursive));
    for (int i = 0; i < 3; i++)
        SEE(mtx_unlock(&recursive));
    mtx_destroy(&mtx);
    mtx_destroy(&recursive);
}

/* --- fork ------------------------------------------------------------------------------------- */

static void see_fork(void)
{
    static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
    struct other o[3];
    int status;

    part = "fork";
    pthread_mutex_lock(&held);
    for (int i = 0; i < 3; i++) {
        start(&o[i], lock_and_unlock, &held);
        until_asleep(&o[i]);
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) { /* the owner is here, the waiters are not */
        struct other waiter;

        alarm(60);
        start(&waiter, lock, &held);
        until_asleep(&waiter);
        pthread_mutex_unlock(&held);
        pthread_join(waiter.thread, NULL);
        _exit(waiter.result);
    }
    waitpid(child, &status, 0);
    printf("> %s: the child ended with %d\n", part, status);
    pthread_mutex_unlock(&held);
    for (int i = 0; i < 3; i++)
        finish(&o[i], "lock");
}

static void see_all(void)
{
    see_mutexes();
    see_protected();
    see_robust(PTHREAD_PRIO_NONE);
    see_robust(PTHREAD_PRIO_INHERIT);
    for (int kind = 0; kind < 3; kind++)
        see_rwlocks(kind);
    see_c11();
    see_fork();
}

int main(int argc, char **argv)
{
    alarm(100);
    at_all_rates(argc > 1 && strcmp(argv[1], "unwatched") != 0, see_all);
    return check_report();
}
