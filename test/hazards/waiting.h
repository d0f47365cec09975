/*
 * waiting.h - what the tests of calls that wait share: a second thread, and certainty that it
 * sleeps.
 *
 * They print what they see as lines that begin with "> ", to be compared with a run without libprof
 * (ways.py), and do everything with libprof's rates off, at 1, and at odd ones, where it is there.
 * Waits are made certain by looking in /proc whether the other thread sleeps; none by sleeping.
 */
#ifndef TEST_WAITING_H
#define TEST_WAITING_H

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static const char *part = "";

static const char *name_of(int r)
{
    static char number[16];

    switch (r) {
    case 0:
        return "0";
    case EBUSY:
        return "EBUSY";
    case EDEADLK:
        return "EDEADLK";
    case EINVAL:
        return "EINVAL";
    case EPERM:
        return "EPERM";
    case ETIMEDOUT:
        return "ETIMEDOUT";
    case EOWNERDEAD:
        return "EOWNERDEAD";
    case ENOTRECOVERABLE:
        return "ENOTRECOVERABLE";
    case EINTR:
        return "EINTR";
    case EAGAIN:
        return "EAGAIN";
    case 77:
        return "untouched";
    }
    snprintf(number, sizeof(number), "%d", r);
    return number;
}

/* The result of a call, and errno, which was 77 before it. */
#define SEE(call)                                               \
    do {                                                        \
        errno = 77;                                             \
        int see_r = (call), see_errno = errno;                  \
        printf("> %s: %s = %s, ", part, #call, name_of(see_r)); \
        printf("errno %s\n", name_of(see_errno));               \
    } while (0)

static inline struct timespec from_now(clockid_t clock, long ms)
{
    struct timespec t;

    clock_gettime(clock, &t);
    t.tv_nsec += ms % 1000 * 1000000;
    t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

__attribute__((unused)) static const struct timespec nonsense = { 1, 2000000000 };
#define SOON            &(struct timespec[]) { from_now(CLOCK_REALTIME, 5) }[0]
#define LATER           &(struct timespec[]) { from_now(CLOCK_REALTIME, 60000) }[0]
#define SOON_MONOTONIC  &(struct timespec[]) { from_now(CLOCK_MONOTONIC, 5) }[0]
#define LATER_MONOTONIC &(struct timespec[]) { from_now(CLOCK_MONOTONIC, 60000) }[0]

/* --- a second thread -------------------------------------------------------------------------- */

struct other {
    pthread_t thread;
    _Atomic int tid;
    int (*function)(void *arg);
    void *arg;
    int result, error;
};

static void *run_other(void *arg)
{
    struct other *o = arg;

    o->tid = (int)syscall(SYS_gettid);
    errno = 77;
    o->result = o->function(o->arg);
    o->error = errno;
    return o;
}

static inline void start(struct other *o, int (*function)(void *arg), void *arg)
{
    *o = (struct other) { .function = function, .arg = arg };
    pthread_create(&o->thread, NULL, run_other, o);
}

/* It sleeps on a futex. */
static inline void until_asleep(const struct other *o)
{
    char path[64], line[32];

    for (;;) {
        while (!o->tid)
            sched_yield();
        snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", o->tid);
        FILE *f = fopen(path, "r");
        bool asleep = f && fgets(line, sizeof(line), f) && strncmp(line, "202 ", 4) == 0;

        if (f)
            fclose(f);
        if (asleep)
            return;
        sched_yield();
    }
}

static inline void until_gone(const struct other *o)
{
    char path[64];

    while (!o->tid)
        sched_yield();
    snprintf(path, sizeof(path), "/proc/self/task/%d", o->tid);
    while (access(path, F_OK) == 0)
        sched_yield();
}

static inline void finish(struct other *o, const char *what)
{
    pthread_join(o->thread, NULL);
    printf("> %s: %s in another thread = %s, ", part, what, name_of(o->result));
    printf("errno %s\n", name_of(o->error));
}

/* A call in another thread that must wait until `release` has been done. */
#define SEE_WAIT(what, function, arg, release) \
    do {                                       \
        struct other see_o;                    \
                                               \
        start(&see_o, function, arg);          \
        until_asleep(&see_o);                  \
        release;                               \
        finish(&see_o, what);                  \
    } while (0)

static inline int in_other(int (*function)(void *arg), void *arg)
{
    struct other o;

    start(&o, function, arg);
    pthread_join(o.thread, NULL);
    return o.result;
}

static inline void mutex_make(pthread_mutex_t *m, int type, int robust, int protocol)
{
    pthread_mutexattr_t a;

    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, type);
    pthread_mutexattr_setrobust(&a, robust);
    pthread_mutexattr_setprotocol(&a, protocol);
    pthread_mutex_init(m, &a);
    pthread_mutexattr_destroy(&a);
}

/* Do it with libprof's rates off, at 1, and so that sampling takes part. Whoever runs us says
 * whether it is there: to ask dlsym() for what is missing is a hazard of its own. */
static inline void at_all_rates(bool watched, void (*function)(void))
{
    static const struct {
        int64_t block, mutex;
    } rates[] = { { 0, 0 }, { 1, 1 }, { 100000, 3 } };
    int64_t (*set_block)(int64_t) = NULL, (*set_mutex)(int64_t) = NULL;

    if (watched) {
        *(void **)&set_block = dlsym(RTLD_DEFAULT, "prof_set_block_rate");
        *(void **)&set_mutex = dlsym(RTLD_DEFAULT, "prof_set_mutex_fraction");
        CHECK(set_block && set_mutex, "libprof is there");
    }
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        if (set_block) {
            set_block(rates[i].block);
            set_mutex(rates[i].mutex);
        }
        function();
    }
}

#endif
