/*
 * waits_cpp.cc - C++ threads that are cancelled, leave or throw while they wait or hold a lock:
 * destructors run, locks are let go, and the next thread can have them. All rates are 1.
 */
#include <atomic>
#include <condition_variable>
#include <cxxabi.h>
#include <mutex>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <shared_mutex>
#include <stdexcept>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include "check.h"
#include <prof/prof.h>

static std::atomic<int> destroyed, tid;

struct Witness {
    ~Witness()
    {
        destroyed++;
    }
};

static std::mutex mutex;
static std::shared_mutex shared;
static std::condition_variable cv;
static std::condition_variable_any any;
static sem_t sem;
static bool go;
static pthread_t other;

static void until_asleep()
{
    char path[64], line[8];

    for (;;) {
        snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid.load());
        FILE *f = tid ? fopen(path, "r") : nullptr;
        bool asleep = f && fgets(line, sizeof(line), f) && strncmp(line, "202 ", 4) == 0;

        if (f)
            fclose(f);
        if (asleep)
            return;
        sched_yield();
    }
}

static void wait_on_condition()
{
    std::unique_lock<std::mutex> lock(mutex);
    Witness w;
    cv.wait(lock, [] { return go; });
}

static void wait_on_any()
{
    std::shared_lock<std::shared_mutex> lock(shared);
    Witness w;
    any.wait(lock, [] { return go; });
}

static void wait_on_semaphore()
{
    std::lock_guard<std::mutex> lock(mutex);
    Witness w;
    sem_wait(&sem);
}

static void wait_for_thread()
{
    std::lock_guard<std::mutex> lock(mutex);
    Witness w;
    pthread_join(other, nullptr);
}

static void *run(void *arg)
{
    Witness outer;

    tid = static_cast<int>(syscall(SYS_gettid));
    reinterpret_cast<void (*)()>(arg)();
    return nullptr;
}

static void *sleep_for_ever(void *)
{
    for (;;)
        pause();
    return nullptr;
}

static void test_cancelled_waits_unwind(const char *what, void (*wait)())
{
    enum { ROUNDS = 100 };
    int wrong = 0;

    for (int i = 0; i < ROUNDS; i++) {
        pthread_t t;
        void *ret;

        destroyed = 0;
        tid = 0;
        pthread_create(&t, nullptr, run, reinterpret_cast<void *>(wait));
        until_asleep();
        pthread_cancel(t);
        pthread_join(t, &ret);
        wrong += ret != PTHREAD_CANCELED || destroyed != 2;
        if (!mutex.try_lock() || !shared.try_lock())
            wrong++;
        else
            mutex.unlock(), shared.unlock();
    }
    CHECK_INT(wrong, 0, what);
}

static void test_exceptions_pass_locks()
{
    enum { THREADS = 4, ROUNDS = 2000 };
    std::thread t[THREADS];
    std::atomic<int> caught { 0 };
    long counter = 0;

    for (auto &one : t)
        one = std::thread([&] {
            for (int i = 0; i < ROUNDS; i++)
                try {
                    std::lock_guard<std::mutex> lock(mutex);
                    counter++;
                    if (i % 2)
                        throw std::runtime_error("while holding the lock");
                } catch (const std::exception &) {
                    caught++;
                }
        });
    for (auto &one : t)
        one.join();
    CHECK_INT(caught, THREADS * ROUNDS / 2, "exceptions caught");
    CHECK_INT(counter, THREADS * ROUNDS, "rounds");
}

static void test_exit_with_a_lock_held()
{
    enum { ROUNDS = 200 };
    int wrong = 0;

    for (int i = 0; i < ROUNDS; i++) {
        destroyed = 0;
        pthread_t t;
        pthread_create(
            &t, nullptr,
            [](void *) -> void * {
                std::lock_guard<std::mutex> lock(mutex);
                Witness w;
                pthread_exit(nullptr);
            },
            nullptr);
        {
            std::lock_guard<std::mutex> lock(mutex); /* may have to wait for it */
        }
        pthread_join(t, nullptr);
        wrong += destroyed != 1;
    }
    CHECK_INT(wrong, 0, "threads whose destructors did not run");
}

int main()
{
    alarm(100);
    sem_init(&sem, 0, 0);
    pthread_create(&other, nullptr, sleep_for_ever, nullptr);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    test_cancelled_waits_unwind("condition variable", wait_on_condition);
    test_cancelled_waits_unwind("condition variable of any lock", wait_on_any);
    test_cancelled_waits_unwind("semaphore", wait_on_semaphore);
    test_cancelled_waits_unwind("join", wait_for_thread);
    test_exceptions_pass_locks();
    test_exit_with_a_lock_held();
    CHECK(prof_profile_count(prof_lookup("block")) > 0, "waits were seen");
    return check_report();
}
