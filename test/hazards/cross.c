/*
 * cross.c - hooks of malloc and of locks inside each other, with everything recorded.
 *
 * Threads allocate with a lock held, hand a turn round a ring of condition variables, and use each
 * kind of lock there is. Each thread adds up what it waited for locks; the block profile has to say
 * the same, since all it counts lies inside what the threads measured. The mutex profile must have
 * charged it. Nothing of libprof may be seen to allocate, lock or wait.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"
#include <prof/prof.h>

enum { THREADS = 4, HOLD_US = 300 };

static pthread_mutex_t locks[5];
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t ring_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ring_cond[THREADS];
static int ring_turn;
static void *pool[64];
static _Atomic int64_t waited;
static unsigned rounds;

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void hold(void)
{
    struct timespec t = { 0, HOLD_US * 1000 };

    nanosleep(&t, NULL);
}

#define WAITING(call)               \
    do {                            \
        int64_t start = now_ns();   \
        int waiting_r = call;       \
                                    \
        waited += now_ns() - start; \
        if (waiting_r != 0)         \
            abort();                \
    } while (0)

__attribute__((noinline)) static void use_pool(unsigned i)
{
    WAITING(pthread_mutex_lock(&locks[0]));
    free(pool[i % 64]);
    pool[i % 64] = malloc(100 + i);
    hold();
    pthread_mutex_unlock(&locks[0]);
}

__attribute__((noinline)) static void use_locks(int k)
{
    struct timespec t;

    WAITING(pthread_mutex_lock(&locks[k]));
    if (k == 1) {
        WAITING(pthread_mutex_lock(&locks[k]));
        pthread_mutex_unlock(&locks[k]);
    }
    free(malloc(1000));
    hold();
    pthread_mutex_unlock(&locks[k]);
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += 60;
    WAITING(pthread_mutex_timedlock(&locks[k], &t));
    pthread_mutex_unlock(&locks[k]);
}

__attribute__((noinline)) static void use_rwlock(unsigned i)
{
    if (i % 4 == 0)
        WAITING(pthread_rwlock_wrlock(&rwlock));
    else
        WAITING(pthread_rwlock_rdlock(&rwlock));
    hold();
    pthread_rwlock_unlock(&rwlock);
}

__attribute__((noinline)) static void go_round(int me)
{
    pthread_mutex_lock(&ring_mutex);
    while (ring_turn != me)
        pthread_cond_wait(&ring_cond[me], &ring_mutex);
    ring_turn = (me + 1) % THREADS;
    free(realloc(malloc(10), 20));
    pthread_cond_signal(&ring_cond[ring_turn]);
    pthread_mutex_unlock(&ring_mutex);
}

static void *work(void *arg)
{
    int me = (int)(intptr_t)arg;

    for (unsigned i = 0; i < rounds; i++) {
        use_pool(i * THREADS + (unsigned)me);
        use_locks(1 + (int)i % 4);
        use_rwlock(i + (unsigned)me);
        go_round(me);
    }
    return NULL;
}

/* --- what the profiles say -------------------------------------------------------------------- */

static char text[8 << 20];
static size_t text_size;

static int sink(void *arg, const void *data, size_t size)
{
    (void)arg;
    if (size > sizeof(text) - 1 - text_size)
        return -ENOSPC;
    memcpy(text + text_size, data, size);
    text_size += size;
    text[text_size] = '\0';
    return 0;
}

/* Those of libprof and the unwinder. Nobody waits in pthread_*() and the loader's either, but these
 * allocate for a new thread. */
/* A sanitizer's interceptors are called as what they stand before, and are in nobody's library. */
#ifdef __SANITIZE_ADDRESS__
enum { IS_INTERCEPTED = true };
#else
enum { IS_INTERCEPTED = false };
#endif

static bool is_ours(const char *function, bool waiting)
{
    static const char *const prefix[] = { "prof_", "_Ux86_64", "unw_", "pthread_", "_dl_" };

    for (size_t i = 0; i < (waiting && !IS_INTERCEPTED ? 5 : 3); i++)
        if (strncmp(function, prefix[i], strlen(prefix[i])) == 0)
            return true;
    return false;
}

/* Nanoseconds of all stacks of the functions above, but the ring; 0 for heap. */
static int64_t read_profile(const char *name)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    bool innermost = false, waiting = strcmp(name, "heap") != 0;
    long long ns = 0, sum = 0;
    int rows = 0;

    o.debug = 1;
    text_size = 0;
    CHECK_INT(prof_profile_write(prof_lookup(name), &o, sink, NULL), 0, name);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        long long count;
        char function[256];

        if (strstr(line, " @ ")) {
            if (sscanf(line, "%lld %lld @", &ns, &count) != 2)
                ns = 0;
            innermost = true;
            rows++;
        } else if (sscanf(line, "#\t0x%*s\t%255s", function) == 1) {
            CHECK(!innermost || !is_ours(function, waiting), "a stack of %s ends in %s", name,
                  function);
            innermost = false;
            if (strncmp(function, "use_", 4) == 0) {
                sum += ns;
                ns = 0; /* once for each stack */
            }
        }
    }
    CHECK(rows > 0, "%s is empty", name);
    return sum;
}

int main(void)
{
    static const int types[] = { PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
                                 PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP,
                                 PTHREAD_MUTEX_NORMAL };
    pthread_mutexattr_t a;
    pthread_t t[THREADS];

    alarm((unsigned)long_run(200, 900));
    rounds = (unsigned)long_run(400, 6000);
    for (int i = 0; i < 5; i++) {
        pthread_mutexattr_init(&a);
        pthread_mutexattr_settype(&a, types[i]);
        pthread_mutexattr_setrobust(&a, i == 4 ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
        pthread_mutex_init(&locks[i], &a);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_cond_init(&ring_cond[i], NULL);
    prof_set_heap_rate(1);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, work, (void *)(intptr_t)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    prof_set_block_rate(0);
    prof_set_mutex_fraction(0);

    int64_t block = read_profile("block"), mutex = read_profile("mutex");
    read_profile("heap");
    CHECK(block <= waited && block >= waited / 10 * 8, "block says %lld of %lld", (long long)block,
          (long long)waited);
    CHECK(mutex <= waited / 10 * 11 && mutex >= waited / 10 * 8, "mutex says %lld of %lld",
          (long long)mutex, (long long)waited);
    MEASURED("waited %.2f s, block says %.2f, mutex %.2f", (double)waited / 1e9,
             (double)block / 1e9, (double)mutex / 1e9);
    return check_report();
}
