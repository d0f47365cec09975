/*
 * throw.cc - a C++ program that links libprof: exceptions pass through, with destructors run.
 */
#include <cstdio>
#include <stdexcept>
#include <string>

#include <prof/prof.h>

static int destroyed;

struct Guard {
    ~Guard()
    {
        destroyed++;
    }
};

__attribute__((noinline)) static void thrower(int depth)
{
    Guard guard;

    if (depth == 0)
        throw std::runtime_error(prof_version());
    thrower(depth - 1);
}

int main()
{
    int caught = 0;

    for (int i = 0; i < 1000; i++) {
        try {
            thrower(10);
        } catch (const std::exception &e) {
            caught += std::string(e.what()) == prof_version();
        }
    }
    if (caught != 1000 || destroyed != 11000)
        std::printf("%d of 1000 caught, %d of 11000 destroyed\n", caught, destroyed);
    return caught != 1000 || destroyed != 11000;
}
