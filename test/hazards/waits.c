/*
 * waits.c - every call that waits for something else than a lock, as its specification and glibc
 * have it: results, errno, time-outs, signals, and points of cancellation.
 */
#include <semaphore.h>
#include <signal.h>
#include <threads.h>

#include "waiting.h"

/* --- condition variables, semaphores, barriers, joins ----------------------------------------- */

static struct {
    pthread_mutex_t m;
    pthread_cond_t c;
    bool go;
} room = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };

static int wait_for_go(void *arg)
{
    int r = 0;

    pthread_mutex_lock(&room.m);
    while (!room.go && r == 0)
        switch (*(const char *)arg) {
        case 'w':
            r = pthread_cond_wait(&room.c, &room.m);
            break;
        case 't':
            r = pthread_cond_timedwait(&room.c, &room.m, LATER);
            break;
        default:
            r = pthread_cond_clockwait(&room.c, &room.m, CLOCK_MONOTONIC, LATER_MONOTONIC);
        }
    pthread_mutex_unlock(&room.m);
    return r;
}

static void say_go(void)
{
    pthread_mutex_lock(&room.m);
    room.go = true;
    pthread_cond_broadcast(&room.c);
    pthread_mutex_unlock(&room.m);
}

static void see_conditions(void)
{
    pthread_mutex_t checking;

    part = "condition";
    for (const char *how = "wtc"; *how; how++) {
        room.go = false;
        SEE_WAIT("cond wait", wait_for_go, (void *)(uintptr_t)how, say_go());
    }
    pthread_mutex_lock(&room.m);
    SEE(pthread_cond_timedwait(&room.c, &room.m, SOON));
    SEE(pthread_cond_clockwait(&room.c, &room.m, CLOCK_MONOTONIC, SOON_MONOTONIC));
    SEE(pthread_cond_timedwait(&room.c, &room.m, &nonsense));
    SEE(pthread_cond_clockwait(&room.c, &room.m, CLOCK_PROCESS_CPUTIME_ID, SOON));
    pthread_mutex_unlock(&room.m);
    mutex_make(&checking, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
    SEE(pthread_cond_wait(&room.c, &checking)); /* not locked by us */
    SEE(pthread_cond_timedwait(&room.c, &checking, SOON));
}

static sem_t sem;

static int wait_sem(void *arg)
{
    (void)arg;
    return sem_wait(&sem);
}

static int wait_sem_in_time(void *arg)
{
    (void)arg;
    return sem_timedwait(&sem, LATER);
}

static int wait_sem_by_clock(void *arg)
{
    (void)arg;
    return sem_clockwait(&sem, CLOCK_MONOTONIC, LATER_MONOTONIC);
}

static void on_signal(int number)
{
    (void)number;
}

static void see_semaphores(void)
{
    struct sigaction interrupt = { .sa_handler = on_signal };
    struct other o;

    part = "semaphore";
    sigaction(SIGUSR1, &interrupt, NULL); /* without SA_RESTART */
    sem_init(&sem, 0, 3);
    SEE(sem_wait(&sem));
    SEE(sem_timedwait(&sem, SOON));
    SEE(sem_clockwait(&sem, CLOCK_MONOTONIC, SOON_MONOTONIC));
    SEE(sem_timedwait(&sem, SOON));
    SEE(sem_clockwait(&sem, CLOCK_MONOTONIC, SOON_MONOTONIC));
    SEE(sem_timedwait(&sem, &nonsense));
    SEE(sem_clockwait(&sem, CLOCK_PROCESS_CPUTIME_ID, SOON));
    SEE_WAIT("sem_wait", wait_sem, NULL, SEE(sem_post(&sem)));
    SEE_WAIT("sem_timedwait", wait_sem_in_time, NULL, SEE(sem_post(&sem)));
    SEE_WAIT("sem_clockwait", wait_sem_by_clock, NULL, SEE(sem_post(&sem)));
    start(&o, wait_sem_in_time, NULL);
    until_asleep(&o);
    pthread_kill(o.thread, SIGUSR1);
    finish(&o, "interrupted sem_timedwait");
    start(&o, wait_sem, NULL);
    until_asleep(&o);
    pthread_kill(o.thread, SIGUSR1);
    finish(&o, "interrupted sem_wait");
    SEE(sem_post(&sem));
    SEE(sem_timedwait(&sem, &nonsense)); /* glibc refuses it all the same */
    SEE(sem_clockwait(&sem, CLOCK_PROCESS_CPUTIME_ID, SOON));
    sem_destroy(&sem);
}

static int wait_barrier(void *b)
{
    return pthread_barrier_wait(b) == PTHREAD_BARRIER_SERIAL_THREAD;
}

static void see_barriers(void)
{
    enum { PARTIES = 4, ROUNDS = 50 };
    pthread_barrier_t b;
    int odd = 0;

    part = "barrier";
    pthread_barrier_init(&b, NULL, PARTIES);
    for (int round = 0; round < ROUNDS; round++) {
        struct other o[PARTIES];
        int serial = 0;

        for (int i = 0; i < PARTIES; i++)
            start(&o[i], wait_barrier, &b);
        for (int i = 0; i < PARTIES; i++) {
            pthread_join(o[i].thread, NULL);
            serial += o[i].result;
        }
        odd += serial != 1;
    }
    pthread_barrier_destroy(&b);
    CHECK_INT(odd, 0, "rounds in which not one thread was told to be the serial one");
}

static int join_itself(void *arg)
{
    (void)arg;
    return pthread_join(pthread_self(), NULL);
}

static int wait_for_sem(void *arg)
{
    while (sem_wait(arg) != 0)
        ;
    return 0;
}

static int join_thread(void *arg)
{
    void *ret = NULL;
    int r = pthread_join(*(pthread_t *)arg, &ret);

    return r ? r : ret == NULL ? -1 : 0;
}

static void see_joins(void)
{
    struct other o, joiner;
    void *ret = NULL;

    part = "join";
    sem_init(&sem, 0, 0);
    SEE(in_other(join_itself, NULL));
    start(&o, wait_for_sem, &sem);
    until_asleep(&o);
    SEE(pthread_tryjoin_np(o.thread, &ret));
    SEE(pthread_timedjoin_np(o.thread, &ret, SOON));
    SEE(pthread_clockjoin_np(o.thread, &ret, CLOCK_MONOTONIC, SOON_MONOTONIC));
    SEE(pthread_clockjoin_np(o.thread, &ret, CLOCK_PROCESS_CPUTIME_ID, SOON));
    start(&joiner, join_thread, &o.thread);
    until_asleep(&joiner);
    sem_post(&sem);
    finish(&joiner, "join");
    start(&o, wait_for_sem, &sem);
    sem_post(&sem);
    SEE(pthread_timedjoin_np(o.thread, &ret, NULL));
    CHECK(ret == &o, "what the thread returned");
    start(&o, wait_for_sem, &sem);
    sem_post(&sem);
    SEE(pthread_clockjoin_np(o.thread, &ret, CLOCK_MONOTONIC, LATER_MONOTONIC));
    CHECK(ret == &o, "what the thread returned");
    sem_destroy(&sem);
}

/* --- cancellation ----------------------------------------------------------------------------- */

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t held_rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_t never;
static _Atomic int cleanups, past;

static int lock_and_unlock(void *m)
{
    int r = pthread_mutex_lock(m);

    return r ? r : pthread_mutex_unlock(m);
}

static void clean_up(void *m)
{
    if (m)
        pthread_mutex_unlock(m);
    cleanups++;
}

static int cancel_in(void *arg)
{
    pthread_mutex_t *m = strchr("wtck", *(const char *)arg) ? &room.m : NULL;

    if (m)
        pthread_mutex_lock(m);
    pthread_cleanup_push(clean_up, m);
    switch (*(const char *)arg) {
    case 'w':
        pthread_cond_wait(&room.c, &room.m);
        break;
    case 't':
        pthread_cond_timedwait(&room.c, &room.m, LATER);
        break;
    case 'c':
        pthread_cond_clockwait(&room.c, &room.m, CLOCK_MONOTONIC, LATER_MONOTONIC);
        break;
    case 's':
        sem_wait(&sem);
        break;
    case 'S':
        sem_timedwait(&sem, LATER);
        break;
    case 'C':
        sem_clockwait(&sem, CLOCK_MONOTONIC, LATER_MONOTONIC);
        break;
    case 'j':
        pthread_join(never, NULL);
        break;
    case 'J':
        pthread_timedjoin_np(never, NULL, LATER);
        break;
    case 'm': /* no points of cancellation: they wait on, and the next one is it */
        pthread_mutex_lock(&held);
        pthread_mutex_unlock(&held);
        past++;
        pthread_testcancel();
        break;
    case 'r':
        pthread_rwlock_rdlock(&held_rw);
        pthread_rwlock_unlock(&held_rw);
        past++;
        pthread_testcancel();
        break;
    case 'T':
        pthread_mutex_timedlock(&held, LATER);
        pthread_mutex_unlock(&held);
        past++;
        pthread_testcancel();
        break;
    }
    pthread_cleanup_pop(0);
    return 0;
}

static void see_cancelled(struct other *o, char where)
{
    void *ret;

    pthread_join(o->thread, &ret);
    printf("> %s at '%c': %s, %d cleaned up, %d went on\n", part, where,
           ret == PTHREAD_CANCELED ? "cancelled" : "not cancelled", cleanups, past);
    cleanups = past = 0;
}

static int cancelled_already(void *arg)
{
    int state;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    pthread_cancel(pthread_self());
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    pthread_cleanup_push(clean_up, NULL);
    switch (*(const char *)arg) {
    case 's':
        sem_wait(&sem); /* it is free: cancelled all the same */
        break;
    case 'S':
        sem_timedwait(&sem, LATER);
        break;
    case 'C':
        sem_clockwait(&sem, CLOCK_MONOTONIC, LATER_MONOTONIC);
        break;
    case 'j': /* it has ended */
        pthread_join(never, NULL);
        break;
    case 'J':
        pthread_timedjoin_np(never, NULL, LATER);
        break;
    case 'm':
        pthread_mutex_lock(&held);
        pthread_mutex_unlock(&held);
        break;
    }
    past++;
    pthread_cleanup_pop(0);
    return 0;
}

static void see_cancellation(void)
{
    struct other o, sleeper;

    part = "cancellation";
    room.go = false;
    sem_init(&sem, 0, 0);
    sem_t forever;
    sem_init(&forever, 0, 0);
    start(&sleeper, wait_for_sem, &forever);
    never = sleeper.thread;
    pthread_mutex_lock(&held);
    pthread_rwlock_wrlock(&held_rw);
    for (const char *where = "wtcsSCjJ"; *where; where++) {
        start(&o, cancel_in, (void *)(uintptr_t)where);
        until_asleep(&o);
        pthread_cancel(o.thread);
        see_cancelled(&o, *where);
    }
    for (const char *where = "mTr"; *where; where++) {
        start(&o, cancel_in, (void *)(uintptr_t)where);
        until_asleep(&o);
        pthread_cancel(o.thread);
        if (*where == 'r')
            pthread_rwlock_unlock(&held_rw);
        else
            pthread_mutex_unlock(&held);
        see_cancelled(&o, *where);
        if (*where == 'r')
            pthread_rwlock_wrlock(&held_rw);
        else
            pthread_mutex_lock(&held);
    }
    pthread_rwlock_unlock(&held_rw);
    pthread_mutex_unlock(&held);
    for (const char *where = "sSCmjJ"; *where; where++) {
        struct other ended;

        sem_post(&sem);
        start(&ended, lock_and_unlock, &held);
        until_gone(&ended);
        never = ended.thread;
        start(&o, cancelled_already, (void *)(uintptr_t)where);
        see_cancelled(&o, *where);
    }
    int left;
    sem_getvalue(&sem, &left);
    printf("> %s: %d posts left\n", part, left);

    /* Everything still works, and the conditions' mutex is free. */
    SEE(pthread_mutex_trylock(&room.m));
    pthread_mutex_unlock(&room.m);
    SEE_WAIT("cond wait", wait_for_go, (void *)(uintptr_t) "w", say_go());
    sem_post(&forever);
    finish(&sleeper, "sem_wait");
    sem_destroy(&sem);
}

/* --- C11 -------------------------------------------------------------------------------------- */

static cnd_t cnd;
static mtx_t mtx;

static int c11_wait(void *arg)
{
    int r = thrd_success;

    mtx_lock(&mtx);
    while (!room.go && r == thrd_success)
        r = *(const char *)arg == 'w' ? cnd_wait(&cnd, &mtx) : cnd_timedwait(&cnd, &mtx, LATER);
    mtx_unlock(&mtx);
    return r;
}

static void c11_go(void)
{
    mtx_lock(&mtx);
    room.go = true;
    cnd_broadcast(&cnd);
    mtx_unlock(&mtx);
}

static int c11_thread(void *arg)
{
    while (sem_wait(arg) != 0)
        ;
    return 123;
}

static void see_c11(void)
{
    thrd_t t;
    int ret = 0;

    part = "C11";
    mtx_init(&mtx, mtx_plain);
    cnd_init(&cnd);
    for (const char *how = "wt"; *how; how++) {
        room.go = false;
        SEE_WAIT("cnd wait", c11_wait, (void *)(uintptr_t)how, c11_go());
    }
    mtx_lock(&mtx);
    SEE(cnd_timedwait(&cnd, &mtx, SOON) == thrd_timedout);
    mtx_unlock(&mtx);
    sem_init(&sem, 0, 0);
    thrd_create(&t, c11_thread, &sem);
    sem_post(&sem);
    SEE(thrd_join(t, &ret));
    CHECK_INT(ret, 123, "what the thread returned");
    sem_destroy(&sem);
    mtx_destroy(&mtx);
    cnd_destroy(&cnd);
}

static void see_all(void)
{
    see_conditions();
    see_semaphores();
    see_barriers();
    see_joins();
    see_cancellation();
    see_c11();
}

int main(int argc, char **argv)
{
    alarm(100);
    at_all_rates(argc > 1 && strcmp(argv[1], "unwatched") != 0, see_all);
    return check_report();
}
