/*
 * redirected_lib.c - for redirected.c: a plugin that allocates by every door, calls through words
 * that its linker binds at once or later, and through a constant table.
 */
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "redirected.h"

/* Of the program's: its constructor's turn to load something. */
void load_beside(void) __attribute__((weak));

__attribute__((constructor)) static void start(void)
{
    if (load_beside)
        load_beside();
}

static void *by_aligned(size_t size)
{
    void *p = NULL;

    return posix_memalign(&p, 64, size) ? NULL : p;
}

static void *by_malloc(size_t size)
{
    return malloc(size);
}

static void *by_calloc(size_t size)
{
    return calloc(1, size);
}

static void *by_realloc(size_t size)
{
    return realloc(NULL, size);
}

static void *by_memalign(size_t size)
{
    return memalign(64, size);
}

static void *by_reallocarray(size_t size)
{
    return reallocarray(NULL, 1, size);
}

static void by_free(void *p)
{
    free(p);
}

static int set_action(int number)
{
    struct sigaction action = { .sa_handler = SIG_IGN };

    return sigaction(number, &action, NULL);
}

/* In .data.rel.ro: words of functions, read-only once the linker is done. */
const struct plugin plugin = {
    .make = { by_malloc, by_calloc, by_realloc, by_memalign, by_aligned, malloc, by_reallocarray },
    .drop = { by_free, free },
    .set_action = set_action,
    .other = { { "setns", (void (*)(void))setns },
               { "unshare", (void (*)(void))unshare },
               { "setresuid", (void (*)(void))setresuid },
               { "ssignal", (void (*)(void))ssignal } },
};
