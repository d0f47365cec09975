/*
 * contention_cpp.cc - scenes of waiting with C++'s own types; see contention.c.
 */
#include "contention.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <semaphore.h>
#include <shared_mutex>
#include <thread>

/* What ends in an unlock by a destructor: mostly a jump, with no frame left. */
#define LOCK_SCENE(kind, type, guard)                       \
    static type kind##_mutex;                               \
    SCENE_FUNCTION kind##_waiter(void)                      \
    {                                                       \
        guard lock(kind##_mutex);                           \
    }                                                       \
    SCENE_FUNCTION kind##_holder(void (*wait)(void), int n) \
    {                                                       \
        std::unique_lock<type> lock(kind##_mutex);          \
        start_waiters(wait, n);                             \
        held_ns = hold();                                   \
    }

LOCK_SCENE(stdmutex, std::mutex, std::lock_guard<std::mutex>)
LOCK_SCENE(stdrecursive, std::recursive_mutex, std::lock_guard<std::recursive_mutex>)
LOCK_SCENE(stdshared, std::shared_mutex, std::shared_lock<std::shared_mutex>)
LOCK_SCENE(stdexclusive, std::shared_mutex, std::unique_lock<std::shared_mutex>)

static std::timed_mutex stdtimed_mutex;

SCENE_FUNCTION stdtimed_waiter(void)
{
    if (stdtimed_mutex.try_lock_for(std::chrono::minutes(1)))
        stdtimed_mutex.unlock();
}

SCENE_FUNCTION stdtimed_holder(void (*wait)(void), int n)
{
    std::lock_guard<std::timed_mutex> lock(stdtimed_mutex);
    start_waiters(wait, n);
    held_ns = hold();
}

static std::mutex cv_mutex;
static std::condition_variable cv;
static bool go;

SCENE_FUNCTION cv_waiter(void)
{
    std::unique_lock<std::mutex> lock(cv_mutex);
    cv.wait(lock, [] { return go; });
}

SCENE_FUNCTION cvfor_waiter(void)
{
    std::unique_lock<std::mutex> lock(cv_mutex);
    cv.wait_for(lock, std::chrono::minutes(1), [] { return go; });
}

SCENE_FUNCTION cv_holder(void (*wait)(void), int n)
{
    go = false;
    start_waiters(wait, n);
    held_ns = hold();
    std::lock_guard<std::mutex> lock(cv_mutex);
    go = true;
    cv.notify_all();
}

static sem_t sem;
static std::thread sleeper;

SCENE_FUNCTION stdjoin_waiter(void)
{
    sleeper.join();
    __asm__ volatile("");
}

SCENE_FUNCTION stdjoin_holder(void (*wait)(void), int n)
{
    sleeper = std::thread([] { sem_wait(&sem); });
    start_waiters(wait, n);
    held_ns = hold();
    sem_post(&sem);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    sem_init(&sem, 0, 0);
    SCENE(stdmutex, stdmutex, WAITERS);
    SCENE(stdrecursive, stdrecursive, 1);
    SCENE(stdshared, stdshared, 2);
    SCENE(stdexclusive, stdexclusive, 1);
    SCENE(stdtimed, stdtimed, 1);
    SCENE(cv, cv, WAITERS);
    SCENE(cv, cvfor, 1);
    SCENE(stdjoin, stdjoin, 1);
    return write_profile(argv[2], "block", "") || write_profile(argv[2], "mutex", "");
}
