/*
 * lock_bench.c - nanoseconds for a lock+unlock pair; knows nothing of libprof.
 *
 *   lock_bench PATTERN PAIRS
 *
 * mutex, rdlock, wrlock, c11: one thread, nobody else about. many: the same over 1,024 mutexes.
 * contended: two threads and one mutex, some 100 ns inside it and as much outside; wall time for a
 * pair of either. Prints one number.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static mtx_t mtx;
static pthread_mutex_t many[1024];
static volatile uint64_t shared;

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void work(int n)
{
    for (volatile int i = 0; i < n; i++)
        ;
}

static void *contend(void *arg)
{
    for (long n = *(long *)arg; n > 0; n--) {
        pthread_mutex_lock(&mutex);
        shared++;
        work(50);
        pthread_mutex_unlock(&mutex);
        work(50);
    }
    return NULL;
}

static int run(const char *pattern, long n)
{
    if (strcmp(pattern, "mutex") == 0) {
        for (long i = 0; i < n; i++) {
            pthread_mutex_lock(&mutex);
            pthread_mutex_unlock(&mutex);
        }
    } else if (strcmp(pattern, "rdlock") == 0) {
        for (long i = 0; i < n; i++) {
            pthread_rwlock_rdlock(&rwlock);
            pthread_rwlock_unlock(&rwlock);
        }
    } else if (strcmp(pattern, "wrlock") == 0) {
        for (long i = 0; i < n; i++) {
            pthread_rwlock_wrlock(&rwlock);
            pthread_rwlock_unlock(&rwlock);
        }
    } else if (strcmp(pattern, "c11") == 0) {
        for (long i = 0; i < n; i++) {
            mtx_lock(&mtx);
            mtx_unlock(&mtx);
        }
    } else if (strcmp(pattern, "many") == 0) {
        for (long i = 0; i < n; i++) {
            pthread_mutex_t *m = &many[(uint64_t)i * 0x9e3779b97f4a7c15u >> 54];

            pthread_mutex_lock(m);
            pthread_mutex_unlock(m);
        }
    } else if (strcmp(pattern, "contended") == 0) {
        pthread_t t;
        long half = n / 2;

        pthread_create(&t, NULL, contend, &half);
        contend(&half);
        pthread_join(t, NULL);
    } else {
        return -1;
    }
    return 0;
}

static void *nothing(void *arg)
{
    return arg;
}

int main(int argc, char **argv)
{
    long pairs = argc == 3 ? atol(argv[2]) : 0;
    pthread_t t;

    mtx_init(&mtx, mtx_plain);
    for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++)
        pthread_mutex_init(&many[i], NULL);
    pthread_create(&t, NULL, nothing, NULL); /* so that glibc takes no short cuts */
    pthread_join(t, NULL);
    if (pairs < 1 || run(argv[1], pairs / 20) < 0) {
        fprintf(stderr, "usage: lock_bench mutex|rdlock|wrlock|c11|many|contended PAIRS\n");
        return 2;
    }
    double start = now_ns();
    run(argv[1], pairs);
    printf("%.3f\n", (now_ns() - start) / (double)pairs);
    return 0;
}
