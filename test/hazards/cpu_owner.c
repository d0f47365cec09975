/*
 * cpu_owner.c - signals that are the program's: its own SIGPROF handler, threads that block
 * signals, threads that wait for signals.
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "text_profile.h"

static volatile long sink;
static atomic_int stop, own_signals, foreign_signals;

static void burn(double seconds)
{
    struct timespec t;
    double end;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    end = (double)t.tv_sec + (double)t.tv_nsec / 1e9 + seconds;
    do {
        for (int i = 0; i < 1000; i++)
            sink += i;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    } while ((double)t.tv_sec + (double)t.tv_nsec / 1e9 < end);
}

static void on_own(int sig)
{
    atomic_fetch_add(&own_signals, 1);
}

static void test_a_handler_before_is_left_alone(void)
{
    struct sigaction own = { .sa_handler = on_own }, now;
    struct itimerval every = { { 0, 10000 }, { 0, 10000 } }, never = { { 0, 0 }, { 0, 0 } };
    struct prof_window *w = NULL;

    sigaction(SIGPROF, &own, NULL);
    setitimer(ITIMER_PROF, &every, NULL);
    CHECK_INT(prof_window_open("profile", &w), -EBUSY, "the program has a handler");
    CHECK(strstr(prof_last_error(), "SIGPROF") != NULL, "the reason is told: %s",
          prof_last_error());
    CHECK_INT(prof_cpu_start(text_profile_sink, NULL), -EBUSY, "the same");
    burn(0.2);
    setitimer(ITIMER_PROF, &never, NULL);
    sigaction(SIGPROF, NULL, &now);
    CHECK(now.sa_handler == on_own, "the handler is still there");
    CHECK(atomic_load(&own_signals) > 5, "and gets its signals");
    own.sa_handler = SIG_DFL;
    sigaction(SIGPROF, &own, NULL);
}

static void test_a_handler_that_comes_later_is_noticed(void)
{
    struct sigaction own = { .sa_handler = on_own };
    struct prof_window *w = NULL, *other = NULL;
    struct text_profile text;

    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    burn(0.3);
    atomic_store(&own_signals, 0);
    sigaction(SIGPROF, &own, NULL);
    burn(0.3);
    CHECK_INT(atomic_load(&own_signals), 0, "signals of ours that its handler got");
    CHECK_INT(text_profile_window(&text, w), 0, "the profile so far");
    CHECK_BETWEEN(text_profile_sum(&text, "burn"), 20, 45, "samples so far");
    CHECK(strstr(text.text, "SIGPROF") != NULL, "the profile says that it ended");
    text_profile_free(&text);
    CHECK_INT(prof_window_open("profile", &other), -EBUSY, "another reader meanwhile");
    prof_window_close(w);
    kill(getpid(), SIGPROF);
    CHECK_INT(atomic_load(&own_signals), 1, "its own signals arrive");

    own.sa_handler = SIG_IGN;
    sigaction(SIGPROF, &own, NULL);
    CHECK_INT(prof_window_open("profile", &w), 0, "an ignored signal is nobody's");
    own.sa_handler = SIG_DFL; /* whose effect is to end the process */
    sigaction(SIGPROF, &own, NULL);
    burn(0.3);
    prof_window_close(w);
    CHECK_INT(prof_window_open("profile", &w), 0, "and so is a default one");
    burn(0.05);
    prof_window_close(w);
    burn(0.05);
    kill(getpid(), SIGPROF); /* not of a timer; ours does not mind */
}

/* --- threads that block or wait -------------------------------------------------------------- */

static void *busy_and_blocking(void *arg)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!atomic_load(&stop))
        burn(0.01);
    return NULL;
}

/* Takes whatever signal comes, working now and then. */
static void *waits_for_signals(void *arg)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!atomic_load(&stop)) {
        struct timespec t = { 0, 2000000 };
        int sig = sigtimedwait(&all, NULL, &t);

        if (sig > 0 && sig != SIGUSR1)
            atomic_fetch_add(&foreign_signals, 1);
        burn(0.0005);
    }
    return NULL;
}

static void *reads_signals(void *arg)
{
    struct signalfd_siginfo info;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    int fd = signalfd(-1, &all, SFD_NONBLOCK);
    while (!atomic_load(&stop)) {
        if (read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo != SIGUSR1)
            atomic_fetch_add(&foreign_signals, 1);
        burn(0.0005);
        usleep(2000);
    }
    close(fd);
    return NULL;
}

static void test_no_signal_of_ours_is_ever_waited_for(void)
{
    void *(*const work[])(void *) = { busy_and_blocking, waits_for_signals, reads_signals };
    struct prof_window *w = NULL;
    struct text_profile text;
    pthread_t before[3];

    for (int i = 0; i < 3; i++)
        pthread_create(&before[i], NULL, work[i], NULL);
    usleep(100000);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (int i = 0; i < 40; i++) {
        CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
        CHECK_INT(text_profile_sum(&text, NULL), 4, "threads");
        text_profile_free(&text);
        burn(0.01);
    }
    CHECK_INT(text_profile_window(&text, w), 0, "write");
    CHECK(strstr(text.text, "threads are not sampled: they block SIGPROF") != NULL,
          "the profile says who is missing: %.300s", text.text);
    CHECK_INT(text_profile_sum(&text, "busy_and_blocking"), 0, "samples of a thread that blocks");
    text_profile_free(&text);
    prof_window_close(w);
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(before[i], NULL);
    CHECK_INT(atomic_load(&foreign_signals), 0, "signals that the program did not send");
}

int main(void)
{
    alarm(100);
    test_a_handler_before_is_left_alone();
    test_a_handler_that_comes_later_is_noticed();
    test_no_signal_of_ours_is_ever_waited_for();
    return check_report();
}
