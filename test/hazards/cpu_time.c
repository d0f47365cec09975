/*
 * cpu_time.c - the CPU profile against the kernel's account of the same threads.
 *
 * Threads that exist before, that start in the middle, that run steadily, in bursts shorter than
 * the period, and for less than a period; and one that sleeps. Each carries a label. What each is
 * charged must be what its CPU clock says; when the window is closed no timer and no thread of
 * libprof's is left.
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "proc.h"
#include "span.h"
#include "text_profile.h"

enum { SHORT_THREADS = 400 };

static atomic_int stop, begun;
static volatile long sink;

__attribute__((noinline)) static void burn(double seconds)
{
    double end = clock_of(CLOCK_THREAD_CPUTIME_ID) + seconds;

    while (clock_of(CLOCK_THREAD_CPUTIME_ID) < end)
        for (int i = 0; i < 1000; i++)
            sink += i;
}

struct worker {
    const char *name;
    void (*work)(void);
    struct span used; /* CPU seconds in the window, by the kernel */
    pthread_t thread;
};

static void steady(void)
{
    while (!atomic_load(&stop))
        burn(0.001);
}

/* 0.7 ms of work, as long a pause: a timer of the whole process gets these wrong. */
static void bursts(void)
{
    const struct timespec pause = { 0, 700000 };

    while (!atomic_load(&stop)) {
        burn(0.0007);
        nanosleep(&pause, NULL);
    }
}

static void sleeper(void)
{
    while (!atomic_load(&stop))
        usleep(50000);
}

