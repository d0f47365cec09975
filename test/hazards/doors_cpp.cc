/*
 * doors_cpp.cc - the 8 forms of new and the 12 of delete: each seen, once, and forgotten again.
 */
#include <initializer_list>
#include <new>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" {
#include "check.h"
#include "totals.h"
}

namespace
{

const std::align_val_t wide { 256 };

void *volatile kept;

struct form {
    const char *name;
    void *(*make)(std::size_t n);
    void (*drop)(void *p, std::size_t n);
};

/* Operators are called by name: the compiler may leave out pairs of new and delete expressions. */
const form forms[] = {
    { "new, delete", [](std::size_t n) { return ::operator new(n); },
      [](void *p, std::size_t) { ::operator delete(p); } },
    { "new, sized delete", [](std::size_t n) { return ::operator new(n); },
      [](void *p, std::size_t n) { ::operator delete(p, n); } },
    { "new[], delete[]", [](std::size_t n) { return ::operator new[](n); },
      [](void *p, std::size_t) { ::operator delete[](p); } },
    { "new[], sized delete[]", [](std::size_t n) { return ::operator new[](n); },
      [](void *p, std::size_t n) { ::operator delete[](p, n); } },
    { "nothrow new, delete", [](std::size_t n) { return ::operator new(n, std::nothrow); },
      [](void *p, std::size_t) { ::operator delete(p, std::nothrow); } },
    { "nothrow new[], delete[]", [](std::size_t n) { return ::operator new[](n, std::nothrow); },
      [](void *p, std::size_t) { ::operator delete[](p, std::nothrow); } },
    { "aligned new, delete", [](std::size_t n) { return ::operator new(n, wide); },
      [](void *p, std::size_t) { ::operator delete(p, wide); } },
    { "aligned new, sized delete", [](std::size_t n) { return ::operator new(n, wide); },
      [](void *p, std::size_t n) { ::operator delete(p, n, wide); } },
    { "aligned new[], delete[]", [](std::size_t n) { return ::operator new[](n, wide); },
      [](void *p, std::size_t) { ::operator delete[](p, wide); } },
    { "aligned new[], sized delete[]", [](std::size_t n) { return ::operator new[](n, wide); },
      [](void *p, std::size_t n) { ::operator delete[](p, n, wide); } },
    { "aligned nothrow new, delete",
      [](std::size_t n) { return ::operator new(n, wide, std::nothrow); },
      [](void *p, std::size_t) { ::operator delete(p, wide, std::nothrow); } },
    { "aligned nothrow new[], delete[]",
      [](std::size_t n) { return ::operator new[](n, wide, std::nothrow); },
      [](void *p, std::size_t) { ::operator delete[](p, wide, std::nothrow); } },
};

void test_each_form()
{
    for (const form &f : forms)
        for (std::size_t size : { std::size_t(1), std::size_t(512), std::size_t(1) << 18 }) {
            totals before = totals_now();
            kept = f.make(size);
            totals live = totals_now();
            f.drop(kept, size);
            totals after = totals_now();

            CHECK_INT(live.inuse_objects - before.inuse_objects, 1, f.name);
            /* libstdc++ rounds an aligned size up, as aligned_alloc() wants it */
            CHECK_BETWEEN(live.inuse_bytes - before.inuse_bytes, size,
                          f.name[0] == 'a' ? (size + 255) & ~std::size_t(255) : size, f.name);
            CHECK_INT(live.alloc_objects - before.alloc_objects, 1, f.name);
            CHECK_INT(after.inuse_objects, before.inuse_objects, f.name);
            CHECK_INT(after.inuse_bytes, before.inuse_bytes, f.name);
        }
}

/* Functions with a frame while operator new runs. */
template <typename... Arguments>
__attribute__((noinline, aligned(512))) void *make(std::size_t n, Arguments... arguments)
{
    void *p = ::operator new(n, arguments...);

    __asm__ volatile("" : "+r"(p)::"memory");
    return p;
}

template <typename... Arguments> void has_leaf(const char *what, Arguments... arguments)
{
    auto function = reinterpret_cast<std::uintptr_t>(&make<Arguments...>);
    bool found = false;

    kept = make<Arguments...>(3072, arguments...);
    totals_now();
    for (const char *at = totals_text; (at = std::strstr(at, "] @ 0x")) != nullptr; at++)
        found = found || std::strtoull(at + 4, nullptr, 16) - function < 512;
    CHECK(found, "%s: its caller is a leaf", what);
    ::operator delete(kept, std::align_val_t(256)); /* all three end in the same */
}

/* jemalloc's aligned operators come through aligned_alloc(), and are a frame of their own. */
void test_the_caller_is_the_leaf(bool jemalloc)
{
    has_leaf("new");
    if (!jemalloc) {
        has_leaf("aligned new", wide);
        has_leaf("aligned nothrow new", wide, std::nothrow);
    }
}

void test_a_failed_new_leaves_nothing()
{
    totals before = totals_now();
    bool thrown = false;

    try {
        kept = ::operator new(PTRDIFF_MAX);
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown, "bad_alloc");
    CHECK(::operator new(PTRDIFF_MAX, std::nothrow) == nullptr, "nothrow");
    totals after = totals_now();
    CHECK_INT(after.inuse_objects, before.inuse_objects, "nothing is left in use");
    CHECK_INT(after.inuse_bytes, before.inuse_bytes, "not a byte");
}

} // namespace

/* doors_cpp [ALLOCATOR]: this one is there, and has operators of its own. */
int main(int argc, char **argv)
{
    setvbuf(stdout, nullptr, _IOLBF, 1 << 16);
    free(malloc(1));
    test_each_form();
    const char *allocator = argc > 1 ? argv[1] : "";

    if (*allocator)
        test_the_caller_is_the_leaf(std::strcmp(allocator, "jemalloc") == 0);
    if (std::strcmp(allocator, "mimalloc") != 0) /* which aborts then */
        test_a_failed_new_leaves_nothing();
    return check_report();
}
