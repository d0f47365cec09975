/*
 * test_mycode.c - the program's own code is told from that of allocators, containers and libraries.
 */
#include "encode/mycode.h"

#include "check.h"

static void test_whose_code_it_is(void)
{
    static const struct {
        const char *name, *file, *mapping;
        bool is_program, is_own;
    } cases[] = {
        { "handle", "/src/app/handle.c", "/opt/app/bin/app", true, true },
        { "handle", NULL, "/opt/app/bin/app", true, true },
        { "handle", NULL, "/usr/bin/app", true, true }, /* wherever it is installed */
        { "plug", NULL, "/opt/app/lib/libplug.so", false, true },
        { "plug", NULL, "/usr/lib/x86_64-linux-gnu/libplug.so", false, false },
        { "qsort_r", NULL, "/lib/x86_64-linux-gnu/libc.so.6", false, false },
        { "malloc", NULL, "/opt/jemalloc/libjemalloc.so.2", false, false },
        { "LazyCompile:*fib a.js:7", NULL, "[jit]", false, true },
        { "clock", NULL, "[vdso]", false, false },
        /* templates of others, instantiated here */
        { "std::vector<...>::push_back", "/usr/include/c++/12/bits/stl_vector.h", "/opt/a", true,
          false },
        { "Vec::grow", "/opt/gcc/include/c++/13/bits/x.h", "/opt/a", true, false },
        { "std::make_shared<...>", NULL, "/opt/a", true, false },
        { "stdout_writer", NULL, "/opt/a", true, true },
        { "operator new[]", NULL, "/opt/a", true, false },
        { "shop::operator+", NULL, "/opt/a", true, true },
        /* allocators, and what is only spelled alike */
        { "malloc", NULL, "/opt/a", true, false },
        { "malloc.part.0", NULL, "/opt/a", true, false },
        { "malloc(unsigned long)", NULL, "/opt/a", true, false },
        { "malloc_report", NULL, "/opt/a", true, true },
        { "zmalloc_usable", NULL, "/opt/a", true, false },
        { "xmalloc", "/src/lib/xmalloc.c", "/opt/a", true, false },
        { "xmalloc_test", "/src/lib/xmalloc.c", "/opt/a", true, true },
        { "g_malloc0_n", NULL, "/opt/a", true, false },
        { "je_arena_malloc", NULL, "/opt/a", true, false },
        { "alloc::raw_vec::RawVec<T,A>::grow_one", "/rustc/90c5/library/alloc/src/raw_vec.rs",
          "/opt/a", true, false },
        { "<alloc::vec::Vec<T> as core::ops::index::Index<I>>::index", NULL, "/opt/a", true,
          false },
        { "", NULL, "/opt/a", true, true },
        { "~", NULL, "", false, true },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prof__frame f = { cases[i].name, cases[i].file, cases[i].mapping,
                                 cases[i].is_program };

        CHECK_INT(prof__is_my_code(&f), cases[i].is_own, cases[i].name);
    }
}

int main(void)
{
    test_whose_code_it_is();
    return check_report();
}
