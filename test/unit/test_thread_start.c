/*
 * test_thread_start.c - a thread's function is told as libc has it, or not at all.
 */
#include "base/thread_start.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/task.h"
#include "check.h"

static atomic_int tid, leave;

static void stay(void)
{
    atomic_store(&tid, prof__gettid());
    while (!atomic_load(&leave))
        usleep(1000);
}

static void *one(void *arg)
{
    stay();
    return arg;
}

static void *other(void *arg)
{
    stay();
    return arg;
}

/* Has a list of its own, as far as the kernel knows; for this it must hold no robust mutex. */
static void *with_another_list(void *arg)
{
    struct robust_list_head head[2], *before;
    size_t size;

    memset(head, 0, sizeof(head));
    head[1].list.next = &head[1].list;
    syscall(SYS_get_robust_list, 0, &before, &size);
    syscall(SYS_set_robust_list, &head[1], sizeof(head[1]));
    stay();
    syscall(SYS_set_robust_list, before, size);
    return arg;
}

static void *teach(void *arg)
{
    prof__thread_start_learn((uintptr_t)teach, (uintptr_t)arg);
    return NULL;
}

static uintptr_t start_of(void *(*function)(void *))
{
    pthread_t t;

    atomic_store(&tid, 0);
    atomic_store(&leave, 0);
    pthread_create(&t, NULL, function, NULL);
    while (!atomic_load(&tid))
        usleep(1000);
    uintptr_t start = prof__thread_start_of(atomic_load(&tid));
    atomic_store(&leave, 1);
    pthread_join(t, NULL);
    return start;
}

int main(void)
{
    int something;
    pthread_t t;

    CHECK(start_of(one) == 0, "before anything is known");
    prof__thread_start_learn((uintptr_t)main, 12345);
    CHECK(start_of(one) == 0, "learnt from a thread that did not begin so");
    pthread_create(&t, NULL, teach, &something);
    pthread_join(t, NULL);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* begin threads themselves */
    CHECK(start_of(one) == (uintptr_t)one, "one");
    CHECK(start_of(other) == (uintptr_t)other, "other");
#endif
    CHECK(start_of(with_another_list) == 0, "a thread whose list is not libc's");
    CHECK(prof__thread_start_of(getpid()) == 0, "the main thread");
    CHECK(prof__thread_start_of(atomic_load(&tid)) == 0, "a thread that is no more");
    return check_report();
}
