/*
 * cpu_bench.c - what one sample of the CPU profile costs the thread that is sampled.
 *
 *   cpu_bench [SAMPLES]
 *
 * At 100 samples a second the whole is a few hundredths of a percent, far below what a busy machine
 * can measure. So one timer signal is taken out of the kernel's hands, and the thread sends it to
 * itself over and over, at several depths: signal, handler and return, by the thread's CPU clock.
 * Beside it an empty handler, which no profiler can undercut, and gperftools' profiler where it is
 * installed. Rounds alternate; printed are medians.
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

enum { ROUNDS = 15, KINDS = 3 };

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

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
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

/* gperftools' profiler on, its timer off; 0 where it is not installed. */
static int start_gperftools(void)
{
    void *library = dlopen("libprofiler.so.0", RTLD_NOW);
    int (*start)(const char *path) =
        library ? (int (*)(const char *))(uintptr_t)dlsym(library, "ProfilerStart") : NULL;

    return start && start("/dev/null");
}

int main(int argc, char **argv)
{
    static const int depths[] = { 5, 20, 60 };
    static const char *const names[KINDS] = { "empty handler", "libprof", "gperftools" };
    int n = argc > 1 ? atoi(argv[1]) : 20000;
    struct sigaction empty = { .sa_sigaction = on_empty, .sa_flags = SA_SIGINFO | SA_RESTART };
    static double result[KINDS][3][ROUNDS];
    struct prof_window *w;

    if (prof_window_open("profile", &w) < 0) {
        fprintf(stderr, "%s\n", prof_last_error());
        return 1;
    }
    if (catch_a_sample() < 0) {
        fprintf(stderr, "no sample came\n");
        return 1;
    }
    sigaction(SIGUSR1, &empty, NULL);
    for (int round = 0; round < ROUNDS; round++)
        for (int d = 0; d < 3; d++) {
            result[0][d][round] = at_depth(depths[d], SIGUSR1, n);
            result[1][d][round] = at_depth(depths[d], SIGPROF, n);
        }
    prof_window_close(w);

    /* It wants the signal for itself. */
    empty.sa_sigaction = NULL;
    empty.sa_flags = 0;
    empty.sa_handler = SIG_DFL;
    sigaction(SIGPROF, &empty, NULL);
    int kinds = start_gperftools() ? 3 : 2;
    for (int round = 0; kinds == 3 && round < ROUNDS; round++)
        for (int d = 0; d < 3; d++)
            result[2][d][round] = at_depth(depths[d], SIGPROF, n);

    printf(
        "ns a sample, signal included     depth 5   depth 20   depth 60   of one CPU at 100 Hz\n");
    for (int k = 0; k < kinds; k++) {
        printf("%-30s", names[k]);
        for (int d = 0; d < 3; d++) {
            qsort(result[k][d], ROUNDS, sizeof(double), by_size);
            printf(" %9.0f ", result[k][d][ROUNDS / 2]);
        }
        printf("  %.3f %%\n", result[k][1][ROUNDS / 2] * 100 / 1e7);
    }
    if (kinds == 2)
        printf("gperftools is not installed\n");
    _exit(fflush(stdout));
}
