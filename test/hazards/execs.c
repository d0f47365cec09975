/*
 * execs.c - nothing that libprof has sent survives an exec(), or comes into a child.
 *
 * The program becomes itself again and again, at moments that differ, while a thread of it asks all
 * others for their stacks and their CPU is profiled; and it starts children by posix_spawn() and
 * vfork() meanwhile. A signal that is still pending when a new image begins, where nobody handles
 * it, would end that. Once more where the program handles SIGURG itself, so that libprof has to
 * take a signal whose default action ends the process.
 *
 *   execs                      runs all
 *   execs MODE LEFT SEED       one image of the chain
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "burn.h"
#include "check.h"
#include "long_run.h"
#include "text_profile.h"

extern char **environ;

enum { WORKERS = 2, FINISHED = 42, SPAWNED = 43, LIMIT_S = 100 };

static atomic_int dumps, working;
static volatile sig_atomic_t urgent;

static void on_urgent(int sig)
{
    urgent++;
}

static void *take_dumps(void *arg)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    struct text_profile text = { NULL, 0 };

    o.no_symbols = 1;
    for (;;) {
        prof_profile_write(prof_lookup("threads"), &o, text_profile_sink, &text);
        text_profile_free(&text);
        atomic_fetch_add(&dumps, 1);
    }
    return arg;
}

static void *work(void *arg)
{
    atomic_fetch_add(&working, 1);
    for (;;)
        burn(0.01);
    return arg;
}

/* Dumps run, and the CPU is profiled. */
static int begin(const char *mode)
{
    struct prof_window *w = NULL;
    pthread_t t;

    if (strcmp(mode, "owned") == 0)
        signal(SIGURG, on_urgent);
    if (strcmp(mode, "profile") == 0) {
        prof_set_cpu_rate(250);
        if (prof_window_open("profile", &w) != 0)
            return -1;
    }
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&t, NULL, work, NULL);
    pthread_create(&t, NULL, take_dumps, NULL);
    while (atomic_load(&dumps) < 1 || atomic_load(&working) < WORKERS)
        usleep(200); /* not by yielding: at a tick of the kernel's it would hardly ever be met */
    return 0;
}

static int image(char **argv)
{
    int left = atoi(argv[2]);
    unsigned seed = (unsigned)atoi(argv[3]);
    char left_text[16], seed_text[16];

    if (left == 0)
        return FINISHED;
    if (begin(argv[1]) != 0) {
        printf("%s\n", prof_last_error());
        return 3;
    }
    burn((double)(rand_r(&seed) % 3000) / 1e6);
    snprintf(left_text, sizeof(left_text), "%d", left - 1);
    snprintf(seed_text, sizeof(seed_text), "%u", seed % 1000000);
    execl("/proc/self/exe", argv[0], argv[1], left_text, seed_text, NULL);
    return 4;
}

static void check_end(int status, int want, const char *what, const char *mode)
{
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == want, "%s, %s: %s %d", mode, what,
          WIFSIGNALED(status) ? "ended by signal" : "status",
          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void test_a_chain_of_images(const char *self, const char *mode, int images)
{
    char left[16];
    int status = 0;

    snprintf(left, sizeof(left), "%d", images);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", self, mode, left, "1", NULL);
        _exit(5);
    }
    waitpid(child, &status, 0);
    check_end(status, FINISHED, "a chain of images", mode);
}

/* Children of a program that is asked all the time. In a process of its own, whose threads go. */
static void spawn_all(const char *self, const char *mode, int children)
{
    if (begin(mode) != 0)
        CHECK(0, "%s", prof_last_error());
    for (int i = 0; i < children; i++) {
        char *argv[] = { (char *)self, (char *)mode, "0", "0", NULL };
        int status = 0;
        pid_t child;

        CHECK_INT(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ), 0, "spawn");
        waitpid(child, &status, 0);
        check_end(status, FINISHED, "posix_spawn", mode);
        child = vfork();
        if (child == 0)
            _exit(SPAWNED);
        waitpid(child, &status, 0);
        check_end(status, SPAWNED, "vfork", mode);
    }
    CHECK_INT(urgent, 0, "signals that the program's handler got from libprof");
}

static void test_children(const char *self, const char *mode, int children)
{
    int status = 0;

    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        check_passed = check_failed = 0;
        spawn_all(self, mode, children);
        fflush(stdout);
        _exit(check_failed || !check_passed);
    }
    waitpid(child, &status, 0);
    check_end(status, 0, "children", mode);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = { "asked", "owned", "profile" };
    long turns = long_run(1, 10), turn = 0;
    time_t begin_s = time(NULL);

    alarm(LIMIT_S);
    if (argc == 4)
        return image(argv);
    do
        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
            alarm(LIMIT_S);
            test_a_chain_of_images(argv[0], modes[i], 150);
            test_children(argv[0], modes[i], 30);
        }
    while (++turn < turns && long_run_goes_on(begin_s));
    MEASURED("%ld times 150 images and 60 children, in each of three ways", turn);
    return check_report();
}
