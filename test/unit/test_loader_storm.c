/*
 * test_loader_storm.c - walks while libraries come and go: no deadlock, and no rule of a library
 * that has gone used for the one now in its place.
 *
 *   test_loader_storm LIBRARY...
 *
 * Two threads load a library, call into it, walk there and unload it. One iterates over the loaded
 * objects and walks inside the callback, with the loader's lock held. One throws exceptions. All
 * are interrupted every millisecond by a timer of their own, whose handler walks too.
 */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "unwind/stack.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { LOADS = 5000, DEPTH = 6, LOADERS = 2, HANG_S = 120 };

int storm_throw(int depth);

static char **libraries;
static int n_libraries;
static _Atomic int loading = LOADERS;
static _Atomic unsigned walks, wrong, loads, iterations, throws, samples;

static void count(_Atomic unsigned *n)
{
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* --- interrupting ----------------------------------------------------------------------------- */

static void on_timer(int sig, siginfo_t *info, void *context)
{
    uintptr_t pcs[PROF__STACK_MAX];
    prof__stack_interrupted(context, pcs, PROF__STACK_MAX);

    count(&samples);
}

static timer_t start_timer(void)
{
    struct itimerspec every = { { 0, 1000000 }, { 0, 1000000 } };
    struct sigevent event;
    timer_t timer;

    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGPROF;
    event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        abort();
    timer_settime(timer, 0, &every, NULL);
    return timer;
}

/* --- work ------------------------------------------------------------------------------------- */

static __thread size_t full_depth; /* of this thread's walks, once one has been taken */

__attribute__((noinline)) static void walk(void)
{
    uintptr_t pcs[PROF__STACK_MAX];
    size_t n = prof__stack_here(__builtin_return_address(0), pcs, PROF__STACK_MAX);

    count(&walks);
#ifdef PROF__NO_FIND_OBJECT
    /* The list of objects may be a moment late, which is another thing than wrong. */
    if (pcs[n - 1] == PROF__PC_NO_INFO)
        return;
#endif
    if (full_depth == 0)
        full_depth = n;
    if (n != full_depth || prof__pc_is_pseudo(pcs[n - 1]))
        count(&wrong);
}

static void *load(void *arg)
{
    timer_t timer = start_timer();
    uintptr_t me = (uintptr_t)arg;

    for (unsigned i = 0; i < LOADS; i++) {
        void *lib = dlopen(libraries[(i + me) % (unsigned)n_libraries], RTLD_NOW);
        int (*call)(int, void (*)(void)) = NULL;

        if (lib)
            *(void **)&call = dlsym(lib, "storm_call");
        if (!call) {
            count(&wrong);
            break;
        }
        prof__stack_code_loaded();
        call(DEPTH, walk);
        dlclose(lib);
        /* As the hook does. Without it, half of the time, the identity of the object must do. */
        if (i % 2)
            prof__stack_code_unloaded();
        else
            prof__stack_code_loaded();
        count(&loads);
    }
    timer_delete(timer);
    atomic_fetch_sub(&loading, 1);
    return NULL;
}

static int on_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    void *p = malloc(100);

    walk();
    free(p);
    return 0;
}

static void *iterate(void *arg)
{
    timer_t timer = start_timer();

    while (atomic_load(&loading) > 0) {
        dl_iterate_phdr(on_object, NULL);
        count(&iterations);
    }
    timer_delete(timer);
    return NULL;
}

static void *throw_and_catch(void *arg)
{
    timer_t timer = start_timer();

    while (atomic_load(&loading) > 0) {
        if (storm_throw(5) != 6)
            count(&wrong);
        count(&throws);
    }
    timer_delete(timer);
    return NULL;
}

static void on_alarm(int sig)
{
    static const char text[] = "hangs\n0 passed, 1 failed\n";

    if (write(1, text, sizeof(text) - 1) < 0)
        _exit(2);
    _exit(1);
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART };
    pthread_t threads[LOADERS + 2];

    libraries = argv + 1;
    n_libraries = argc - 1;
    if (n_libraries < 2)
        return 2;
    signal(SIGALRM, on_alarm);
    alarm(HANG_S);
    prof__stack_init();
    sigaction(SIGPROF, &action, NULL);
    for (uintptr_t i = 0; i < LOADERS; i++)
        pthread_create(&threads[i], NULL, load, (void *)i);
    pthread_create(&threads[LOADERS], NULL, iterate, NULL);
    pthread_create(&threads[LOADERS + 1], NULL, throw_and_catch, NULL);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);

    printf("%u loads, %u iterations, %u throws, %u walks, %u samples\n", loads, iterations, throws,
           walks, samples);
    CHECK_INT(loads, LOADS * LOADERS, "loads");
    CHECK_INT(wrong, 0, "walks that did not reach the end");
    CHECK(iterations > 0 && throws > 0 && samples > 0, "all have got on");
    return check_report();
}
