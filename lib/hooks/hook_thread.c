/*
 * hook_thread.c - pthread_create() and thrd_create(): who makes threads, and what new ones inherit.
 *
 * As a rule the real function is called with what the program gave, so the new thread's stack looks
 * as it always does. When the new thread has something to take over (collect_thread.h says when),
 * it starts in a function of ours, which ends in a jump to the program's, so even then no frame of
 * ours stays. What the two need to agree on travels in a block of the real malloc's; without memory
 * for it the thread starts the ordinary way and takes over nothing. Context: normal.
 */
#include <errno.h>
#include <pthread.h>
#include <threads.h>

#include "base/thread.h"
#include "hooks/real.h"
#include "record/collect_thread.h"

struct start {
    union {
        void *(*posix)(void *arg);
        int (*iso)(void *arg);
    } function;
    void *arg;
    struct prof__thread_heritage from;
};

static struct start *start_new(void *arg)
{
    int saved = errno;
    struct prof__thread_heritage from;
    struct start *s = NULL;

    if (prof__thread_wants_start(&from))
        s = prof__real.malloc(sizeof(*s));
    errno = saved;
    if (s) {
        s->arg = arg;
        s->from = from;
    }
    return s;
}

static struct start start_take(void *arg)
{
    struct start s = *(struct start *)arg;

    prof__real.free(arg);
    prof__thread_started(s.from, (uintptr_t)s.function.posix);
    return s;
}

static void *start_posix(void *arg)
{
    struct start s = start_take(arg);

    return s.function.posix(s.arg);
}

static int start_iso(void *arg)
{
    struct start s = start_take(arg);

    return s.function.iso(s.arg);
}

PROF_SHARED int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                               void *(*function)(void *arg), void *arg)
{
    struct start *s = start_new(arg);
    int r;

    if (s) {
        s->function.posix = function;
        r = prof__real.pthread_create(thread, attr, start_posix, s);
    } else {
        r = prof__real.pthread_create(thread, attr, function, arg);
    }
    int saved = errno;
    if (r == 0)
        prof__thread_created(__builtin_return_address(0));
    else if (s)
        prof__real.free(s);
    errno = saved;
    return r;
}

PROF_SHARED int thrd_create(thrd_t *thread, thrd_start_t function, void *arg)
{
    struct start *s = start_new(arg);
    int r;

    if (s) {
        s->function.iso = function;
        r = prof__real.thrd_create(thread, start_iso, s);
    } else {
        r = prof__real.thrd_create(thread, function, arg);
    }
    int saved = errno;
    if (r == thrd_success)
        prof__thread_created(__builtin_return_address(0));
    else if (s)
        prof__real.free(s);
    errno = saved;
    return r;
}
