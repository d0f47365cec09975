/*
 * little_stack.c - near the end of a thread's stack a sample is not taken, and counted as lost:
 * whoever has enough for malloc() has enough for ours.
 *
 * Each attempt is a process of its own, since one that fails dies.
 */
#include <alloca.h>
#include <prof/prof.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

extern void *__libc_malloc(size_t);
extern void __libc_free(void *);

enum { STACK = 65536, GUARD = 4096, MORE = 1024 };

static char *low; /* the lowest byte of the stack */
static void *volatile kept;

static void libc_malloc(void)
{
    kept = __libc_malloc(100);
    __libc_free(kept);
}

static void hooked_malloc(void)
{
    kept = malloc(100);
    free(kept);
}

static void record_wait(void)
{
    prof_block_record(1000000, 0);
}

static void record_release(void)
{
    prof_mutex_record(1000000, 1, 0);
}

struct attempt {
    void (*call)(void);
    size_t room;
    bool on_main;
};

__attribute__((noinline)) static void at_the_edge(const struct attempt *a)
{
    char here;
    volatile char *p = alloca((size_t)(&here - low) - a->room);

    p[0] = 1;
    a->call();
    p[1] = 2;
}

static uint64_t lost(void)
{
    struct prof_stats s = PROF_STATS_INIT;

    return prof_stats(&s) == 0 ? s.lost_little_stack : 0;
}

static void *try(void *arg)
{
    const struct attempt *a = arg;

    for (int i = 0; i < 3; i++) /* what is called is looked up, and rules are known */
        a->call();
    uint64_t before = lost();
    at_the_edge(a);
    return (void *)(uintptr_t)(lost() > before);
}

/* Under a limit that is near, the main thread's stack ends there. */
static void try_on_main(struct attempt *a)
{
    struct rlimit limit = { 1 << 20, 1 << 20 };
    char here;

    setrlimit(RLIMIT_STACK, &limit);
    low = (char *)(((uintptr_t)&here & ~(uintptr_t)4095) - (1 << 20) + 16384);
    _exit(try(a) != NULL);
}

/* 0: it went well; 1: and a sample was lost; else it has died. */
static int attempt(struct attempt a)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        pthread_attr_t attr;
        pthread_t thread;
        void *result;
        char *m =
            mmap(NULL, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (a.on_main)
            try_on_main(&a);
        mprotect(m, GUARD, PROT_NONE);
        low = m + GUARD;
        pthread_attr_init(&attr);
        pthread_attr_setstack(&attr, low, STACK);
        if (pthread_create(&thread, &attr, try, &a) != 0)
            _exit(99);
        pthread_join(thread, &result);
        _exit(result != NULL);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static size_t least_room(void (*call)(void))
{
    size_t dies = 64, lives = 32768;

    while (lives - dies > 16) {
        size_t middle = (lives + dies) / 2;

        if (attempt((struct attempt) { call, middle, false }) >= 0)
            lives = middle;
        else
            dies = middle;
    }
    return lives;
}

int main(void)
{
    static void (*const calls[])(void) = { hooked_malloc, record_wait, record_release };
    size_t plain = least_room(libc_malloc);
    struct attempt a;

    printf("libc's malloc needs %zu bytes of stack", plain);
    prof_set_heap_rate((int64_t)1 << 40);
    size_t unsampled = least_room(hooked_malloc);
    printf(", one that is not sampled %zu", unsampled);
    CHECK(unsampled <= plain + MORE, "%zu bytes for a block that is not sampled", unsampled);

    prof_set_heap_rate(1);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    size_t sampled = least_room(hooked_malloc);
    printf(", one that would be %zu\n", sampled);
    CHECK(sampled <= plain + MORE, "%zu bytes for a block that would be sampled", sampled);
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        int strange = 0;

        a = (struct attempt) { calls[i], 0, false };
        for (a.room = plain + MORE; a.room < 8192; a.room += 200)
            strange += attempt(a) < 0;
        CHECK_INT(strange, 0, "attempts that died");
        a.room = plain + MORE;
        CHECK_INT(attempt(a), 1, "a sample that there was no room for is counted");
        a.room = 16384;
        CHECK_INT(attempt(a), 0, "with room it is taken");
    }
    a = (struct attempt) { hooked_malloc, 20000, true };
    CHECK(attempt(a) >= 0, "the main thread near its limit");
    return check_report();
}
