/*
 * cpu_account.c - the CPU profile adds up to what the threads' own clocks say, whatever they do.
 *
 * Threads that hold signals off, always, from some time on, or every other millisecond; threads of
 * some microseconds, and of a millisecond; windows that begin in the middle. Of none is time lost,
 * and none is counted twice; what no sample could be taken of is told by a frame that says why,
 * together with the function that the thread began with, and by a comment. And none of it is a
 * reason to refuse a profile.
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "burn.h"
#include "check.h"
#include "long_run.h"
#include "span.h"
#include "text_profile.h"

#define BLOCKS "[thread blocks SIGPROF]"

static atomic_int stop, ready;

/* 5 %, and a sample at either end. */
static void check_seconds(double got, struct span used, const char *what)
{
    MEASURED("%s: %.3f to %.3f s by the clock, %.3f s by the profile", what, used.least, used.most,
             got);
    CHECK_BETWEEN(got, used.least * 0.95 - 0.021, used.most * 1.05 + 0.021, what);
}

/* What the main thread has used since its last signal is not told yet. That comes at a tick of the
 * kernel's: on a crowded machine after tens of milliseconds. */
static void check_all_seconds(const struct text_profile *text, struct span used)
{
    used.least -= 0.1;
    check_seconds((double)text_profile_sum(text, NULL) / 100, used, "all of the process");
}

static void set_blocked(bool blocked)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &all, NULL);
}

/* --- threads that hold signals off ----------------------------------------------------------- */

__attribute__((noinline)) static void always(void)
{
    set_blocked(true);
    while (!atomic_load(&stop))
        burn(0.001);
}

__attribute__((noinline)) static void by_turns(void)
{
    while (!atomic_load(&stop)) {
        set_blocked(true);
        burn(0.001);
        set_blocked(false);
        burn(0.001);
    }
}

__attribute__((noinline)) static void from_then_on(void)
{
    burn(0.1);
    always();
}

/* It waits now and then: what it did before it slept is told of as well. */
__attribute__((noinline)) static void with_pauses(void)
{
    const struct timespec pause = { 0, 1000000 };

    set_blocked(true);
    while (!atomic_load(&stop)) {
        burn(0.001);
        nanosleep(&pause, NULL);
    }
}

struct holder {
    const char *name;
    void (*work)(void);
    bool before;      /* it is there before the window */
    struct span used; /* in the window */
    pthread_t thread;
};

static void hold(struct holder *h)
{
    prof_labels_push("holder", h->name); /* for good: it counts when the time is told */
    if (!h->before)
        span_opened(&h->used, CLOCK_THREAD_CPUTIME_ID); /* of a thread that is new, from 0 on */
    atomic_fetch_add(&ready, 1);
    h->work();
    span_before_reading(&h->used, CLOCK_THREAD_CPUTIME_ID);
    span_read(&h->used, CLOCK_THREAD_CPUTIME_ID);
}

/* Functions of their own to begin with. */
static void *run_always(void *h)
{
    hold(h);
    return NULL;
}

static void *run_by_turns(void *h)
{
    hold(h);
    return NULL;
}

static void *run_from_then_on(void *h)
{
    hold(h);
    return NULL;
}

static void *run_with_pauses(void *h)
{
    hold(h);
    return NULL;
}

/* Of each, however little of the processors others leave. */
static const double ENOUGH_S = 0.2;

static void test_threads_that_hold_signals_off(void)
{
    static struct holder holders[] = {
        { "always before", always, true, { 0, 0 }, 0 },
        { "by turns", by_turns, true, { 0, 0 }, 0 },
        { "always during", always, false, { 0, 0 }, 0 },
        { "from then on", from_then_on, false, { 0, 0 }, 0 },
        { "with pauses", with_pauses, false, { 0, 0 }, 0 },
    };
    static void *(*const run[])(void *) = { run_always, run_by_turns, run_always, run_from_then_on,
                                            run_with_pauses };
    enum { HOLDERS = sizeof(holders) / sizeof(holders[0]) };
    struct prof_window *w = NULL;
    struct text_profile text;

    atomic_store(&stop, 0);
    atomic_store(&ready, 0);
    for (int i = 0; i < HOLDERS; i++)
        if (holders[i].before)
            pthread_create(&holders[i].thread, NULL, run[i], &holders[i]);
    while (atomic_load(&ready) < 2)
        usleep(1000);
    clockid_t clock[HOLDERS];
    for (int i = 0; i < HOLDERS; i++)
        if (holders[i].before) {
            pthread_getcpuclockid(holders[i].thread, &clock[i]);
            holders[i].used = span_before_opening(clock[i]);
        }
    struct span used = span_before_opening(CLOCK_PROCESS_CPUTIME_ID);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    span_opened(&used, CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < HOLDERS; i++)
        if (holders[i].before)
            span_opened(&holders[i].used, clock[i]);
        else
            pthread_create(&holders[i].thread, NULL, run[i], &holders[i]);
    for (long i = 0; i < long_run(30, 300); i++)
        usleep(100000);
    for (int i = 0; i < HOLDERS; i++) {
        pthread_getcpuclockid(holders[i].thread, &clock[i]);
        while (clock_of(clock[i]) < ENOUGH_S)
            usleep(10000);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < HOLDERS; i++)
        pthread_join(holders[i].thread, NULL);
    span_before_reading(&used, CLOCK_PROCESS_CPUTIME_ID);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    span_read(&used, CLOCK_PROCESS_CPUTIME_ID);
    prof_window_close(w);

    for (int i = 0; i < HOLDERS; i++) {
        char label[64];

        snprintf(label, sizeof(label), "\"holder\":\"%s\"", holders[i].name);
        check_seconds((double)text_profile_sum(&text, label) / 100, holders[i].used,
                      holders[i].name);
    }
    check_all_seconds(&text, used);
    CHECK(text_profile_sum_of(&text, BLOCKS, "run_always", 1) > 0,
          "what always blocks is told with the function that the thread began with");
    CHECK(text_profile_sum_of(&text, BLOCKS, "run_from_then_on", 1) > 0, "the same");
    CHECK(text_profile_sum_of(&text, "by_turns", "run_by_turns", 0) > 0,
          "what is open half of the time has stacks");
    CHECK(strstr(text.text, "threads block SIGPROF") != NULL, "a comment says so: %.400s",
          text.text);
    text_profile_free(&text);
}

