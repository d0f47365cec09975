/*
 * cpu_dump.c - profiling the CPU without anybody asking over HTTP.
 *
 * A window is opened before main() and written once: at exit(), or by a thread of ours when the
 * seconds are over, whichever comes first. The
 * window belongs to the process that opened it; a forked child has none until it is given its own.
 */
#include "preload/cpu_dump.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <prof/prof.h>

#include "base/clock.h"
#include "base/rawlog.h"
#include "base/wait.h"
#include "preload/later.h"
#include "preload/preload.h"

enum { NONE, OPEN, WRITING, DONE };

static struct prof_window *window;
static pid_t owner;
static long length_s = -1; /* 0: until the end; < 0: nothing is wanted */
static _Atomic uint32_t state;

/* One of the two writes. The other, at exit(), waits until that is done. */
static void write_once(void)
{
    uint32_t seen = OPEN;
    char path[4096];

    /* Acquire: `window` is there; pairs with the release in start(). */
    if (!atomic_compare_exchange_strong_explicit(&state, &seen, WRITING, memory_order_acquire,
                                                 memory_order_acquire)) {
        while (atomic_load_explicit(&state, memory_order_acquire) == WRITING)
            prof__word_wait(&state, WRITING, prof__monotonic_ns() + 1000 * 1000 * 1000);
        return;
    }
    if (prof__preload_dump_path(path, sizeof(path)) == 0) {
        if (prof_window_write_file(window, path, 0) < 0)
            prof__log("no CPU profile in %.300s: %s", path, prof_last_error());
        else
            prof__log("CPU profile written to %.400s", path);
    }
    prof_window_close(window);
    atomic_store_explicit(&state, DONE, memory_order_release);
    prof__word_wake(&state);
}

static int64_t write_later(void)
{
    write_once();
    return -1;
}

static struct prof__later later = { .name = "prof-dump", .run = write_later };

static void start(void)
{
    if (prof_window_open("profile", &window) < 0) {
        prof__log("no CPU profile: %s", prof_last_error());
        return;
    }
    owner = getpid();
    atomic_store_explicit(&state, OPEN, memory_order_release);
    if (length_s > 0 && prof__later(&later, length_s * (int64_t)1000000000) < 0)
        prof__log("the CPU profile goes on until exit: no thread to end it");
}

void prof__cpu_dump_start(const char *seconds)
{
    char *end;

    errno = 0;
    long n = strtol(seconds, &end, 10);
    if (end == seconds || *end || errno || n < 0 || n > INT_MAX) {
        prof__log("LIBPROF_CPU_DUMP=%.80s is not a number of seconds, or 0; ignored", seconds);
        return;
    }
    length_s = n;
    start();
}

void prof__cpu_dump_finish(void)
{
    if (owner == getpid())
        write_once();
}

void prof__cpu_dump_restart(void)
{
    if (length_s < 0)
        return;
    atomic_store_explicit(&state, NONE, memory_order_relaxed);
    start();
}
