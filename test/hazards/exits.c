/*
 * exits.c - a process ends in each way there is while its threads allocate and free: the status is
 * the right one and nothing hangs. With a directory, LIBPROF_DUMP is its /%p, and exit(), alone of
 * all, has left a profile there.
 *
 *   exits ROUNDS [DIRECTORY]     (nine times the ROUNDS in a long run)
 *
 * And a process whose main thread has left, and whose others each end when they have started the
 * next, lives until the last of them says so: guarded against is an end that is inferred from a
 * list of threads, which is no picture of one moment.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"

enum { THREADS = 4, CHILD_LIMIT_S = 30, LINKS = 20000, LAST = 25, RELAY_LIMIT_S = 120 };

static atomic_int running;

static void *churn(void *arg)
{
    void *ring[32] = { 0 };

    atomic_fetch_add(&running, 1);
    for (unsigned i = 0;; i++) {
        ring[i % 32] = realloc(ring[i % 32], 1 + i * 7 % 900);
        if (i % 5 == 0) {
            free(ring[i % 32]);
            ring[i % 32] = NULL;
        }
    }
    return arg;
}

static void *end_later(void *arg)
{
    exit(24);
    return arg;
}

static void from_atexit(void)
{
    free(malloc(1000));
}

static void by_exit(void)
{
    exit(21);
}

static void by_underscore_exit(void)
{
    _exit(22);
}

static void by_quick_exit(void)
{
    at_quick_exit(from_atexit);
    quick_exit(23);
}

static void by_another_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, end_later, NULL);
    pthread_exit(NULL);
}

static void by_abort(void)
{
    abort();
}

static void by_fault(void)
{
    raise(SIGSEGV);
}

static const struct {
    const char *name;
    void (*end)(void);
    int status;
} ends[] = {
    { "exit", by_exit, 21 << 8 },
    { "_exit", by_underscore_exit, 22 << 8 },
    { "quick_exit", by_quick_exit, 23 << 8 },
    { "exit in another thread, main gone", by_another_thread, 24 << 8 },
    { "abort", by_abort, SIGABRT },
    { "SIGSEGV", by_fault, SIGSEGV },
};

static void child(void (*end)(void))
{
    const struct rlimit none = { 0, 0 };
    pthread_t thread;

    setrlimit(RLIMIT_CORE, &none);
    alarm(CHILD_LIMIT_S); /* a hang shows as SIGALRM */
    atexit(from_atexit);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread, NULL, churn, NULL);
    while (atomic_load(&running) < THREADS)
        ;
    end();
}

static void *link_of_relay(void *left)
{
    pthread_t next;

    if ((long)left == 0)
        _exit(LAST);
    if (pthread_create(&next, NULL, link_of_relay, (void *)((long)left - 1)) == 0)
        pthread_detach(next);
    return NULL;
}

/* A program of its own, and so with threads of libprof's. */
static void relay(const char *self)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        execl(self, self, "relay", (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    CHECK_INT(status, LAST << 8, "main gone, a relay of threads");
}

/* The profile of a process that has ended, if it left one. */
static bool take_dump(const char *directory, pid_t pid)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%d", directory, (int)pid);
    return unlink(path) == 0;
}

int main(int argc, char **argv)
{
    long rounds = (argc > 1 ? atol(argv[1]) : 20) * long_run(1, 9);
    const char *directory = argc > 2 ? argv[2] : NULL;

    if (argc > 1 && strcmp(argv[1], "relay") == 0) {
        alarm(RELAY_LIMIT_S);
        link_of_relay((void *)(long)LINKS);
        pthread_exit(NULL);
    }
    if (!directory)
        relay(argv[0]);
    for (long i = 0; i < rounds; i++)
        for (size_t j = 0; j < sizeof(ends) / sizeof(*ends); j++) {
            int status = -1;
            fflush(stdout);
            pid_t pid = fork();

            if (pid == 0)
                child(ends[j].end);
            waitpid(pid, &status, 0);
            CHECK_INT(status & ~0x80, ends[j].status, ends[j].name); /* 0x80: dumped core */
            if (directory)
                CHECK_INT(take_dump(directory, pid),
                          ends[j].end == by_exit || ends[j].end == by_another_thread, ends[j].name);
        }
    MEASURED("%ld exits", rounds * (long)(sizeof(ends) / sizeof(*ends)));
    int r = check_report();
    fflush(stdout);
    _exit(r); /* no profile of this process */
}
