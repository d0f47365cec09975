/*
 * cpu_storm.cc - everything at once that hangs or breaks profilers, while the CPU is profiled as
 * fast as it can be and all stacks are asked for: libraries loaded and unloaded, the loader's list
 * walked, exceptions thrown, threads cancelled and left in the middle.
 *
 *   cpu_storm LIBRARY...
 *
 * Every thread must get on all the time, every destructor run, and most of the time be accounted
 * for. The CPU profile is begun and ended again and again.
 */
#include <atomic>
#include <stdexcept>

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <prof/prof.h>

extern "C" {
#include "check.h"
}
#include "long_run.h"
#include "proc.h"
#include "span.h"

namespace
{

char **libraries;
int n_libraries;
std::atomic<bool> stop;
std::atomic<long> constructed, destroyed;
volatile long sink;

/* Rounds done, of one thread. */
typedef std::atomic<long> counter;

struct guard {
    guard()
    {
        constructed++;
    }
    ~guard()
    {
        destroyed++;
    }
};

void *load(void *done)
{
    for (int i = 0; !stop; i++) {
        void *h = dlopen(libraries[i % n_libraries], RTLD_NOW | RTLD_LOCAL);
        if (!h)
            break;
        int (*call)(int) = (int (*)(int))dlsym(h, "storm_call");
        if (call)
            sink = sink + call(20000);
        dlclose(h);
        ++*(counter *)done;
    }
    return nullptr;
}

int look(struct dl_phdr_info *info, size_t, void *)
{
    sink = sink + (long)strlen(info->dlpi_name);
    return 0;
}

void *list(void *done)
{
    while (!stop) {
        dl_iterate_phdr(look, nullptr);
        ++*(counter *)done;
    }
    return nullptr;
}

__attribute__((noinline)) void throw_at(int depth)
{
    guard g;
    if (depth == 0)
        throw std::runtime_error("storm");
    throw_at(depth - 1);
    sink = sink + depth;
}

void *exceptions(void *done)
{
    while (!stop) {
        try {
            throw_at(5);
        } catch (const std::runtime_error &) {
            ++*(counter *)done;
        }
    }
    return nullptr;
}

void *work(void *done)
{
    while (!stop) {
        for (int i = 0; i < 10000; i++)
            sink = sink + i;
        ++*(counter *)done;
    }
    return nullptr;
}

void (*volatile leave)(int how);

__attribute__((noinline)) void deep(int depth, int how)
{
    guard g;
    if (depth > 0)
        deep(depth - 1, how);
    else
        leave(how);
    sink = sink + depth;
}

/* By pthread_exit(), or in an endless loop that only ends by cancellation. */
void leave_now(int how)
{
    if (how == 0)
        pthread_exit(nullptr);
    while (how) {
        pthread_testcancel();
        for (int i = 0; i < 1000; i++)
            sink = sink + i;
    }
}

void *victim(void *how)
{
    deep(50, (int)(long)how);
    return nullptr;
}

void *cancel(void *done)
{
    for (long i = 0; !stop; i++) {
        pthread_t t;
        if (pthread_create(&t, nullptr, victim, (void *)(i % 2)) != 0)
            break;
        if (i % 2) {
            usleep(1000);
            pthread_cancel(t);
        }
        pthread_join(t, nullptr);
        ++*(counter *)done;
    }
    return nullptr;
}

int discard(void *arg, const void *data, size_t size)
{
    (void)data;
    *(size_t *)arg += size;
    return 0;
}

/* "samples 123, cpu ..." in the comments of the text form. */
struct text {
    char head[4096];
    size_t size;
};

int keep_head(void *arg, const void *data, size_t size)
{
    struct text *t = (struct text *)arg;
    size_t n = sizeof(t->head) - 1 - t->size;
    if (size < n)
        n = size;
    memcpy(t->head + t->size, data, n);
    t->size += n;
    t->head[t->size] = 0;
    return 0;
}

double accounted;
struct span used;

void *profiles(void *done)
{
    while (!stop) {
        struct prof_window *w = nullptr;
        struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
        size_t size = 0;

        struct span cpu = span_before_opening(CLOCK_PROCESS_CPUTIME_ID);
        if (prof_window_open("profile", &w) != 0) {
            CHECK(0, "%s", prof_last_error());
            break;
        }
        span_opened(&cpu, CLOCK_PROCESS_CPUTIME_ID);
        for (long i = 0; i < long_run(5, 30) && !stop; i++) {
            o.no_symbols = 1;
            prof_profile_write(prof_lookup("threads"), &o, discard, &size);
            ++*(counter *)done;
            usleep(60000);
        }
        struct text t = { "", 0 };
        o.debug = 1;
        span_before_reading(&cpu, CLOCK_PROCESS_CPUTIME_ID);
        if (prof_window_write(w, &o, keep_head, &t) == 0 && strstr(t.head, "total ")) {
            span_read(&cpu, CLOCK_PROCESS_CPUTIME_ID);
            accounted += (double)atol(strstr(t.head, "total ") + 6) / 250;
            used.least += cpu.least;
            used.most += cpu.most;
        }
        prof_window_close(w);
    }
    return nullptr;
}

struct {
    const char *name;
    void *(*run)(void *done);
    counter done;
    long seen;
    double since; /* when `seen` was new */
    pthread_t thread;
} threads[] = {
    { "dlopen 1", load, { 0 }, 0, 0, 0 },
    { "dlopen 2", load, { 0 }, 0, 0, 0 },
    { "dlopen 3", load, { 0 }, 0, 0, 0 },
    { "dlopen 4", load, { 0 }, 0, 0, 0 },
    { "dl_iterate_phdr 1", list, { 0 }, 0, 0, 0 },
    { "dl_iterate_phdr 2", list, { 0 }, 0, 0, 0 },
    { "exceptions 1", exceptions, { 0 }, 0, 0, 0 },
    { "exceptions 2", exceptions, { 0 }, 0, 0, 0 },
    { "work 1", work, { 0 }, 0, 0, 0 },
    { "work 2", work, { 0 }, 0, 0, 0 },
    { "cancel", cancel, { 0 }, 0, 0, 0 },
    { "profiles", profiles, { 0 }, 0, 0, 0 },
};

/* As long as no thread is on a processor of this busy machine, or for ever. */
const double STUCK_S = 40;

void test_everybody_gets_on()
{
    double end = now() + (double)long_run(5, 60), standstill = 0;

    prof_set_cpu_rate(250);
    prof_set_heap_rate(1024);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    for (auto &t : threads) {
        t.since = now();
        pthread_create(&t.thread, nullptr, t.run, &t.done);
    }
    while (now() < end) {
        usleep(100000);
        for (auto &t : threads) {
            if (t.done != t.seen) {
                t.seen = t.done;
                t.since = now();
            }
            if (now() - t.since > standstill)
                standstill = now() - t.since;
            if (now() - t.since > STUCK_S) {
                printf("%s is stuck after %ld rounds\n", t.name, t.seen);
                abort(); /* so that the stacks are in the core */
            }
        }
    }
    stop = true;
    for (auto &t : threads)
        pthread_join(t.thread, nullptr);
    for (auto &t : threads) {
        CHECK(t.done > 0, "%s has not begun", t.name);
        printf("%-20s %ld\n", t.name, (long)t.done);
    }
    CHECK_INT(destroyed, constructed, "destructors run");
    CHECK(used.least > 0.5 && accounted > used.least * 0.6 && accounted < used.most * 1.1,
          "%.2f s of %.2f to %.2f s accounted for", accounted, used.least, used.most);
    MEASURED("%.1f of %.1f s of processor time accounted for, longest standstill %.2f s", accounted,
             used.least, standstill);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    libraries = argv + 1;
    n_libraries = argc - 1;
    leave = leave_now;
    alarm((unsigned)long_run(120, 300));
    test_everybody_gets_on();
    return check_report();
}
