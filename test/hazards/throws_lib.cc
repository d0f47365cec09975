/* throws_lib.cc - one of the libraries that an exception goes through. */
#include <string>

extern "C" void step(void **steps, int left);

static volatile int destroyed;

struct local {
    std::string text { "a string that has to be allocated, and is freed on the way out" };
    ~local()
    {
        destroyed = destroyed + (int)text.size();
    }
};

/* steps[0] is this one, the next calls come after it. */
extern "C" __attribute__((visibility("default"))) void step(void **steps, int left)
{
    local l;

    ((void (*)(void **, int))steps[1])(steps + 1, left - 1);
    destroyed = destroyed + left;
}
