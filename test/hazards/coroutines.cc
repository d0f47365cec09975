/*
 * coroutines.cc - C++20 coroutines, which leave their stack and go on upon another thread's, while
 * the CPU and every block are profiled.
 */
#include <coroutine>
#include <deque>
#include <exception>

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <prof/prof.h>

extern "C" {
#include "check.h"
}
#include "long_run.h"

namespace
{

enum { THREADS = 3, TASKS = 64 };

volatile long sink;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
std::deque<std::coroutine_handle<>> ready;
bool stop;

struct task {
    struct promise_type {
        task get_return_object()
        {
            return {};
        }
        std::suspend_never initial_suspend()
        {
            return {};
        }
        std::suspend_never final_suspend() noexcept
        {
            return {};
        }
        void return_void()
        {
        }
        void unhandled_exception()
        {
            std::terminate();
        }
    };
};

/* Go on later, in whichever thread comes. */
struct later {
    bool await_ready()
    {
        return false;
    }
    void await_suspend(std::coroutine_handle<> h)
    {
        pthread_mutex_lock(&mutex);
        ready.push_back(h);
        pthread_mutex_unlock(&mutex);
    }
    void await_resume()
    {
    }
};

long rounds, ended;

__attribute__((noinline)) void spend()
{
    for (int i = 0; i < 2000; i++)
        sink = sink + i;
}

task work(int n)
{
    char *block = nullptr;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        delete[] block;
        block = new char[(size_t)(100 + n)];
        spend();
        __atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED);
        co_await later();
    }
    delete[] block;
    __atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
}

void *run(void *)
{
    while (__atomic_load_n(&ended, __ATOMIC_RELAXED) < TASKS) {
        std::coroutine_handle<> h;
        pthread_mutex_lock(&mutex);
        if (!ready.empty()) {
            h = ready.front();
            ready.pop_front();
        }
        pthread_mutex_unlock(&mutex);
        if (h)
            h.resume();
    }
    return nullptr;
}

struct text {
    char *at;
    size_t size;
};

int keep(void *arg, const void *data, size_t size)
{
    text *t = (text *)arg;
    char *more = (char *)realloc(t->at, t->size + size + 1);

    if (!more)
        return -1;
    memcpy(more + t->size, data, size);
    t->at = more;
    t->size += size;
    more[t->size] = 0;
    return 0;
}

} // namespace

int main()
{
    struct prof_window *cpu = nullptr, *heap = nullptr;
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    pthread_t t[THREADS];

    alarm((unsigned)long_run(60, 200));
    prof_set_heap_rate(1);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    prof_set_cpu_rate(250);
    CHECK_INT(prof_window_open("profile", &cpu), 0, prof_last_error());
    CHECK_INT(prof_window_open("heap", &heap), 0, prof_last_error());
    for (int i = 0; i < TASKS; i++)
        work(i);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], nullptr, run, nullptr);
    sleep((unsigned)long_run(2, 60));
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], nullptr);
    CHECK(rounds > 1000, "only %ld rounds", rounds);
    CHECK_INT(ended, TASKS, "coroutines that came to their end");

    text told = { nullptr, 0 };
    o.debug = 1;
    CHECK_INT(prof_window_write(cpu, &o, keep, &told), 0, prof_last_error());
    CHECK(told.at && strstr(told.at, "spend") && strstr(told.at, "work"),
          "the CPU profile has the coroutine");
    free(told.at);
    told = { nullptr, 0 };
    CHECK_INT(prof_window_write(heap, &o, keep, &told), 0, prof_last_error());
    CHECK(told.at && strstr(told.at, "work"), "the heap profile has it");
    free(told.at);
    prof_window_close(cpu);
    prof_window_close(heap);
    MEASURED("%ld times a coroutine went on", rounds);
    return check_report();
}
