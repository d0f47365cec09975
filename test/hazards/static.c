/*
 * static.c - a program without any shared library, or one linked in another way: every kind of
 * profile shows what was done, and what libc allocates is counted with the rest.
 *
 *     static check FOLDER [own]   leaves heap.pb.gz, mutex.pb.gz ... in it for other readers. own:
 *                                 what libc allocates by itself is not to be seen
 *     static serve                serves until its standard input ends; prints the address
 *
 * WITHOUT_HTTP: no server is linked.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "text_profile.h"
#include <prof/prof.h>
#ifndef WITHOUT_HTTP
#include <prof/http.h>
#endif

#define STEP static __attribute__((noinline)) void

static void *volatile kept;
static int own_only;

/* --- the heap --------------------------------------------------------------------------------- */

/* Each makes one block that stays, by one of the doors. */
STEP by_malloc(void)
{
    kept = malloc(1000);
}

STEP by_calloc(void)
{
    kept = calloc(10, 100);
}

STEP by_realloc(void)
{
    kept = realloc(malloc(10), 1000);
}

STEP by_array(void)
{
    kept = reallocarray(NULL, 10, 100);
}

STEP by_posix_memalign(void)
{
    void *p = NULL;

    if (posix_memalign(&p, 64, 1000) == 0)
        kept = p;
}

STEP by_aligned_alloc(void)
{
    kept = aligned_alloc(64, 1024);
}

STEP by_memalign(void)
{
    kept = memalign(64, 1000);
}

STEP by_valloc(void)
{
    kept = valloc(1000);
}

STEP by_pvalloc(void)
{
    kept = pvalloc(1000);
}

STEP by_strdup(void)
{
    kept = strdup("libprof");
}

STEP by_getline(void)
{
    static char text[] = "one line\n";
    FILE *f = fmemopen(text, sizeof(text) - 1, "r");
    char *line = NULL;
    size_t size = 0;

    if (f && getline(&line, &size, f) > 0)
        kept = line;
    if (f)
        fclose(f); /* whose memory is freed by whom it came from */
}

static void test_every_door_is_counted(void)
{
    static const struct {
        const char *name;
        void (*step)(void);
        int by_libc;
    } doors[] = {
        { "by_malloc", by_malloc, 0 },
        { "by_calloc", by_calloc, 0 },
        { "by_realloc", by_realloc, 0 },
        { "by_array", by_array, 0 },
        { "by_posix_memalign", by_posix_memalign, 0 },
        { "by_aligned_alloc", by_aligned_alloc, 0 },
        { "by_memalign", by_memalign, 0 },
        { "by_valloc", by_valloc, 0 },
        { "by_pvalloc", by_pvalloc, 0 },
        { "by_strdup", by_strdup, 1 },
        { "by_getline", by_getline, 1 },
    };
    void *block[sizeof(doors) / sizeof(doors[0])];
    struct text_profile text;
    size_t n = sizeof(doors) / sizeof(doors[0]);

    for (size_t i = 0; i < n; i++) {
        kept = NULL;
        doors[i].step();
        block[i] = kept;
        CHECK(block[i], "%s", doors[i].name);
    }
    CHECK_INT(text_profile_take(&text, "heap", 1), 0, prof_last_error());
    for (size_t i = 0; i < n; i++)
        CHECK_INT(text_profile_sum(&text, doors[i].name), !own_only || !doors[i].by_libc,
                  doors[i].name);
    text_profile_free(&text);

    for (size_t i = 0; i < n; i++)
        free(block[i]);
    CHECK_INT(text_profile_take(&text, "heap", 1), 0, prof_last_error());
    for (size_t i = 0; i < n; i++)
        CHECK_INT(text_profile_sum(&text, doors[i].name), 0, doors[i].name);
    text_profile_free(&text);
}

/* Frees of blocks that the hooks have not seen made, and blocks that libc moves by itself. */
static void test_strange_blocks_are_passed_on(void)
{
    static char text[] = "a line that does not fit into the block it is given to be read into\n";
    struct text_profile now;

    for (int i = 0; i < 1000; i++) {
        FILE *f = fmemopen(text, sizeof(text) - 1, "r");
        size_t size = 4;
        char *copy = strdup(text), *line = malloc(size);

        if (!f || getline(&line, &size, f) < 0)
            CHECK(0, "getline");
        if (f)
            fclose(f);
        copy = realloc(copy, 1000);
        free(copy);
        free(line);
        free(realpath("/", NULL));
    }
    CHECK_INT(text_profile_take(&now, "heap", 1), 0, prof_last_error());
    CHECK_INT(text_profile_sum(&now, "test_strange_blocks"), 0, "blocks left over");
    text_profile_free(&now);
}

/* --- time ------------------------------------------------------------------------------------- */

