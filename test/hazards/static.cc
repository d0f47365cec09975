/*
 * static.cc - the C++ side of a program without any shared library: operators, exceptions, locks
 * and names.
 *
 *     static check FOLDER   leaves heap.pb.gz in it
 */
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "check.h"
#include "text_profile.h"
#include <prof/prof.h>

struct Large {
    char bytes[5000];
};

struct alignas(128) Aligned {
    char bytes[640];
};

namespace shop
{
template <typename T> __attribute__((noinline)) T *make()
{
    return new T;
}

__attribute__((noinline)) static Large *make_array()
{
    return new Large[3];
}

__attribute__((noinline)) static std::vector<int> make_vector()
{
    return std::vector<int>(1000);
}
} // namespace shop

static long rows_of(const char *profile, const char *name)
{
    struct text_profile text;
    long n = 0;

    if (text_profile_take(&text, profile, 1) == 0)
        n = text_profile_sum(&text, name);
    text_profile_free(&text);
    return n;
}

static void test_operators()
{
    Large *one = shop::make<Large>(), *three = shop::make_array();
    Aligned *aligned = shop::make<Aligned>();
    std::vector<int> numbers = shop::make_vector();

    CHECK_INT(rows_of("heap", "shop::make<Large>"), 1, "new");
    CHECK_INT(rows_of("heap", "shop::make<Aligned>"), 1, "aligned new");
    CHECK_INT(rows_of("heap", "shop::make_array"), 1, "new[]");
    CHECK_INT(rows_of("heap", "shop::make_vector"), 1, "vector");
    delete one;
    delete[] three;
    delete aligned;
    numbers = std::vector<int>();
    CHECK_INT(rows_of("heap", "shop::make"), 0, "all deleted");
}

static int destroyed;

struct Guard {
    std::string text = std::string(200, 'x');
    ~Guard()
    {
        destroyed++;
    }
};

__attribute__((noinline)) static void thrower(int depth)
{
    Guard guard;

    if (depth == 0)
        throw std::runtime_error(guard.text);
    thrower(depth - 1);
}

static void test_exceptions()
{
    int caught = 0;

    try {
        throw 1; /* libgcc keeps what it finds out at the first throw */
    } catch (int) {
    }
    for (int i = 0; i < 1000; i++) {
        try {
            thrower(10);
        } catch (const std::exception &e) {
            caught++;
        }
    }
    CHECK_INT(caught, 1000, "caught");
    CHECK_INT(destroyed, 11000, "destroyed");
    CHECK_INT(rows_of("heap", "thrower"), 0, "blocks left over");
}

static std::mutex mutex;
static std::condition_variable condition;
static bool told;

__attribute__((noinline)) static void wait_for_lock()
{
    std::lock_guard<std::mutex> guard(mutex);
}

__attribute__((noinline)) static void wait_to_be_told()
{
    std::unique_lock<std::mutex> lock(mutex);

    while (!told)
        condition.wait(lock);
}

static void test_waiting()
{
    while (!rows_of("block", "wait_for_lock") || !rows_of("block", "wait_to_be_told")) {
        std::thread waiter, listener;

        told = false;
        {
            std::lock_guard<std::mutex> guard(mutex);

            waiter = std::thread(wait_for_lock);
            listener = std::thread(wait_to_be_told);
            usleep(20000); /* time for them to come; if it was not enough there is another round */
        }
        usleep(20000);
        {
            std::lock_guard<std::mutex> guard(mutex);

            told = true;
        }
        condition.notify_all();
        waiter.join();
        listener.join();
    }
    CHECK(rows_of("mutex", "test_waiting") > 0, "who let them wait");
}

int main(int argc, char **argv)
{
    Large *kept;

    alarm(60);
    prof_set_heap_rate(1);
    prof_set_mutex_fraction(1);
    prof_set_block_rate(1);
    std::free(std::malloc(2 << 20)); /* as in static.c */
    if (argc < 3)
        return 2;
    test_operators();
    test_exceptions();
    test_waiting();
    kept = shop::make<Large>();
    CHECK_INT(prof_write_heap((std::string(argv[2]) + "/heap.pb.gz").c_str()), 0,
              prof_last_error());
    delete kept;
    return check_report();
}
