/*
 * storm_throw.cc - C++ exceptions for test_loader_storm: thrown, caught and thrown again.
 */
#include <stdexcept>
#include <string>

extern "C" int storm_throw(int depth);

struct counted {
    int *n;

    ~counted()
    {
        ++*n;
    }
};

static void deeper(int depth, int *n)
{
    counted c = { n };

    if (depth == 0)
        throw std::runtime_error(std::string("storm"));
    try {
        deeper(depth - 1, n);
    } catch (std::logic_error &) {
        --*n;
    }
}

/* How many destructors have run: depth + 1. */
extern "C" int storm_throw(int depth)
{
    int n = 0;

    try {
        deeper(depth, &n);
    } catch (std::exception &) {
        return n;
    }
    return -1;
}
