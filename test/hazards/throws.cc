/*
 * throws.cc - exceptions through three libraries from eight threads, threads cancelled at any
 * instruction, and std::terminate(), while CPU, heap and locks are profiled: all that must run on
 * the way out does.
 *
 *   throws LIBRARY...     (throws_lib.cc)
 */
#include <atomic>
#include <cstdlib>
#include <exception>
#include <stdexcept>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <prof/prof.h>

extern "C" {
#include "check.h"
}
#include "long_run.h"

namespace
{

enum { THREADS = 8, DEPTH = 50 };
typedef void (*step_fn)(void **steps, int left);

void *steps[4]; /* one in each library, and the last that throws */
std::atomic<long> constructed, destroyed, at_thread_exit, cleaned_up;

struct counted {
    counted()
    {
        constructed++;
    }
    ~counted()
    {
        destroyed++;
    }
};

/* The C++ library calls __cxa_thread_atexit() for it. */
struct on_exit {
    char *block = nullptr;
    ~on_exit()
    {
        delete[] block;
        at_thread_exit++;
    }
};
thread_local on_exit thread_object;

__attribute__((noinline)) void last_step(void **, int)
{
    counted c;
    throw std::runtime_error("thrown across libraries, with a string too long to fit inside");
}

void *throws(void *count)
{
    long caught = 0;

    thread_object.block = new char[100];
    for (long i = 0; i < (long)count; i++) {
        try {
            ((step_fn)steps[0])(steps, 3);
        } catch (const std::runtime_error &e) {
            caught += e.what()[0] == 't';
        }
    }
    return (void *)caught;
}

void test_exceptions()
{
    long each = long_run(5000, 125000); /* 10^6 in all */
    pthread_t t[THREADS];

    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], nullptr, throws, (void *)each);
    for (int i = 0; i < THREADS; i++) {
        void *caught = nullptr;
        pthread_join(t[i], &caught);
        CHECK_INT((long)caught, each, "caught");
    }
    CHECK_INT(destroyed, constructed, "destructors of frames");
    CHECK_INT(at_thread_exit, THREADS, "destructors of threads");
    MEASURED("%ld exceptions", each * THREADS);
}

/* --- cancelled ------------------------------------------------------------------------------- */

std::atomic<int> inside;

void clean_up(void *)
{
    cleaned_up++;
}

void until_cancelled(bool at_any_time)
{
    int old;

    free(malloc(100)); /* which cancellation at any time forbids, once it is on */
    if (at_any_time)
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    inside = 1;
    for (volatile long i = 0;; i = i + 1)
        if (!at_any_time)
            pthread_testcancel();
}

void (*volatile bottom)(bool at_any_time) = until_cancelled;

__attribute__((noinline)) void down(int depth, bool at_any_time)
{
    pthread_cleanup_push(clean_up, nullptr);
    if (depth > 1)
        down(depth - 1, at_any_time);
    else
        bottom(at_any_time);
    pthread_cleanup_pop(0);
}

void *victim(void *at_any_time)
{
    thread_object.block = new char[100];
    down(DEPTH, at_any_time != nullptr);
    return nullptr;
}

void test_cancellation()
{
    long n = long_run(100, 2000);

    at_thread_exit = 0;
    for (long i = 0; i < n; i++) {
        pthread_t t;
        void *result = nullptr;

        inside = 0;
        pthread_create(&t, nullptr, victim, i % 2 ? (void *)1 : nullptr);
        while (!inside)
            sched_yield();
        pthread_cancel(t);
        pthread_join(t, &result);
        if (result != PTHREAD_CANCELED)
            CHECK(0, "a thread came back");
    }
    CHECK_INT(cleaned_up, n * DEPTH, "clean-up handlers");
    CHECK_INT(at_thread_exit, n, "destructors of threads");
}

/* --- std::terminate() ------------------------------------------------------------------------ */

void test_terminate()
{
    int to[2], status = 0;
    char said[512] = "";
    size_t size = 0;
    ssize_t n;

    if (pipe(to) != 0)
        return;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = { 0, 0 };
        setrlimit(RLIMIT_CORE, &none);
        dup2(to[1], 2);
        try {
            ((step_fn)steps[0])(steps, 3);
        } catch (const std::bad_alloc &) { /* not this one */
        } catch (...) {
            std::terminate();
        }
        _exit(0);
    }
    close(to[1]);
    while ((n = read(to[0], said + size, sizeof(said) - 1 - size)) > 0)
        size += (size_t)n;
    close(to[0]);
    waitpid(pid, &status, 0);
    CHECK_INT(WTERMSIG(status), SIGABRT, "the way it ends");
    CHECK_STR(
        said,
        "terminate called after throwing an instance of 'std::runtime_error'\n  what():  thrown"
        " across libraries, with a string too long to fit inside\n",
        "what it says");
}

int discard(void *, const void *, size_t)
{
    return 0;
}

} // namespace

int main(int argc, char **argv)
{
    struct prof_window *w = nullptr;

    alarm((unsigned)long_run(120, 600));
    for (int i = 0; i < 3; i++) {
        void *h = i + 1 < argc ? dlopen(argv[i + 1], RTLD_NOW) : nullptr;
        steps[i] = h ? dlsym(h, "step") : nullptr;
        if (!steps[i])
            return 2;
    }
    steps[3] = (void *)last_step;
    prof_set_heap_rate(1024);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    prof_set_cpu_rate(250);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    test_exceptions();
    test_cancellation();
    test_terminate();
    CHECK_INT(prof_window_write(w, nullptr, discard, nullptr), 0, prof_last_error());
    prof_window_close(w);
    return check_report();
}
