/*
 * contention.c - scenes of waiting with pthread, and the numbers that are known beforehand.
 *
 *     contention scenes FOLDER   every kind of lock and wait; profiles into FOLDER
 *     contention rates FOLDER    fed waits at many rates, changed on the way
 */
#include "contention.h"

#include <semaphore.h>

/* --- locks ------------------------------------------------------------------------------------ */

#define MUTEX_SCENE(kind, lock_call)                        \
    static pthread_mutex_t kind##_mutex;                    \
    SCENE_FUNCTION kind##_waiter(void)                      \
    {                                                       \
        lock_call;                                          \
        pthread_mutex_unlock(&kind##_mutex);                \
    }                                                       \
    SCENE_FUNCTION kind##_holder(void (*wait)(void), int n) \
    {                                                       \
        pthread_mutex_lock(&kind##_mutex);                  \
        start_waiters(wait, n);                             \
        held_ns = hold();                                   \
        pthread_mutex_unlock(&kind##_mutex);                \
    }

MUTEX_SCENE(plain, pthread_mutex_lock(&plain_mutex))
MUTEX_SCENE(recursive, pthread_mutex_lock(&recursive_mutex))
MUTEX_SCENE(checking, pthread_mutex_lock(&checking_mutex))
MUTEX_SCENE(adaptive, pthread_mutex_lock(&adaptive_mutex))
MUTEX_SCENE(robust, pthread_mutex_lock(&robust_mutex))
MUTEX_SCENE(inheriting, pthread_mutex_lock(&inheriting_mutex))
MUTEX_SCENE(timed, struct timespec t = in_a_minute(CLOCK_REALTIME);
            pthread_mutex_timedlock(&timed_mutex, &t))
MUTEX_SCENE(clock, struct timespec t = in_a_minute(CLOCK_MONOTONIC);
            pthread_mutex_clocklock(&clock_mutex, CLOCK_MONOTONIC, &t))

static void mutex_init(pthread_mutex_t *m, int type, int robust, int protocol)
{
    pthread_mutexattr_t a;

    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, type);
    pthread_mutexattr_setrobust(&a, robust);
    pthread_mutexattr_setprotocol(&a, protocol);
    pthread_mutex_init(m, &a);
}

static void mutex_scenes(void)
{
    mutex_init(&recursive_mutex, PTHREAD_MUTEX_RECURSIVE, 0, 0);
    mutex_init(&checking_mutex, PTHREAD_MUTEX_ERRORCHECK, 0, 0);
    mutex_init(&adaptive_mutex, PTHREAD_MUTEX_ADAPTIVE_NP, 0, 0);
    mutex_init(&robust_mutex, 0, PTHREAD_MUTEX_ROBUST, 0);
    mutex_init(&inheriting_mutex, 0, 0, PTHREAD_PRIO_INHERIT);
    SCENE(plain, plain, WAITERS);
    SCENE(recursive, recursive, 1);
    SCENE(checking, checking, 1);
    SCENE(adaptive, adaptive, 1);
    SCENE(robust, robust, 1);
    SCENE(inheriting, inheriting, 1);
    SCENE(timed, timed, 1);
    SCENE(clock, clock, 1);
}

#define RWLOCK_SCENE(kind, hold_call, wait_call)                      \
    static pthread_rwlock_t kind##_lock = PTHREAD_RWLOCK_INITIALIZER; \
    SCENE_FUNCTION kind##_waiter(void)                                \
    {                                                                 \
        wait_call(&kind##_lock);                                      \
        pthread_rwlock_unlock(&kind##_lock);                          \
    }                                                                 \
    SCENE_FUNCTION kind##_holder(void (*wait)(void), int n)           \
    {                                                                 \
        hold_call(&kind##_lock);                                      \
        start_waiters(wait, n);                                       \
        held_ns = hold();                                             \
        pthread_rwlock_unlock(&kind##_lock);                          \
    }

RWLOCK_SCENE(readers, pthread_rwlock_wrlock, pthread_rwlock_rdlock)
RWLOCK_SCENE(writers, pthread_rwlock_wrlock, pthread_rwlock_wrlock)
RWLOCK_SCENE(writer, pthread_rwlock_rdlock, pthread_rwlock_wrlock)

/* A mutex that is let go by waiting on a condition. */
static pthread_mutex_t room_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t room_cond = PTHREAD_COND_INITIALIZER;
static int room_visited;

SCENE_FUNCTION room_waiter(void)
{
    pthread_mutex_lock(&room_mutex);
    room_visited = 1;
    pthread_cond_signal(&room_cond);
    pthread_mutex_unlock(&room_mutex);
}

SCENE_FUNCTION room_holder(void (*wait)(void), int n)
{
    pthread_mutex_lock(&room_mutex);
    start_waiters(wait, n);
    held_ns = hold();
    while (!room_visited)
        pthread_cond_wait(&room_cond, &room_mutex);
    pthread_mutex_unlock(&room_mutex);
}

/* The inner unlock of a recursive mutex lets nobody in. */
static pthread_mutex_t nested_mutex;

SCENE_FUNCTION nested_waiter(void)
{
    pthread_mutex_lock(&nested_mutex);
    pthread_mutex_unlock(&nested_mutex);
}

__attribute__((noinline)) static void nested_inner(void)
{
    pthread_mutex_unlock(&nested_mutex);
    __asm__ volatile(""); /* no jump out of here */
}

SCENE_FUNCTION nested_holder(void (*wait)(void), int n)
{
    pthread_mutex_lock(&nested_mutex);
    pthread_mutex_lock(&nested_mutex);
    start_waiters(wait, n);
    held_ns = hold();
    nested_inner();
    pthread_mutex_unlock(&nested_mutex);
}

/* Of two readers the last one lets the writer in. */
static pthread_rwlock_t shared_lock = PTHREAD_RWLOCK_INITIALIZER;

SCENE_FUNCTION shared_waiter(void)
{
    pthread_rwlock_wrlock(&shared_lock);
    pthread_rwlock_unlock(&shared_lock);
}

static void *brief_reader(void *arg)
{
    pthread_rwlock_rdlock(&shared_lock);
    pthread_rwlock_unlock(&shared_lock);
    return arg;
}

SCENE_FUNCTION shared_holder(void (*wait)(void), int n)
{
    pthread_t t;

    pthread_rwlock_rdlock(&shared_lock);
    start_waiters(wait, n);
    held_ns = hold();
    pthread_create(&t, NULL, brief_reader, NULL);
    pthread_join(t, NULL);
    pthread_rwlock_unlock(&shared_lock);
}

/* Who gives up has waited all the same. */
static pthread_mutex_t vain_mutex = PTHREAD_MUTEX_INITIALIZER;

SCENE_FUNCTION vain_waiter(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 20000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    if (pthread_mutex_timedlock(&vain_mutex, &t) == 0)
        abort();
}

SCENE_FUNCTION vain_holder(void (*wait)(void), int n)
{
    pthread_mutex_lock(&vain_mutex);
    for (int i = 0; i < n; i++) {
        waiters[i].wait = wait;
        pthread_create(&waiters[i].thread, NULL, waiting_thread, &waiters[i]);
    }
    held_ns = 20000000; /* at least */
    for (int i = 0; i < n; i++)
        while (!__atomic_load_n(&waiters[i].waited_ns, __ATOMIC_SEQ_CST))
            sched_yield();
    pthread_mutex_unlock(&vain_mutex);
}

static void lock_scenes(void)
{
    mutex_init(&nested_mutex, PTHREAD_MUTEX_RECURSIVE, 0, 0);
    mutex_scenes();
    SCENE(readers, readers, WAITERS);
    SCENE(writers, writers, 2);
    SCENE(writer, writer, 1);
    SCENE(room, room, 1);
    SCENE(nested, nested, 1);
    SCENE(shared, shared, 1);
    for (int i = 0; i < WAITERS; i++)
        waiters[i].waited_ns = 0;
    SCENE(vain, vain, 2);
}

/* --- other waits ------------------------------------------------------------------------------ */

static pthread_mutex_t cond_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int cond_go;
static sem_t sem;
static pthread_barrier_t barrier;
static pthread_t sleeper;

#define COND_SCENE(kind, clock, wait_call)      \
    SCENE_FUNCTION kind##_waiter(void)          \
    {                                           \
        struct timespec t = in_a_minute(clock); \
                                                \
        (void)t;                                \
        pthread_mutex_lock(&cond_mutex);        \
        while (!cond_go)                        \
            wait_call;                          \
        pthread_mutex_unlock(&cond_mutex);      \
    }

COND_SCENE(cond, CLOCK_REALTIME, pthread_cond_wait(&cond, &cond_mutex))
COND_SCENE(condtimed, CLOCK_REALTIME, pthread_cond_timedwait(&cond, &cond_mutex, &t))
COND_SCENE(condclock, CLOCK_MONOTONIC,
           pthread_cond_clockwait(&cond, &cond_mutex, CLOCK_MONOTONIC, &t))

SCENE_FUNCTION cond_holder(void (*wait)(void), int n)
{
    cond_go = 0;
    start_waiters(wait, n);
    held_ns = hold();
    pthread_mutex_lock(&cond_mutex);
    cond_go = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&cond_mutex);
}

SCENE_FUNCTION sem_waiter(void)
{
    sem_wait(&sem);
    __asm__ volatile("");
}

SCENE_FUNCTION semtimed_waiter(void)
{
    struct timespec t = in_a_minute(CLOCK_REALTIME);

    sem_timedwait(&sem, &t);
}

SCENE_FUNCTION semclock_waiter(void)
{
    struct timespec t = in_a_minute(CLOCK_MONOTONIC);

    sem_clockwait(&sem, CLOCK_MONOTONIC, &t);
}

SCENE_FUNCTION sem_holder(void (*wait)(void), int n)
{
    start_waiters(wait, n);
    held_ns = hold();
    for (int i = 0; i < n; i++)
        sem_post(&sem);
}

SCENE_FUNCTION barrier_waiter(void)
{
    pthread_barrier_wait(&barrier);
    __asm__ volatile("");
}

SCENE_FUNCTION barrier_holder(void (*wait)(void), int n)
{
    pthread_barrier_init(&barrier, NULL, (unsigned)n + 1);
    start_waiters(wait, n);
    held_ns = hold();
    pthread_barrier_wait(&barrier); /* the last one does not wait */
}

static void *sleep_on_sem(void *arg)
{
    sem_wait(&sem);
    return arg;
}

SCENE_FUNCTION join_waiter(void)
{
    pthread_join(sleeper, NULL);
    __asm__ volatile("");
}

SCENE_FUNCTION jointimed_waiter(void)
{
    struct timespec t = in_a_minute(CLOCK_REALTIME);

    pthread_timedjoin_np(sleeper, NULL, &t);
}

SCENE_FUNCTION join_holder(void (*wait)(void), int n)
{
    pthread_create(&sleeper, NULL, sleep_on_sem, NULL);
    start_waiters(wait, n);
    held_ns = hold();
    sem_post(&sem);
}

static void other_scenes(void)
{
    sem_init(&sem, 0, 0);
    SCENE(cond, cond, WAITERS);
    SCENE(cond, condtimed, 1);
    SCENE(cond, condclock, 1);
    SCENE(sem, sem, 2);
    SCENE(sem, semtimed, 1);
    SCENE(sem, semclock, 1);
    SCENE(barrier, barrier, 2);
    SCENE(join, join, 1);
    SCENE(join, jointimed, 1);
}

/* --- rates ------------------------------------------------------------------------------------ */

__attribute__((noinline)) static void feed(int64_t ns, int times)
{
    for (int i = 0; i < times; i++) {
        prof_block_record(ns, 0);
        prof_mutex_record(ns, 2, 0);
    }
    __asm__ volatile("");
}

#define FEEDER(ns)                                             \
    __attribute__((noinline)) static void feed_##ns(int times) \
    {                                                          \
        feed(ns, times);                                       \
        __asm__ volatile("");                                  \
    }
FEEDER(100)
FEEDER(10000)
FEEDER(1000000)
FEEDER(100000000)

static void feed_all(int times)
{
    feed_100(times);
    feed_10000(times);
    feed_1000000(times);
    feed_100000000(times);
}

static void rates(const char *folder)
{
    static const struct {
        int64_t block, mutex;
    } rate[] = { { 1, 1 }, { 1000, 10 }, { 1000000, 100 }, { 30000000, 3 } };
    char suffix[16];

    feed_all(100); /* off: nothing */
    write_profile(folder, "block", "-off");
    write_profile(folder, "mutex", "-off");
    for (int i = 0; i < 4; i++) {
        prof_set_block_rate(rate[i].block);
        prof_set_mutex_fraction(rate[i].mutex);
        snprintf(suffix, sizeof(suffix), "-%d-before", i);
        write_profile(folder, "block", suffix);
        write_profile(folder, "mutex", suffix);
        feed_all(200000);
        snprintf(suffix, sizeof(suffix), "-%d-after", i);
        write_profile(folder, "block", suffix);
        write_profile(folder, "mutex", suffix);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    if (strcmp(argv[1], "rates") == 0) {
        rates(argv[2]);
        return 0;
    }
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    lock_scenes();
    other_scenes();
    return write_profile(argv[2], "block", "") || write_profile(argv[2], "mutex", "");
}
