/*
 * test_slot.c - a slot for each thread that wants one, and nothing half-made for a fork to meet.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slot.h"
#include "base/task.h"
#include "check.h"

enum { THREADS = 1000, FORKS = 200 };

static _Atomic int keys_made;

int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    int (*real)(pthread_key_t *, void (*)(void *));

    *(void **)&real = dlsym(RTLD_NEXT, "pthread_key_create");
    atomic_fetch_add(&keys_made, 1);
    return real(key, destructor);
}

static pthread_barrier_t all_there;
static struct prof__slot *slot_of_thread[THREADS];

static void *take_one(void *arg)
{
    struct prof__slot **slot = arg;

    *slot = prof__slot_mine();
    CHECK(*slot == prof__slot_mine(), "it stays the same");
    CHECK(prof__slot_of(prof__gettid()) == *slot, "found by thread id");
    pthread_barrier_wait(&all_there);
    return NULL;
}

static void test_each_thread_has_its_own(void)
{
    static pthread_t thread[THREADS];
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    for (int round = 0; round < 2; round++) { /* the second in what the first has given back */
        pthread_barrier_init(&all_there, NULL, THREADS + 1);
        for (size_t i = 0; i < THREADS; i++)
            CHECK(pthread_create(&thread[i], &attr, take_one, &slot_of_thread[i]) == 0, "thread");
        pthread_barrier_wait(&all_there);
        for (size_t i = 0; i < THREADS; i++)
            for (size_t k = 0; k < i; k++)
                if (!slot_of_thread[i] || slot_of_thread[i] == slot_of_thread[k])
                    CHECK(0, "threads %zu and %zu share one", i, k);
        for (size_t i = 0; i < THREADS; i++)
            pthread_join(thread[i], NULL);
    }
}

static _Atomic int stop;

static void *come_and_go(void *arg)
{
    pthread_t t;

    while (!stop)
        if (pthread_create(&t, NULL, (void *(*)(void *))(void (*)(void))prof__slot_mine, NULL) == 0)
            pthread_join(t, NULL);
    return arg;
}

static void test_fork_meets_nothing_half_made(void)
{
    pthread_t busy;

    pthread_create(&busy, NULL, come_and_go, NULL);
    for (int i = 0; i < FORKS; i++) {
        int status = -1;
        pid_t child = fork();

        if (child == 0) {
            alarm(60); /* a child that waits for a thread it does not have */
            struct prof__slot *mine = prof__slot_mine();
            _exit(!mine || prof__slot_of(prof__gettid()) != mine);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0, "child %d: status %x", i, status);
    }
    stop = 1;
    pthread_join(busy, NULL);
}

int main(void)
{
    int at_start = keys_made;

    CHECK(at_start > 0, "the key is made when libprof is loaded");
    test_each_thread_has_its_own();
    test_fork_meets_nothing_half_made();
    CHECK_INT(keys_made, at_start, "keys made, and none later");
    return check_report();
}
