/*
 * cpu_unhooked.c - the CPU profile and all stacks with libprof alone, without its hooks: threads
 * are found by looking for them, also those that no hook could see.
 */
#include <prof/prof.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "proc.h"
#include "span.h"
#include "text_profile.h"

static atomic_int stop;
static volatile atomic_long sink; /* no race, for ThreadSanitizer */

__attribute__((noinline)) static void before_it(void)
{
    while (!atomic_load(&stop))
        atomic_store_explicit(&sink, 1, memory_order_relaxed);
}

__attribute__((noinline)) static void during_it(void)
{
    while (!atomic_load(&stop))
        atomic_store_explicit(&sink, 1, memory_order_relaxed);
}

/* Shorter than a period, and yet most of what is used while such come and go: what no thread
 * accounts for is told once it is a sixty-fourth of the whole. */
__attribute__((noinline)) static void short_one(void)
{
    for (int i = 0; i < 300000; i++)
        atomic_store_explicit(&sink, 1, memory_order_relaxed);
}

static void (*const work[])(void) = { before_it, during_it, short_one };

static void *thread_main(void *arg)
{
    work[(size_t)arg]();
    return NULL;
}

/* However little of the processors others leave. */
static const double ENOUGH_S = 1;

/* What three threads that live may have used since their last signal, which comes at a tick of the
 * kernel's: on a crowded machine tens of milliseconds. */
static const double UNTOLD_S = 0.15;

/* Threads that no look has met have used what is missing in the others' clocks. */
static void check_all_is_told(void)
{
    struct prof_window *w = NULL;
    struct text_profile text;

    struct span used = span_before_opening(CLOCK_PROCESS_CPUTIME_ID);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    span_opened(&used, CLOCK_PROCESS_CPUTIME_ID);
    for (double end = now() + 2;
         now() < end || clock_of(CLOCK_PROCESS_CPUTIME_ID) + used.least < ENOUGH_S;) {
        pthread_t brief;

        pthread_create(&brief, NULL, thread_main, (void *)2);
        pthread_join(brief, NULL);
    }
    span_before_reading(&used, CLOCK_PROCESS_CPUTIME_ID);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    span_read(&used, CLOCK_PROCESS_CPUTIME_ID);
    CHECK_BETWEEN((double)text_profile_sum(&text, NULL) / 100, used.least * 0.95 - UNTOLD_S,
                  used.most * 1.05 + 0.06, "seconds of all threads");
    CHECK(text_profile_sum(&text, "[threads too brief to be seen]") > 0, "of some only the time");
    text_profile_free(&text);
    prof_window_close(w);
}

int main(void)
{
    struct prof_window *w = NULL;
    struct text_profile text;
    pthread_t t[2];
    long got = 0;

    alarm(60);
    pthread_create(&t[0], NULL, thread_main, (void *)0);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    pthread_create(&t[1], NULL, thread_main, (void *)1);
    for (int i = 0; i < 100; i++) { /* come and go between two looks */
        pthread_t brief;

        pthread_create(&brief, NULL, thread_main, (void *)2);
        pthread_join(brief, NULL);
    }
    /* A look each second; on a busy machine the thread itself may wait. */
    for (double end = now() + 20; now() < end && got < 10;) {
        usleep(300000);
        CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
        got = text_profile_sum(&text, "during_it");
        text_profile_free(&text);
    }
    CHECK(got >= 10, "a thread that started meanwhile has %ld samples", got);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK(text_profile_sum(&text, "before_it") >= got, "a thread that was there before");
    text_profile_free(&text);
    check_all_is_told(); /* with this window open: the others are known */
    CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
    /* ThreadSanitizer has one of its own. */
    CHECK_INT(text_profile_sum(&text, NULL) - text_profile_sum(&text, "BackgroundThread"), 3,
              "threads");
    text_profile_free(&text);
    CHECK_INT(text_profile_take(&text, "threadcreate", 1), 0, prof_last_error());
    CHECK(strstr(text.text, "libprof-hooks") != NULL, "threadcreate says what it lacks");
    text_profile_free(&text);
    prof_window_close(w);
    FILE *timers = fopen("/proc/self/timers", "r");
    CHECK(!timers || fgetc(timers) == EOF, "timers are left");
    if (timers)
        fclose(timers);
    atomic_store(&stop, 1);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    return check_report();
}