static void *run(void *arg)
{
    struct worker *w = arg;

    prof_labels_push("worker", w->name);
    span_opened(&w->used, CLOCK_THREAD_CPUTIME_ID); /* of a thread that is new, from 0 on */
    atomic_store(&begun, 1);
    w->work();
    span_before_reading(&w->used, CLOCK_THREAD_CPUTIME_ID);
    prof_labels_pop();
    span_read(&w->used, CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static void start(struct worker *w)
{
    pthread_create(&w->thread, NULL, run, w);
}

static void *short_life(void *arg)
{
    burn(0.003);
    *(double *)arg += clock_of(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

/* Threads of the process. One that has been joined is a moment longer in /proc: as long as there
 * are more than that, alarm() ends this. */
static int threads_down_to(int most)
{
    int n;

    while ((n = (int)proc_status("Threads:")) > most)
        usleep(1000);
    return n;
}

/* Lines of /proc/self/timers, four for each timer. */
static int timers_now(void)
{
    FILE *f = fopen("/proc/self/timers", "r");
    int n = 0, c;

    if (!f)
        return -1; /* a kernel without it */
    while ((c = fgetc(f)) != EOF)
        n += c == '\n';
    fclose(f);
    return n;
}

static int threads_at_start; /* the main one, and one that waits for profctl if we are preloaded */

static struct worker workers[] = {
    { "before", steady, { 0, 0 }, 0 },
    { "during", steady, { 0, 0 }, 0 },
    { "bursts", bursts, { 0, 0 }, 0 },
    { "sleeper", sleeper, { 0, 0 }, 0 },
};

static void test_each_thread_gets_what_the_kernel_says(void)
{
    struct text_profile text;
    struct prof_window *w = NULL;
    double short_used = 0;
    long samples = 0;

    start(&workers[0]);
    while (!atomic_load(&begun))
        usleep(1000);
    clockid_t clock;
    pthread_getcpuclockid(workers[0].thread, &clock);
    workers[0].used = span_before_opening(clock);
    struct span used = span_before_opening(CLOCK_PROCESS_CPUTIME_ID);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    if (!w)
        return;
    span_opened(&used, CLOCK_PROCESS_CPUTIME_ID);
    span_opened(&workers[0].used, clock);
    for (int i = 1; i < 4; i++)
        start(&workers[i]);
    prof_labels_push("worker", "short");
    for (int i = 0; i < SHORT_THREADS; i++) {
        pthread_t t;

        pthread_create(&t, NULL, short_life, &short_used);
        pthread_join(t, NULL);
    }
    prof_labels_pop();
    burn(0.2);
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++)
        pthread_join(workers[i].thread, NULL);
    span_before_reading(&used, CLOCK_PROCESS_CPUTIME_ID);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    span_read(&used, CLOCK_PROCESS_CPUTIME_ID);
    prof_window_close(w);

    for (int i = 0; i < 4; i++) {
        char label[64];
        struct span by_kernel = workers[i].used;

        snprintf(label, sizeof(label), "\"worker\":\"%s\"", workers[i].name);
        double got = (double)text_profile_sum(&text, label) / 100;
        printf("%-8s %.3f to %.3f s by the kernel, %.3f s by the profile\n", workers[i].name,
               by_kernel.least, by_kernel.most, got);
        /* 2 %, and one sample at either end. */
        CHECK_BETWEEN(got, by_kernel.least * 0.98 - 0.021, by_kernel.most * 1.02 + 0.021,
                      workers[i].name);
    }
    /* 400 lives of some 3 ms: each is sampled with a chance of 0.3, so 4 sigma are 37 samples. By
     * their label, since a sanitizer puts a function of its own before short_life(). */
    static const char label[] = "\"worker\":\"short\"";
    double got = (double)(text_profile_sum(&text, label) -
                          text_profile_sum_of(&text, label, "test_each_thread", 0)) /
                 100;
    printf("short    %.3f s by the kernel, %.3f s by the profile\n", short_used, got);
    CHECK_BETWEEN(got, short_used - 0.37, short_used + 0.37, "threads shorter than a period");
    CHECK(text_profile_sum(&text, "short_life") > 0, "they are not told by name");
    CHECK(text_profile_sum(&text, "sleeper") * 10 <= (long)(workers[3].used.most * 1000) + 20,
          "a thread that sleeps has no samples");

    samples = text_profile_sum(&text, NULL);
    printf("total    %.3f to %.3f s by the kernel, %.3f s by the profile\n", used.least, used.most,
           (double)samples / 100);
    CHECK_BETWEEN((double)samples / 100, used.least * 0.97 - 0.4, used.most * 1.02 + 0.4,
                  "all together");
    text_profile_free(&text);
}

static void test_nothing_is_left_behind(void)
{
    struct prof_window *a = NULL, *b = NULL;

    CHECK_INT(timers_now() <= 0, 1, "no timers after the last window");
    CHECK_INT(threads_down_to(threads_at_start), threads_at_start, "threads after the last window");
    CHECK_INT(prof_window_open("profile", &a), 0, "one reader");
    CHECK_INT(prof_window_open("profile", &b), 0, "and another at the same time");
    CHECK_INT(timers_now() == 0, 0, "timers while windows are open");
    prof_window_close(a);
    CHECK_INT(timers_now() == 0, 0, "timers while one window is open");
    burn(0.1);
    struct text_profile text;
    CHECK_INT(text_profile_window(&text, b), 0, "the other reader goes on");
    CHECK_BETWEEN(text_profile_sum(&text, "burn"), 5, 15, "samples in it");
    text_profile_free(&text);
    prof_window_close(b);
    CHECK_INT(timers_now() <= 0, 1, "no timers after the last window");
    CHECK_INT(threads_down_to(threads_at_start), threads_at_start, "threads after the last window");
}

static void test_start_and_stop_as_in_go(void)
{
    struct text_profile out = { NULL, 0 };

    CHECK_INT(prof_cpu_stop(), -EALREADY, "stop without start");
    CHECK_INT(prof_cpu_start(text_profile_sink, &out), 0, "start");
    CHECK_INT(prof_cpu_start(text_profile_sink, &out), -EBUSY, "start twice");
    burn(0.05);
    CHECK_INT(prof_cpu_stop(), 0, "stop");
    CHECK(out.size > 20 && (unsigned char)out.text[0] == 0x1f, "a gzipped profile was written");
    CHECK_INT(prof_cpu_stop(), -EALREADY, "stop twice");
    CHECK(prof_lookup("profile") == NULL, "the CPU profile is not in the registry");
    text_profile_free(&out);
}

static void test_rates(void)
{
    CHECK_INT(prof_set_cpu_rate(-1), 100, "the default");
    CHECK_INT(prof_set_cpu_rate(0), -EINVAL, "0");
    CHECK_INT(prof_set_cpu_rate(251), -EINVAL, "251");
    CHECK_INT(prof_set_cpu_rate(250), 100, "250, returns the previous");
    struct prof_window *w = NULL;
    struct text_profile text;
    CHECK_INT(prof_window_open("profile", &w), 0, "open");
    CHECK_INT(prof_set_cpu_rate(50), 250, "changed while a window is open");
    burn(0.4);
    CHECK_INT(text_profile_window(&text, w), 0, "write");
    prof_window_close(w);
    CHECK_BETWEEN(text_profile_sum(&text, "burn"), 94, 103, "the window keeps its rate");
    text_profile_free(&text);
    CHECK_INT(prof_set_cpu_rate(100), 50, "back");
}

int main(void)
{
    alarm(120);
    threads_at_start = (int)proc_status("Threads:");
    test_rates();
    test_each_thread_gets_what_the_kernel_says();
    test_nothing_is_left_behind();
    test_start_and_stop_as_in_go();
    return check_report();
}
