/*
 * stuck.c - a service with a deadlock: two threads that lock two mutexes in opposite orders, two
 * that wait for their work with the same stack, and one with a label.
 *
 *   stuck           with the deadlock
 *   stuck sound     without
 *
 * Prints where it serves when all of them wait, and ends with its standard input.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <prof/http.h>
#include <prof/prof.h>

static pthread_mutex_t accounts = PTHREAD_MUTEX_INITIALIZER, audit = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both_locked;
static sem_t work;

__attribute__((noinline)) static void transfer(pthread_mutex_t *first, pthread_mutex_t *second)
{
    pthread_mutex_lock(first);
    pthread_barrier_wait(&both_locked);
    pthread_mutex_lock(second);
    abort();
}

static void *pay(void *unused)
{
    pthread_setname_np(pthread_self(), "payer");
    transfer(&accounts, &audit);
    return unused;
}

static void *check(void *unused)
{
    pthread_setname_np(pthread_self(), "auditor");
    transfer(&audit, &accounts);
    return unused;
}

__attribute__((noinline)) static void wait_for_work(void)
{
    while (sem_wait(&work) == 0)
        ;
}

static void *serve(void *label)
{
    pthread_setname_np(pthread_self(), "server");
    if (label)
        prof_labels_push("queue", label);
    wait_for_work();
    return label;
}

/* Until that many threads are told to be in deadlocks. */
static void await(int dead)
{
    for (int tries = 0; tries < 3000 && prof_deadlocks(NULL, 0) != dead; tries++)
        usleep(10000);
}

int main(int argc, char **argv)
{
    bool sound = argc > 1 && strcmp(argv[1], "sound") == 0;
    pthread_t t;
    char bound[256];

    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    if (prof_http_start("127.0.0.1:0") < 0 || prof_http_address(bound, sizeof(bound)) < 0) {
        fprintf(stderr, "cannot serve: %s\n", prof_last_error());
        return 1;
    }
    sem_init(&work, 0, 0);
    pthread_barrier_init(&both_locked, NULL, 2);
    pthread_create(&t, NULL, serve, NULL);
    pthread_create(&t, NULL, serve, NULL);
    pthread_create(&t, NULL, serve, "mail");
    if (!sound) {
        pthread_create(&t, NULL, pay, NULL);
        pthread_create(&t, NULL, check, NULL);
    }
    await(sound ? 0 : 2);
    printf("serving on %s\n", bound);
    fflush(stdout);
    while (read(STDIN_FILENO, bound, sizeof(bound)) > 0)
        ;
    _exit(0);
}
