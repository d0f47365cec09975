/*
 * lock_vanishes.c - who unlocks last frees the object, lock and all, while the one before is still
 * on its way out of its own unlock.
 *
 * glibc promises that this works: an unlock does not touch the lock once another can have it. Each
 * object is a page of its own that is unmapped at once, so a late look at it ends the program. The
 * same for what else can be destroyed by whoever it woke.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"
#include <prof/prof.h>

static long rounds;

struct object {
    union {
        pthread_mutex_t mutex;
        pthread_rwlock_t rwlock;
        sem_t sem;
        pthread_barrier_t barrier;
        struct {
            pthread_mutex_t mutex;
            pthread_cond_t cond;
        } room;
    };
    int owners;
};

struct kind {
    const char *name;
    void (*make)(struct object *o);
    void (*first)(struct object *o);  /* gets there first, and keeps the second waiting */
    bool (*second)(struct object *o); /* true: was the last, so the object can go */
};

static _Atomic(struct object *) shared;
static _Atomic int turn; /* the second thread may go */
static _Atomic long rounds_done;
static const struct kind *kind;

static void *new_page(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        abort();
    return p;
}

/* Keep what we hold until the other thread has most likely gone to sleep on it. */
static void let_it_wait(void)
{
    turn = 1;
    for (int i = 0; i < 4; i++)
        sched_yield();
    for (volatile int i = 0; i < 3000; i++)
        ;
}

static void mutex_make(struct object *o)
{
    pthread_mutex_init(&o->mutex, NULL);
}

static void mutex_first(struct object *o)
{
    pthread_mutex_lock(&o->mutex);
    let_it_wait();
    o->owners--;
    pthread_mutex_unlock(&o->mutex);
}

static bool mutex_second(struct object *o)
{
    pthread_mutex_lock(&o->mutex);
    bool last = --o->owners == 0;
    pthread_mutex_unlock(&o->mutex);
    return last;
}

static void rwlock_make(struct object *o)
{
    pthread_rwlock_init(&o->rwlock, NULL);
}

static void rwlock_first(struct object *o)
{
    pthread_rwlock_wrlock(&o->rwlock);
    let_it_wait();
    o->owners--;
    pthread_rwlock_unlock(&o->rwlock);
}

static bool rwlock_second(struct object *o)
{
    pthread_rwlock_wrlock(&o->rwlock);
    bool last = --o->owners == 0;
    pthread_rwlock_unlock(&o->rwlock);
    return last;
}

static void sem_make(struct object *o)
{
    sem_init(&o->sem, 0, 0);
}

static void sem_first(struct object *o)
{
    let_it_wait();
    sem_post(&o->sem);
}

static bool sem_second(struct object *o)
{
    sem_wait(&o->sem);
    return true;
}

static void room_make(struct object *o)
{
    pthread_mutex_init(&o->room.mutex, NULL);
    pthread_cond_init(&o->room.cond, NULL);
}

static void room_first(struct object *o)
{
    let_it_wait();
    pthread_mutex_lock(&o->room.mutex);
    o->owners--;
    pthread_cond_signal(&o->room.cond);
    pthread_mutex_unlock(&o->room.mutex);
}

static bool room_second(struct object *o)
{
    pthread_mutex_lock(&o->room.mutex);
    while (o->owners > 1)
        pthread_cond_wait(&o->room.cond, &o->room.mutex);
    pthread_mutex_unlock(&o->room.mutex);
    pthread_cond_destroy(&o->room.cond);
    pthread_mutex_destroy(&o->room.mutex);
    return true;
}

static void barrier_make(struct object *o)
{
    pthread_barrier_init(&o->barrier, NULL, 2);
}

static void barrier_first(struct object *o)
{
    let_it_wait();
    pthread_barrier_wait(&o->barrier);
}

static bool barrier_second(struct object *o)
{
    pthread_barrier_wait(&o->barrier);
    pthread_barrier_destroy(&o->barrier); /* which waits until all have left */
    return true;
}

static const struct kind kinds[] = {
    { "mutex", mutex_make, mutex_first, mutex_second },
    { "read/write lock", rwlock_make, rwlock_first, rwlock_second },
    { "semaphore", sem_make, sem_first, sem_second },
    { "condition", room_make, room_first, room_second },
    { "barrier", barrier_make, barrier_first, barrier_second },
};

static void *second_thread(void *arg)
{
    (void)arg;
    for (long i = 0; i < rounds; i++) {
        while (!turn)
            sched_yield();
        turn = 0;
        struct object *o = shared;

        if (kind->second(o))
            munmap(o, 4096);
        rounds_done++;
    }
    return NULL;
}

static void vanish(const struct kind *k)
{
    pthread_t t;

    kind = k;
    rounds_done = 0;
    pthread_create(&t, NULL, second_thread, NULL);
    for (long i = 0; i < rounds; i++) {
        struct object *o = new_page();

        k->make(o);
        o->owners = 2;
        shared = o;
        k->first(o);
        while (rounds_done <= i)
            sched_yield();
    }
    pthread_join(t, NULL);
    CHECK_INT(rounds_done, rounds, k->name);
}

int main(void)
{
    alarm((unsigned)long_run(100, 900));
    rounds = long_run(4000, 60000);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        vanish(&kinds[i]);
    CHECK(prof_profile_count(prof_lookup("block")) > 0, "waits were seen");
    CHECK(prof_profile_count(prof_lookup("mutex")) > 0, "so were those who caused them");
    return check_report();
}
