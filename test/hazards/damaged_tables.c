/*
 * damaged_tables.c - for damaged_tables.py: contended locks, allocations and dumps in code whose
 * library was damaged. As a library (LIBRARY) the functions that are called, else the program.
 */
#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 3, TURNS = 20000 };

void *damaged_run(void *arg);

#ifdef LIBRARY
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* Ends in a jump to pthread_mutex_unlock(). */
static __attribute__((noinline)) int give(void)
{
    return pthread_mutex_unlock(&mutex);
}

static __attribute__((noinline)) void *fill(size_t n)
{
    volatile char frame[200];

    frame[n % sizeof(frame)] = 1;
    void *p = malloc(n + (size_t)frame[n % sizeof(frame)]);
    __asm__ volatile("" : : "r"(frame) : "memory");
    return p;
}

void *damaged_run(void *arg)
{
    for (unsigned i = 0; i < TURNS; i++) {
        pthread_mutex_lock(&mutex);
        for (volatile int k = 0; k < 100; k++)
            ;
        give();
        free(fill(i % 1000));
    }
    return arg;
}
#else
#include <dlfcn.h>
#include <prof/prof.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

static int drop(void *arg, const void *data, size_t size)
{
    *(size_t *)arg += size;
    return 0;
}

static void write_all(void)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    size_t bytes = 0;

    CHECK_INT(prof_profile_write(prof_lookup("threads"), &options, drop, &bytes), 0, "threads");
    CHECK_INT(prof_profile_write(prof_lookup("heap"), &options, drop, &bytes), 0, "heap");
    CHECK_INT(prof_profile_write(prof_lookup("mutex"), &options, drop, &bytes), 0, "mutex");
}

int main(int argc, char **argv)
{
    void *h = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    void *(*run)(void *) = NULL;
    pthread_t t[THREADS];

    *(void **)&run = h ? dlsym(h, "damaged_run") : NULL;
    if (!run) {
        printf("%s\n", dlerror());
        return 1;
    }
    prof_set_mutex_fraction(1);
    prof_set_heap_rate(64);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, run, NULL);
    write_all();
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    write_all();
    return check_report();
}
#endif
