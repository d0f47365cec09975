/*
 * mmap_forks.c - allocators map and unmap in all threads while the process forks: nobody waits for
 * a lock that is somebody's who is not there, and what a child maps is told.
 *
 * An allocator has fork handlers of its own, which wait until its threads are out of it, while they
 * may be in the hook of mmap(); and in a child they may map before any handler of libprof's has
 * run. A child of _Fork() runs none at all. Run with the allocators preloaded. And what a child has
 * from its parent is told once, whatever its parent's threads were at.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <prof/prof.h>

#include "check.h"
#include "long_run.h"

enum { THREADS = 3, PATIENCE_S = 120 };
#define KEPT  ((size_t)1 << 36) /* mapped before the forks: more than all else together */
#define BLOCK ((size_t)3 << 20) /* allocators map such a one for itself */

static atomic_bool enough;

static void use(void *p, size_t size)
{
    memset(p, 1, size < 4096 ? size : 4096);
    __asm__ volatile("" : : "r"(p) : "memory");
}

static __attribute__((noinline)) int map_once(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return -1;
    use(p, size);
    return munmap(p, size);
}

static void *churn(void *arg)
{
    for (size_t i = 0; !atomic_load_explicit(&enough, memory_order_relaxed); i++) {
        char *p = malloc(BLOCK + i % 5 * BLOCK);

        if (p)
            use(p, BLOCK);
        free(p);
        map_once(4096 * (1 + i % 9));
    }
    return arg;
}

struct head {
    char text[200]; /* how the profile begins */
    size_t n;
};

static int keep_head(void *arg, const void *data, size_t size)
{
    struct head *h = arg;
    size_t n = sizeof(h->text) - 1 - h->n;

    n = size < n ? size : n;
    memcpy(h->text + h->n, data, n);
    h->n += n;
    return 0;
}

/* What a worker does that has been forked. */
static int work(void)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    struct head head = { 0 };
    unsigned long long in_use = 0;

    options.no_symbols = 1;
    options.debug = 1;
    alarm(PATIENCE_S);
    for (int i = 0; i < 5; i++) {
        char *p = malloc(2 * BLOCK);

        if (!p || map_once(BLOCK) < 0)
            return 1;
        use(p, BLOCK);
        free(p);
    }
    if (prof_profile_write(prof_lookup("mmap"), &options, keep_head, &head) < 0)
        return 2;
    if (sscanf(head.text, "heap profile: %*u: %llu", &in_use) != 1)
        return 3;
    return in_use < KEPT ? 4 : in_use > KEPT + KEPT / 2 ? 5 : 0;
}

/* Of what libc allows there: no malloc. */
static int work_without_handlers(void)
{
    alarm(PATIENCE_S);
    for (int i = 0; i < 50; i++)
        if (map_once(BLOCK) < 0)
            return 1;
    return 0;
}

static void children(pid_t (*make)(void), int (*run)(void), int n, const char *what)
{
    for (int i = 0; i < n; i++) {
        pid_t child = make();
        int status = -1;

        if (child == 0)
            _exit(run());
        CHECK(child > 0 && waitpid(child, &status, 0) == child, "%s: made", what);
        CHECK_INT(status, 0, what);
    }
}

int main(void)
{
    pthread_t thread[THREADS];

    alarm(2 * PATIENCE_S);
    CHECK(mmap(NULL, KEPT, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) !=
              MAP_FAILED,
          "what all children have");
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, churn, NULL);
    children(fork, work, long_run(12, 1000), "a child of fork()");
    children(_Fork, work_without_handlers, long_run(12, 1000), "a child of _Fork()");
    atomic_store(&enough, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    return check_report();
}
