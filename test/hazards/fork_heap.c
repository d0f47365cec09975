/*
 * fork_heap.c - fork in a program whose threads allocate all the time: each child allocates from
 * new threads, writes its heap profile and ends; vfork, posix_spawn and system as well.
 *
 *   fork_heap CHILDREN
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "totals.h"

enum { THREADS = 8, CHILD_THREADS = 4, CHILD_LIMIT_S = 30 };

extern char **environ;
static atomic_bool stop;
static atomic_long allocations;

static void *churn(void *arg)
{
    void *ring[16] = { 0 };

    for (unsigned i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
        free(ring[i % 16]);
        ring[i % 16] = malloc(16 + i % 500);
        atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    }
    for (int i = 0; i < 16; i++)
        free(ring[i]);
    return NULL;
}

static void *allocate_in_child(void *arg)
{
    for (unsigned i = 0; i < 2500; i++) {
        void *volatile p = malloc(8 + i % 100);
        free(p);
    }
    return NULL;
}

static int child(void)
{
    pthread_t thread[CHILD_THREADS];

    alarm(CHILD_LIMIT_S); /* a child that hangs shows as one killed by SIGALRM */
    struct totals before = totals_now();
    if (before.alloc_objects < 0)
        return 10;
    for (int i = 0; i < CHILD_THREADS; i++)
        if (pthread_create(&thread[i], NULL, allocate_in_child, NULL) != 0)
            return 11;
    for (int i = 0; i < CHILD_THREADS; i++)
        pthread_join(thread[i], NULL);
    struct totals after = totals_now();
    if (after.alloc_objects - before.alloc_objects < CHILD_THREADS * 2500)
        return 12;
    /* nobody else is here to allocate */
    return after.alloc_objects - before.alloc_objects > CHILD_THREADS * 2500 + 50 ? 13 : 0;
}

static int status_of(pid_t pid)
{
    int status = -1;

    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

int main(int argc, char **argv)
{
    int children = argc > 1 ? atoi(argv[1]) : 50;
    pthread_t thread[THREADS];
    char *const true_argv[] = { (char[]) { "true" }, NULL };

    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    free(malloc(1));
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, churn, NULL);
    while (atomic_load(&allocations) < 1000) /* all is in motion */
        ;
    for (int i = 0; i < children; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(child());
        CHECK_INT(status_of(pid), 0, "status of a forked child");
    }
    for (int i = 0; i < children; i++) {
        pid_t pid = vfork();

        if (pid == 0) {
            execvp("true", true_argv);
            _exit(127);
        }
        CHECK_INT(status_of(pid), 0, "status after vfork");
        if (posix_spawnp(&pid, "true", NULL, NULL, true_argv, environ) == 0)
            CHECK_INT(status_of(pid), 0, "status after posix_spawn");
    }
    CHECK_INT(system("exit 7"), 7 << 8, "system()");

    long before = atomic_load(&allocations);
    struct totals t = totals_now();
    while (atomic_load(&allocations) < before + 1000)
        ;
    CHECK(totals_now().alloc_objects > t.alloc_objects, "the parent goes on counting");
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    return check_report();
}