enum { ENDING = 10 };
static const double TURN_S = 0.03;
static atomic_int turn;

/* One after the other. */
static void *works_and_ends(void *number)
{
    set_blocked(true);
    atomic_fetch_add(&ready, 1);
    while (atomic_load(&turn) != (int)(intptr_t)number)
        usleep(1000);
    burn(TURN_S);
    return NULL;
}

/* They are looked at once a second, which is hardly ever at the end of one's turn. Class: who is
 * told of a thread's end only if it began while one looked. */
static void test_threads_that_were_there_before_end(void)
{
    struct prof_window *w = NULL;
    struct text_profile text;
    pthread_t t[ENDING];

    atomic_store(&ready, 0);
    prof_labels_push("holder", "ends");
    for (int i = 0; i < ENDING; i++)
        pthread_create(&t[i], NULL, works_and_ends, (void *)(intptr_t)(i + 1));
    prof_labels_pop();
    while (atomic_load(&ready) < ENDING)
        usleep(1000);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (int i = 0; i < ENDING; i++) {
        atomic_store(&turn, i + 1);
        pthread_join(t[i], NULL);
    }
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    prof_window_close(w);
    /* They wait for their turn by looking now and then, too. */
    CHECK_BETWEEN((double)text_profile_sum(&text, "\"holder\":\"ends\"") / 100,
                  ENDING * TURN_S * 0.95 - 0.03, ENDING * TURN_S * 2, "threads that end");
    text_profile_free(&text);
}

/* A thread in sigwait() blocks signals, and has nothing to tell. */
static void *only_waits(void *arg)
{
    sigset_t usr2;
    int sig;

    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    set_blocked(true);
    atomic_fetch_add(&ready, 1);
    sigwait(&usr2, &sig);
    return arg;
}

static void test_threads_that_only_wait_are_not_worth_a_word(void)
{
    struct prof_window *w = NULL;
    struct text_profile text;
    pthread_t t;

    atomic_store(&ready, 0);
    pthread_create(&t, NULL, only_waits, NULL);
    while (atomic_load(&ready) < 1)
        usleep(1000);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    burn(0.1);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK(strstr(text.text, "SIGPROF") == NULL, "no word of it: %.400s", text.text);
    text_profile_free(&text);
    prof_window_close(w);
    pthread_kill(t, SIGUSR2);
    pthread_join(t, NULL);
}

static void test_a_window_has_only_its_own(void)
{
    struct holder h = { "window", always, true, { 0, 0 }, 0 };
    struct prof_window *outer = NULL, *inner = NULL;
    struct text_profile text;
    clockid_t clock;

    atomic_store(&stop, 0);
    atomic_store(&ready, 0);
    pthread_create(&h.thread, NULL, run_always, &h);
    while (atomic_load(&ready) < 1)
        usleep(1000);
    pthread_getcpuclockid(h.thread, &clock);
    struct span in_outer = span_before_opening(clock);
    CHECK_INT(prof_window_open("profile", &outer), 0, prof_last_error());
    span_opened(&in_outer, clock);
    while (clock_of(clock) + in_outer.least < 0.5)
        usleep(10000);
    struct span in_inner = span_before_opening(clock);
    CHECK_INT(prof_window_open("profile", &inner), 0, prof_last_error());
    span_opened(&in_inner, clock);
    while (clock_of(clock) + in_inner.least < 0.3)
        usleep(10000);
    span_before_reading(&in_inner, clock);
    CHECK_INT(text_profile_window(&text, inner), 0, prof_last_error());
    span_read(&in_inner, clock);
    check_seconds((double)text_profile_sum(&text, BLOCKS) / 100, in_inner,
                  "the window that began in the middle");
    text_profile_free(&text);
    span_before_reading(&in_outer, clock);
    CHECK_INT(text_profile_window(&text, outer), 0, prof_last_error());
    span_read(&in_outer, clock);
    check_seconds((double)text_profile_sum(&text, BLOCKS) / 100, in_outer, "the window around it");
    text_profile_free(&text);
    prof_window_close(inner);
    prof_window_close(outer);
    atomic_store(&stop, 1);
    pthread_join(h.thread, NULL);
}

