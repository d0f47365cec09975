/*
 * contention_c11.c - scenes of waiting with C11's threads.h; see contention.c.
 */
#include "contention.h"

#include <semaphore.h>
#include <threads.h>

static mtx_t mtx_mutex, mtxtimed_mutex, cnd_mutex;
static cnd_t cnd;
static sem_t sem;
static int go;
static thrd_t sleeper;

SCENE_FUNCTION mtx_waiter(void)
{
    mtx_lock(&mtx_mutex);
    mtx_unlock(&mtx_mutex);
}

SCENE_FUNCTION mtx_holder(void (*wait)(void), int n)
{
    mtx_lock(&mtx_mutex);
    start_waiters(wait, n);
    held_ns = hold();
    mtx_unlock(&mtx_mutex);
}

SCENE_FUNCTION mtxtimed_waiter(void)
{
    struct timespec t = in_a_minute(CLOCK_REALTIME);

    mtx_timedlock(&mtxtimed_mutex, &t);
    mtx_unlock(&mtxtimed_mutex);
}

SCENE_FUNCTION mtxtimed_holder(void (*wait)(void), int n)
{
    mtx_lock(&mtxtimed_mutex);
    start_waiters(wait, n);
    held_ns = hold();
    mtx_unlock(&mtxtimed_mutex);
}

SCENE_FUNCTION cnd_waiter(void)
{
    mtx_lock(&cnd_mutex);
    while (!go)
        cnd_wait(&cnd, &cnd_mutex);
    mtx_unlock(&cnd_mutex);
}

SCENE_FUNCTION cndtimed_waiter(void)
{
    struct timespec t = in_a_minute(CLOCK_REALTIME);

    mtx_lock(&cnd_mutex);
    while (!go)
        cnd_timedwait(&cnd, &cnd_mutex, &t);
    mtx_unlock(&cnd_mutex);
}

SCENE_FUNCTION cnd_holder(void (*wait)(void), int n)
{
    go = 0;
    start_waiters(wait, n);
    held_ns = hold();
    mtx_lock(&cnd_mutex);
    go = 1;
    cnd_broadcast(&cnd);
    mtx_unlock(&cnd_mutex);
}

static int sleep_on_sem(void *arg)
{
    (void)arg;
    return sem_wait(&sem);
}

SCENE_FUNCTION thrd_waiter(void)
{
    thrd_join(sleeper, NULL);
    __asm__ volatile("");
}

SCENE_FUNCTION thrd_holder(void (*wait)(void), int n)
{
    thrd_create(&sleeper, sleep_on_sem, NULL);
    start_waiters(wait, n);
    held_ns = hold();
    sem_post(&sem);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    mtx_init(&mtx_mutex, mtx_plain);
    mtx_init(&mtxtimed_mutex, mtx_timed);
    mtx_init(&cnd_mutex, mtx_plain);
    cnd_init(&cnd);
    sem_init(&sem, 0, 0);
    SCENE(mtx, mtx, WAITERS);
    SCENE(mtxtimed, mtxtimed, 1);
    SCENE(cnd, cnd, WAITERS);
    SCENE(cnd, cndtimed, 1);
    SCENE(thrd, thrd, 1);
    return write_profile(argv[2], "block", "") || write_profile(argv[2], "mutex", "");
}
