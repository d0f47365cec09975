/*
 * cpu_storm.cc - everything at once that hangs or breaks profilers, while the CPU is profiled as
 * fast as it can be and all stacks are asked for: libraries loaded and unloaded, the loader's list
 * walked, exceptions thrown, threads cancelled and left in the middle.
 *
 *   cpu_storm LIBRARY
 *
 * Every thread must get on, every destructor run, and most of the time be accounted for.
 */
#include <atomic>
#include <stdexcept>

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <prof/prof.h>

extern "C" {
#include "check.h"
}

namespace
{

const char *library;
std::atomic<bool> stop;
std::atomic<long> progress[6];
std::atomic<long> constructed, destroyed;
volatile long sink;

enum { LOADER, LIST, EXCEPTIONS, WORK, CANCEL, PROFILES, KINDS };
const char *const kinds[KINDS] = { "dlopen", "dl_iterate_phdr", "exceptions",
                                   "work",   "cancel",          "profiles" };

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

void *load(void *)
{
    while (!stop) {
        void *h = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        if (!h)
            break;
        int (*call)(int) = (int (*)(int))dlsym(h, "storm_call");
        if (call)
            sink = sink + call(20000);
        dlclose(h);
        progress[LOADER]++;
    }
    return nullptr;
}

int look(struct dl_phdr_info *info, size_t, void *)
{
    sink = sink + (long)strlen(info->dlpi_name);
    return 0;
}

void *list(void *)
{
    while (!stop) {
        dl_iterate_phdr(look, nullptr);
        progress[LIST]++;
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

void *exceptions(void *)
{
    while (!stop) {
        try {
            throw_at(5);
        } catch (const std::runtime_error &) {
            progress[EXCEPTIONS]++;
        }
    }
    return nullptr;
}

void *work(void *)
{
    while (!stop) {
        for (int i = 0; i < 10000; i++)
            sink = sink + i;
        progress[WORK]++;
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

void *cancel(void *)
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
        progress[CANCEL]++;
    }
    return nullptr;
}

int discard(void *arg, const void *data, size_t size)
{
    (void)data;
    *(size_t *)arg += size;
    return 0;
}

double cpu_used()
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
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

double accounted, used;

void *profiles(void *)
{
    while (!stop) {
        struct prof_window *w = nullptr;
        struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
        size_t size = 0;

        if (prof_window_open("profile", &w) != 0) {
            CHECK(0, "%s", prof_last_error());
            break;
        }
        double before = cpu_used();
        for (int i = 0; i < 5 && !stop; i++) {
            o.no_symbols = 1;
            prof_profile_write(prof_lookup("threads"), &o, discard, &size);
            usleep(60000);
        }
        struct text t = { "", 0 };
        o.debug = 1;
        double after = cpu_used();
        if (prof_window_write(w, &o, keep_head, &t) == 0 && strstr(t.head, "total ")) {
            accounted += (double)atol(strstr(t.head, "total ") + 6) / 250;
            used += after - before;
        }
        prof_window_close(w);
        progress[PROFILES]++;
    }
    return nullptr;
}

void test_everybody_gets_on()
{
    void *(*const run[])(void *) = { load,       load, list,   exceptions,
                                     exceptions, work, cancel, profiles };
    enum { N = sizeof(run) / sizeof(run[0]) };
    pthread_t t[N];
    long last[KINDS] = { 0 };

    prof_set_cpu_rate(250);
    for (int i = 0; i < N; i++)
        pthread_create(&t[i], nullptr, run[i], nullptr);
    for (int look = 0; look < 3; look++) {
        sleep(4);
        for (int k = 0; k < KINDS; k++) {
            long now = progress[k];

            CHECK(now > last[k], "%s is stuck", kinds[k]);
            last[k] = now;
        }
    }
    stop = true;
    for (int i = 0; i < N; i++)
        pthread_join(t[i], nullptr);
    for (int k = 0; k < KINDS; k++)
        printf("%-16s %ld\n", kinds[k], (long)progress[k]);
    printf("%.2f s of %.2f s accounted for\n", accounted, used);
    CHECK_INT(destroyed, constructed, "destructors run");
    CHECK(used > 1 && accounted > used * 0.6 && accounted < used * 1.1,
          "%.2f s of %.2f s accounted for", accounted, used);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    library = argv[1];
    leave = leave_now;
    alarm(120);
    test_everybody_gets_on();
    return check_report();
}
