/*
 * guilty.c - an ordinary contended program that knows nothing of libprof: four threads use one
 * table, three of them briefly and one, in guilty(), for long. Runs until a line comes on stdin.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static long table[1024];
static _Atomic bool stop;
static _Atomic int rounds;

static void spend(long us)
{
    struct timespec t = { 0, us * 1000 };

    nanosleep(&t, NULL);
}

/* Its last act is an unlock, so a compiler makes a jump of it. */
__attribute__((noinline)) static void innocent(unsigned i)
{
    pthread_mutex_lock(&table_lock);
    table[i % 1024]++;
    pthread_mutex_unlock(&table_lock);
}

__attribute__((noinline)) static void guilty(void)
{
    pthread_mutex_lock(&table_lock);
    for (int i = 0; i < 1024; i++)
        table[i] /= 2;
    spend(2000);
    pthread_mutex_unlock(&table_lock);
}

static void *user(void *arg)
{
    for (unsigned i = 0; !stop; i++) {
        innocent(i);
        spend(100);
    }
    return arg;
}

static void *cleaner(void *arg)
{
    while (!stop) {
        guilty();
        rounds++;
        spend(500);
    }
    return arg;
}

int main(void)
{
    pthread_t t[4];

    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, i ? user : cleaner, NULL);
    while (rounds < 200)
        spend(1000);
    puts("ready");
    fflush(stdout);
    getchar();
    stop = true;
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    return 0;
}
