/*
 * many_threads.c - 2,000 threads at once, each sampled in every way, and then a long row of short
 * ones: what a thread costs, and that nothing of it stays.
 *
 * Memory is compared with what the same threads took before anything was sampled.
 */
#include <prof/prof.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"
#include "proc.h"
#include "text_profile.h"

/* A thread notices within 1 MiB of blocks that sampling has begun. */
enum { MANY = 2000, KIB_A_THREAD = 24, KIB_AFTER = 8 * 1024, BLOCK = 100 * 1024, BLOCKS = 15 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier; /* MANY and the main thread */
static volatile long sink;

/* POSIX timers of this process; -1 where the kernel does not list them. */
static int timers(void)
{
    FILE *f = fopen("/proc/self/timers", "r");
    char line[256];
    int n = f ? 0 : -1;

    while (f && fgets(line, sizeof(line), f))
        n += strncmp(line, "ID:", 3) == 0;
    if (f)
        fclose(f);
    return n;
}

__attribute__((noinline)) static void spend(void)
{
    void *volatile p = malloc(BLOCK);

    for (int i = 0; i < 20000; i++)
        sink += i;
    free(p);
    pthread_mutex_lock(&mutex);
    sink++;
    pthread_mutex_unlock(&mutex);
}

static void *one_of_many(void *arg)
{
    spend();                        /* what the C library keeps for a thread */
    pthread_barrier_wait(&barrier); /* the main thread looks at the memory */
    pthread_barrier_wait(&barrier); /* it has switched everything on */
    for (int i = 0; i < BLOCKS; i++)
        spend();
    pthread_barrier_wait(&barrier); /* it looks again, and takes profiles */
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void *one_after_the_other(void *arg)
{
    spend();
    return NULL;
}

static long count_of(const char *profile, const char *frame)
{
    struct text_profile text;
    double begin = now(), took;
    long n;

    CHECK_INT(text_profile_take(&text, profile, 1), 0, prof_last_error());
    took = now() - begin;
    n = text_profile_sum(&text, frame);
    text_profile_free(&text);
    CHECK(took < (double)long_run(20, 2), "%s took %.2f s", profile, took);
    MEASURED("%s: %ld of %s in %.2f s", profile, n, frame, took);
    return n;
}

static void test_many_at_once(void)
{
    static pthread_t t[MANY];
    struct prof_stats stats = PROF_STATS_INIT;
    struct prof_window *w = NULL;
    pthread_attr_t attr;
    long before, after;
    int made = 0;

    pthread_barrier_init(&barrier, NULL, MANY + 1);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    while (made < MANY && pthread_create(&t[made], &attr, one_of_many, NULL) == 0)
        made++;
    if (made < MANY) {
        printf("skipped: %d threads is all that can be had here\n", made);
        exit(77);
    }
    pthread_barrier_wait(&barrier);
    before = proc_status("VmRSS:");
    prof_set_heap_rate(1024);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    prof_set_cpu_rate(250);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    after = proc_status("VmRSS:");
    prof_stats(&stats);
    CHECK_BETWEEN(stats.heap_allocated_objects, 3 * MANY, (BLOCKS + 1) * MANY, "blocks sampled");
    CHECK_BETWEEN(after - before, 0, KIB_A_THREAD * MANY, "KiB more for all threads");
    MEASURED("%.1f KiB a thread", (double)(after - before) / MANY);
    CHECK_INT(count_of("threads", "one_of_many"), MANY, "threads dumped");
    CHECK_INT(count_of("threadcreate", "test_many_at_once"), MANY, "threads created");
    CHECK(timers() != 0, "there are timers");
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < made; i++)
        pthread_join(t[i], NULL);
    prof_window_close(w);
}

static void test_many_in_a_row(void)
{
    long n = long_run(8000, 200000), before, rss = 0;

    for (long i = 0; i < n; i += 8) {
        struct prof_window *w = NULL;
        pthread_t t[8];

        if (i % 1000 == 0)
            CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
        if (i == n / 8) /* what is paid once is paid */
            rss = proc_status("VmRSS:");
        for (int j = 0; j < 8; j++)
            if (pthread_create(&t[j], NULL, one_after_the_other, NULL) != 0)
                CHECK(0, "no thread");
        for (int j = 0; j < 8; j++)
            pthread_join(t[j], NULL);
        prof_window_close(w);
    }
    before = rss;
    rss = proc_status("VmRSS:");
    CHECK(rss - before < KIB_AFTER, "%ld KiB more after %ld threads", rss - before, n - n / 8);
    MEASURED("%+ld KiB after %ld more", rss - before, n - n / 8);
    CHECK_INT(count_of("threadcreate", "test_many_in_a_row"), n, "threads created");
}

int main(void)
{
    int fds, tasks = proc_entries("/proc/self/task");

    alarm((unsigned)long_run(200, 900));
    spend();
    prof_set_heap_rate(0); /* nothing of ours yet */
    fds = proc_entries("/proc/self/fd");
    test_many_at_once();
    test_many_in_a_row();
    CHECK_INT(timers() <= 0, 1, "no timer is left");
    while (proc_entries("/proc/self/task") > tasks)
        sched_yield(); /* one that has been joined is a moment longer in /proc; alarm() ends this */
    CHECK_INT(proc_entries("/proc/self/fd"), fds, "descriptors");
    return check_report();
}