STEP burn(long ms)
{
    struct timespec start, now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    do {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

static void test_processor_time(const char *path)
{
    struct prof_window *w = NULL;
    struct text_profile text;

    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    burn(400); /* 40 samples are due */
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK(text_profile_sum(&text, "burn") >= 20, "%.300s", text.text);
    CHECK_INT(prof_window_write_file(w, path, 0), 0, prof_last_error());
    prof_window_close(w);
    text_profile_free(&text);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static mtx_t c11_mutex;

static struct lock {
    const char *name;
    int (*lock)(void);
    int (*unlock)(void);
} * tried;
static atomic_int held;

/* The empty statement keeps the call from being the last thing done, which would be a jump. */
#define LOCK(kind, lock_call, unlock_call)                     \
    static __attribute__((noinline)) int wait_for_##kind(void) \
    {                                                          \
        int r = lock_call;                                     \
        __asm__ volatile("");                                  \
        return r;                                              \
    }                                                          \
    static __attribute__((noinline)) int let_go_##kind(void)   \
    {                                                          \
        int r = unlock_call;                                   \
        __asm__ volatile("");                                  \
        return r;                                              \
    }
LOCK(mutex, pthread_mutex_lock(&mutex), pthread_mutex_unlock(&mutex))
LOCK(rwlock, pthread_rwlock_wrlock(&rwlock), pthread_rwlock_unlock(&rwlock))
LOCK(c11, mtx_lock(&c11_mutex), mtx_unlock(&c11_mutex))

static void *hold(void *arg)
{
    tried->lock();
    held = 1;
    usleep(20000); /* time for the other to come; if it was not enough there is another round */
    tried->unlock();
    return arg;
}

static int hold_c11(void *arg)
{
    hold(arg);
    return 7;
}

static long rows_of(const char *profile, const char *name)
{
    struct text_profile text;
    long n = 0;

    if (text_profile_take(&text, profile, 1) == 0)
        n = text_profile_sum(&text, name);
    text_profile_free(&text);
    return n;
}

static void test_waiting(void)
{
    static struct lock locks[] = {
        { "mutex", wait_for_mutex, let_go_mutex },
        { "rwlock", wait_for_rwlock, let_go_rwlock },
        { "c11", wait_for_c11, let_go_c11 },
    };
    char waiter[32], holder[32];

    mtx_init(&c11_mutex, mtx_plain);
    for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++) {
        tried = &locks[i];
        snprintf(waiter, sizeof(waiter), "wait_for_%s", tried->name);
        snprintf(holder, sizeof(holder), "let_go_%s", tried->name);
        while (!rows_of("block", waiter) || !rows_of("mutex", holder)) {
            pthread_t posix;
            thrd_t c11;
            int result = 0;

            held = 0;
            if (i % 2)
                CHECK_INT(thrd_create(&c11, hold_c11, NULL), thrd_success, "thrd_create");
            else
                CHECK_INT(pthread_create(&posix, NULL, hold, NULL), 0, "pthread_create");
            while (!held)
                sched_yield();
            tried->lock();
            tried->unlock();
            if (i % 2) {
                CHECK_INT(thrd_join(c11, &result), thrd_success, "thrd_join");
                CHECK_INT(result, 7, "result of the thread");
            } else {
                CHECK_INT(pthread_join(posix, NULL), 0, "pthread_join");
            }
        }
        CHECK(rows_of("mutex", holder) > 0, "%s", holder);
        CHECK(rows_of("mutex", waiter) == 0, "%s", waiter);
    }
    CHECK(rows_of("threadcreate", "test_waiting") > 0, "threads were made");
}

/* --- threads and signals ---------------------------------------------------------------------- */

static atomic_int asleep, finish;

static void *sleep_here(void *arg)
{
    asleep = 1;
    while (!finish)
        usleep(1000);
    return arg;
}

static void test_threads(void)
{
    struct text_profile text;
    pthread_t t;

    CHECK_INT(pthread_create(&t, NULL, sleep_here, NULL), 0, "pthread_create");
    while (!asleep)
        sched_yield();
    CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
    CHECK_INT(text_profile_sum(&text, "sleep_here"), 1, text.text);
    CHECK(text_profile_sum(&text, "main") >= 1, "%s", text.text);
    text_profile_free(&text);
    finish = 1;
    pthread_join(t, NULL);
}

static void on_signal(int number)
{
}

/* By now the CPU profile has had a handler for SIGPROF, which is not for the program to see. */
static void test_signals_are_the_programs(void)
{
    struct sigaction old = { .sa_flags = 0 };
    sigset_t usr1;
    int got = 0;

    CHECK_INT(sigaction(SIGPROF, NULL, &old), 0, "sigaction");
    CHECK(old.sa_handler == SIG_DFL, "SIGPROF is taken");
    CHECK(signal(SIGUSR2, on_signal) == SIG_DFL, "signal");
    CHECK(signal(SIGUSR2, SIG_DFL) == on_signal, "signal");
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    raise(SIGUSR1);
    CHECK_INT(sigwait(&usr1, &got), 0, "sigwait");
    CHECK_INT(got, SIGUSR1, "sigwait");
}

/* ---------------------------------------------------------------------------------------------- */

static void write_profiles(const char *folder)
{
    static const char *const names[] = { "heap", "mutex", "block", "threads" };
    char path[4096];

    by_malloc();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s.pb.gz", folder, names[i]);
        CHECK_INT(prof_profile_write_file(prof_lookup(names[i]), path, 0), 0, prof_last_error());
    }
}

static int serve(void)
{
#ifndef WITHOUT_HTTP
    char address[64], c;

    by_malloc();
    if (prof_http_start("127.0.0.1:0") < 0 || prof_http_address(address, sizeof(address)) < 0) {
        printf("cannot serve: %s\n", prof_last_error());
        return 1;
    }
    printf("%s\n", address);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    return prof_http_stop() == 0 ? 0 : 1;
#else
    return 1;
#endif
}

int main(int argc, char **argv)
{
    char path[4096];

    alarm(60);
    prof_set_heap_rate(1);
    prof_set_mutex_fraction(1);
    prof_set_block_rate(1);
    free(malloc(2 << 20)); /* before the rate reaches this thread there may be 1 MiB to go */
    if (argc == 2 && strcmp(argv[1], "serve") == 0)
        return serve();
    if (argc < 3)
        return 2;
    own_only = argc > 3;

    snprintf(path, sizeof(path), "%s/profile.pb.gz", argv[2]);
    test_every_door_is_counted();
    test_strange_blocks_are_passed_on();
    test_processor_time(path);
    test_waiting();
    test_threads();
    test_signals_are_the_programs();
    write_profiles(argv[2]);
    return check_report();
}