/* --- threads that do not live long ----------------------------------------------------------- */

static _Atomic long brief_ns;

static void add_own_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    atomic_fetch_add(&brief_ns, t.tv_sec * 1000000000 + t.tv_nsec);
}

static void *some_microseconds(void *arg)
{
    for (int i = 0; i < 1000; i++)
        burn_sink += i;
    add_own_time();
    return arg;
}

static void *a_millisecond(void *arg)
{
    burn(0.001);
    add_own_time();
    return arg;
}

static void live_briefly(void *(*life)(void *), long lives, const char *name, const char *function)
{
    struct prof_window *w = NULL;
    struct text_profile text;
    char label[64];

    atomic_store(&brief_ns, 0);
    snprintf(label, sizeof(label), "\"life\":\"%s\"", name);
    struct span used = span_before_opening(CLOCK_PROCESS_CPUTIME_ID);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    span_opened(&used, CLOCK_PROCESS_CPUTIME_ID);
    prof_labels_push("life", name);
    for (long i = 0; i < lives; i++) {
        pthread_t t;

        pthread_create(&t, NULL, life, NULL);
        pthread_join(t, NULL);
    }
    prof_labels_pop();
    span_before_reading(&used, CLOCK_PROCESS_CPUTIME_ID);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    span_read(&used, CLOCK_PROCESS_CPUTIME_ID);
    prof_window_close(w);
    /* The maker has the label, too. */
    long all =
        text_profile_sum(&text, label) - text_profile_sum_of(&text, label, "live_briefly", 0);
    /* What libc and libprof do at its end counts for the thread, too: a microsecond, of few. */
    double own = (double)atomic_load(&brief_ns) / 1e9;
    MEASURED("%s: %.3f s by the clock, %.3f s by the profile", name, own, (double)all / 100);
    CHECK_BETWEEN((double)all / 100, own * 0.95 - 0.031, own * 2 + 0.031, name);
    check_all_seconds(&text, used);
    CHECK(text_profile_sum_of(&text, label, function, 0) >= all * 2 / 3, /* clone(), and the end */
          "%s: %ld of %ld are the function's", name, text_profile_sum_of(&text, label, function, 0),
          all);
    text_profile_free(&text);
}

/* --- profiles of a program that has no other threads ------------------------------------------ */

static void *makes_threads(void *arg)
{
    while (!atomic_load(&stop)) {
        pthread_t t[8];

        for (int i = 0; i < 8; i++)
            pthread_create(&t[i], NULL, some_microseconds, NULL);
        for (int i = 0; i < 8; i++)
            pthread_join(t[i], NULL);
    }
    return arg;
}

static void test_short_lives_are_no_reason_to_refuse(void)
{
    const struct timespec a_moment = { 0, 1000000 };
    int opened = 0, tries = (int)long_run(1000, 5000);
    sigset_t prof;
    pthread_t t;

    atomic_store(&stop, 0);
    pthread_create(&t, NULL, makes_threads, NULL);
    sigemptyset(&prof);
    sigaddset(&prof, SIGPROF);
    pthread_sigmask(SIG_BLOCK, &prof, NULL);
    for (int i = 0; i < tries; i++) {
        struct prof_window *w = NULL;

        if (prof_window_open("profile", &w) == 0) {
            opened++;
            nanosleep(&a_moment, NULL);
        } else if (opened == i) {
            printf("%s\n", prof_last_error());
        }
        prof_window_close(w);
    }
    CHECK_INT(opened, tries, "profiles");
    pthread_sigmask(SIG_UNBLOCK, &prof, NULL);
    atomic_store(&stop, 1);
    pthread_join(t, NULL);
}

int main(void)
{
    alarm((unsigned)long_run(120, 280));
    test_threads_that_hold_signals_off();
    test_threads_that_were_there_before_end();
    test_threads_that_only_wait_are_not_worth_a_word();
    test_a_window_has_only_its_own();
    live_briefly(some_microseconds, long_run(30000, 200000), "some microseconds",
                 "some_microseconds");
    live_briefly(a_millisecond, long_run(1000, 10000), "a millisecond", "a_millisecond");
    test_short_lives_are_no_reason_to_refuse();
    return check_report();
}
