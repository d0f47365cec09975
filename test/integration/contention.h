/*
 * contention.h - scenes of waiting, for C, C11 and C++ drivers of contention.py.
 *
 * A scene is one function that keeps WAITERS threads waiting, and one that waits. The holder knows
 * that all sleep before it starts its own clock, so the truth has no race in it: everybody waited
 * at least as long as it held, and no longer than their own clocks say. Printed as
 *
 *     SCENE WAITERS HELD-NS WAITED-NS       WAITED-NS: sum over the waiters
 */
#ifndef TEST_CONTENTION_H
#define TEST_CONTENTION_H

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <prof/prof.h>

enum { WAITERS = 5, HOLD_MS = 100 };

static inline int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline struct timespec in_a_minute(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    t.tv_sec += 60;
    return t;
}

/* A function that is to be seen in stacks, though its last call may well be made a jump. */
#define SCENE_FUNCTION __attribute__((noinline)) static void

struct waiter {
    pthread_t thread;
    void (*wait)(void);
    volatile int tid;
    volatile int64_t waited_ns;
};

static struct waiter waiters[WAITERS];

static void *waiting_thread(void *arg)
{
    struct waiter *w = (struct waiter *)arg;
    int64_t start = now_ns();

    __atomic_store_n(&w->tid, (int)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    w->wait();
    w->waited_ns = now_ns() - start;
    return NULL;
}

/* Until it sleeps on a futex. */
static void until_asleep(const struct waiter *w)
{
    char path[64], line[4] = "";

    while (strncmp(line, "202", 3) != 0) {
        int tid = __atomic_load_n(&w->tid, __ATOMIC_SEQ_CST);

        snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
        int fd = tid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0 || read(fd, line, 3) != 3)
            line[0] = '\0';
        if (fd >= 0)
            close(fd);
        sched_yield();
    }
}

static void start_waiters(void (*wait)(void), int n)
{
    for (int i = 0; i < n; i++) {
        waiters[i].wait = wait;
        waiters[i].tid = 0;
        pthread_create(&waiters[i].thread, NULL, waiting_thread, &waiters[i]);
    }
    for (int i = 0; i < n; i++)
        until_asleep(&waiters[i]);
}

/* All of them sleep. Returns how long it has kept them so. */
static int64_t hold(void)
{
    int64_t start = now_ns();
    struct timespec t = { 0, HOLD_MS * 1000000 };

    while (nanosleep(&t, &t) != 0)
        ;
    return now_ns() - start;
}

static int64_t held_ns;

/* When the holder has returned. */
static void scene_end(const char *name, int n)
{
    int64_t waited = 0;

    for (int i = 0; i < n; i++) {
        pthread_join(waiters[i].thread, NULL);
        waited += waiters[i].waited_ns;
    }
    printf("%s %d %lld %lld\n", name, n, (long long)held_ns, (long long)waited);
}

/* HOLDER_holder() starts n threads that call SCENE_waiter(), holds, and lets them go. */
#define SCENE(holder, name, n)             \
    do {                                   \
        holder##_holder(name##_waiter, n); \
        scene_end(#name, n);               \
    } while (0)

static int write_profile(const char *folder, const char *name, const char *suffix)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s%s.pb.gz", folder, name, suffix);
    return prof_profile_write_file(prof_lookup(name), path, 0);
}

#endif
