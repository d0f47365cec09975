/*
 * trace_storm.c - traces begin, are written and end, by several threads and beside the flight
 * recorder, while the program does what is worst for that: threads come and go, locks are fought
 * for, it forks, in whose children a trace is taken too, handlers write in the middle of records,
 * and libraries with code on the stacks go. And it has 2,000 threads at once.
 *
 * Class: what is kept for each thread outlives it, or is found by another process.
 */
#include <dlfcn.h>
#include <errno.h>
#include <prof/trace.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"

static _Atomic bool stop;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static _Atomic long written, bytes;

static int count(void *arg, const void *data, size_t size)
{
    (void)data;
    free(malloc(64)); /* as a program's sink may */
    *(size_t *)arg += size;
    return 0;
}

static int write_one(const char *format)
{
    struct prof_trace_options o = PROF_TRACE_OPTIONS_INIT;
    struct prof_trace *t;
    size_t size = 0;

    o.format = format;
    o.gzip = format == NULL;
    o.no_cpu = 1;
    o.io = format == NULL;
    o.min_wait_ns = -1;
    int r = prof_trace_start(&o, &t);
    if (r < 0)
        return r;
    usleep(2000);
    r = prof_trace_write(t, count, &size);
    prof_trace_stop(t);
    if (r == 0) {
        atomic_fetch_add(&written, 1);
        atomic_fetch_add(&bytes, (long)size);
    }
    return r;
}

static void *tracer(void *arg)
{
    size_t size;

    while (!atomic_load(&stop)) {
        int r = write_one(arg ? "json" : NULL);
        CHECK(r == 0, "a trace: %d, %s", r, prof_last_error());
        size = 0;
        r = prof_trace_snapshot(NULL, count, &size);
        CHECK(r == 0 && size > 100, "a snapshot: %d, %s", r, prof_last_error());
    }
    return NULL;
}

static void on_signal(int number)
{
    int saved = errno;

    (void)number;
    prof_region_begin("handler");
    prof_trace_log("a line from a handler, longer than one record holds");
    prof_region_end("handler");
    errno = saved;
}

static void *brief(void *arg)
{
    prof_region_begin("brief");
    sem_post(&sem);
    return arg; /* the region is never ended */
}

static void *worker(void *arg)
{
    for (long i = (long)(intptr_t)arg; !atomic_load(&stop); i++) {
        prof_region_begin("work");
        pthread_mutex_lock(&mutex);
        if (i % 8 == 0)
            usleep(50);
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&mutex);
        if (i % 16 == 0) {
            pthread_t thread;

            raise(SIGUSR1);
            if (pthread_create(&thread, NULL, brief, NULL) == 0) {
                sem_wait(&sem);
                pthread_join(thread, NULL);
            }
        }
        prof_region_end("work");
    }
    return NULL;
}

static void *forker(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        int status = -1;
        pid_t child = fork();

        if (child == 0) {
            size_t size = 0;

            alarm(60); /* a child that hangs is to be seen */
            prof_region_begin("child");
            int r = prof_trace_snapshot(NULL, count, &size);
            _exit(r < 0 ? 2 : write_one(NULL) < 0 ? 3 : 0);
        }
        if (child > 0) {
            waitpid(child, &status, 0);
            CHECK_INT(status, 0, "a child traces, too");
        }
        usleep(20000);
    }
    return NULL;
}

static void *unloader(void *arg)
{
    while (!atomic_load(&stop)) {
        void *library = dlopen(arg, RTLD_NOW | RTLD_LOCAL);

        if (library)
            dlclose(library);
        usleep(5000);
    }
    return NULL;
}

static void test_storm(const char *library)
{
    struct sigaction action = { .sa_handler = on_signal };
    void *(*const function[])(
        void *) = { tracer, tracer, worker, worker, worker, forker, unloader };
    void *const argument[] = {
        NULL, "json", (void *)1, (void *)2, (void *)3, NULL, (void *)(uintptr_t)library
    };
    enum { N = sizeof(function) / sizeof(function[0]) };
    pthread_t thread[N];

    sigaction(SIGUSR1, &action, NULL);
    sem_init(&sem, 0, 0);
    CHECK_INT(prof_trace_record(1000000000), 0, "the recorder was off");
    for (int i = 0; i < N; i++)
        pthread_create(&thread[i], NULL, function[i], argument[i]);
    sleep((unsigned)long_run(2, 60));
    atomic_store(&stop, true);
    for (int i = 0; i < N; i++)
        pthread_join(thread[i], NULL);
    CHECK(atomic_load(&written) > 0, "traces were written");
    MEASURED("%ld traces of %ld KiB", atomic_load(&written), atomic_load(&bytes) / 1024);
}

static pthread_barrier_t all_here;

static void *one_of_many(void *arg)
{
    prof_region_begin("one of many");
    pthread_barrier_wait(&all_here);
    prof_region_end("one of many");
    return arg;
}

static void test_many_threads(void)
{
    enum { MANY = 2000 };
    static pthread_t thread[MANY];
    pthread_attr_t attr;
    size_t size = 0;
    int made = 0;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    pthread_barrier_init(&all_here, NULL, MANY + 1);
    while (made < MANY && pthread_create(&thread[made], &attr, one_of_many, NULL) == 0)
        made++;
    CHECK_INT(made, MANY, "threads");
    if (made < MANY)
        exit(check_report());
    CHECK_INT(prof_trace_snapshot(NULL, count, &size), 0, "of them all");
    CHECK(size > MANY * 40, "each is in it: %zu bytes", size);
    pthread_barrier_wait(&all_here);
    for (int i = 0; i < MANY; i++)
        pthread_join(thread[i], NULL);
    CHECK_INT(prof_trace_record(0), 1000000000, "and off again");
    CHECK_INT(prof_trace_snapshot(NULL, count, &size), -EALREADY, "nothing to be had");
}

int main(int argc, char **argv)
{
    test_storm(argc > 1 ? argv[1] : "libz.so.1");
    test_many_threads();
    return check_report();
}
