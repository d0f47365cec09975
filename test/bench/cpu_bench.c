/*
 * cpu_bench.c - what one sample of the CPU profile costs the thread that is sampled.
 *
 *   cpu_bench empty|libprof|gperftools SAMPLES    prints ns a sample at depth 5, 20, 60
 *
 * At 100 samples a second the whole is a few hundredths of a percent, far below what a busy machine
 * can measure. So one timer signal is taken out of the kernel's hands, and the thread sends it to
 * itself over and over, at several depths: signal, handler and return, by the thread's CPU clock.
 * No profiler can undercut an empty handler; gperftools' profiler runs where it is installed.
 *
 * libprof takes a sample for time that its clock says has passed, however many signals come. So
 * here a nanosecond is made the period, once the timer of the thread has been set.
 */
#include <dlfcn.h>
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "record/cpu_timers.h"

static volatile long sink;
static siginfo_t sample;

static double cpu_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void on_empty(int signal, siginfo_t *info, void *context)
{
}

static void send(int signal)
{
    siginfo_t info = sample;

    info.si_signo = signal;
    syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), signal, &info);
}

/* Nanoseconds for each of n signals, sent from `depth` calls further down. */
__attribute__((noinline)) static double at_depth(int depth, int signal, int n)
{
    double result;

    if (depth > 0) {
        result = at_depth(depth - 1, signal, n);
        sink++;
        return result;
    }
    double begin = cpu_now();
    for (int i = 0; i < n; i++)
        send(signal);
    return (cpu_now() - begin) / n;
}

/* A signal as our timers send it, told apart by nothing. */
static int catch_a_sample(void)
{
    struct timespec limit = { 5, 0 };
    sigset_t set;
    int r;

    sigemptyset(&set);
    sigaddset(&set, SIGPROF);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (double end = cpu_now() + 3e7; cpu_now() < end;)
        sink++;
    do
        r = sigtimedwait(&set, &sample, &limit);
    while (r < 0 && errno == EINTR);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return r == SIGPROF && sample.si_code == SI_TIMER ? 0 : -1;
}

/* The profiler on; that its timer runs too is a hundred samples a second of many thousands. */
static const char *start_gperftools(void)
{
    void *library = dlopen("libprofiler.so.0", RTLD_NOW);
    int (*start)(const char *path) =
        library ? (int (*)(const char *))(uintptr_t)dlsym(library, "ProfilerStart") : NULL;

    if (!start)
        return "gperftools is not installed";
    return start("/dev/null") ? NULL : "gperftools does not start";
}

/* What the looks at all threads would charge without a stack is no signal's. */
static void drop_charge(enum prof__cpu_why why, pid_t tid, int64_t periods)
{
}

static const char *start_libprof(void)
{
    struct prof_window *w;

    if (prof_window_open("profile", &w) < 0)
        return prof_last_error();
    if (catch_a_sample() < 0)
        return "no sample came";
    prof__cpu_timers_begin(1, drop_charge);
    return NULL;
}

static const char *start_empty(void)
{
    struct sigaction action = { .sa_sigaction = on_empty, .sa_flags = SA_SIGINFO | SA_RESTART };

    return sigaction(SIGPROF, &action, NULL) == 0 ? NULL : strerror(errno);
}

int main(int argc, char **argv)
{
    static const int depths[] = { 5, 20, 60 };
    const char *kind = argc == 3 ? argv[1] : "";
    int n = argc == 3 ? atoi(argv[2]) : 0;
    const char *error = NULL;

    sample.si_code = SI_TIMER;
    if (strcmp(kind, "empty") == 0)
        error = start_empty();
    else if (strcmp(kind, "libprof") == 0)
        error = start_libprof();
    else if (strcmp(kind, "gperftools") == 0)
        error = start_gperftools();
    else
        n = 0;
    if (n < 1)
        error = "usage: cpu_bench empty|libprof|gperftools SAMPLES";
    if (error) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    for (int d = 0; d < 3; d++) {
        at_depth(depths[d], SIGPROF, n / 20 + 1); /* warm up */
        printf("%.1f ", at_depth(depths[d], SIGPROF, n));
    }
    printf("\n");
    _exit(fflush(stdout)); /* gperftools would write its profile */
}
