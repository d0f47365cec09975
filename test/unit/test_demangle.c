/*
 * test_demangle.c - C++ names become readable when the program has a demangler, and only then.
 */
#include "symbol/demangle.h"

#include <dlfcn.h>

#include "check.h"
#include "symbol/module_history.h"

static void *loaded_libstdcxx(void)
{
    return dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
}

static void test_a_program_without_one_keeps_the_names_and_loads_nothing(void)
{
    struct prof__arena a = { 0 };
    struct prof__demangler d;

    if (loaded_libstdcxx() || dlsym(RTLD_DEFAULT, "__cxa_demangle")) {
        printf("skipped: there is a C++ library here from the start\n");
        return;
    }
    prof__demangler_init(&d);
    CHECK_STR(prof__demangle(&d, &a, "_ZN2ns4pool4growEm"), "_ZN2ns4pool4growEm", "mangled");
    CHECK(!loaded_libstdcxx(), "libstdc++ has not been loaded");
    prof__arena_free(&a);
}

/* As a plugin brings it: not in the global scope, and found without the loader. */
static void test_one_that_came_with_a_plugin_is_used(void)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        { "_ZN2ns4pool4growEm", "ns::pool::grow(unsigned long)" },
        { "_Znwm", "operator new(unsigned long)" },
        { "_ZNSt6vectorIiSaIiEE9push_backERKi",
          "std::vector<int, std::allocator<int> >::push_back(int const&)" },
        { "main", "main" },
        { "", "" },
        { "_Z", "_Z" },
        { "_Znonsense", "_Znonsense" },
        { "_ZN\xff\xff", "_ZN\xff\xff" },
    };
    struct prof__arena a = { 0 };
    struct prof__demangler d;
    char name[5000];

    if (!dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL)) {
        printf("skipped: there is no libstdc++: %s\n", dlerror());
        return;
    }
    CHECK_INT(prof__history_refresh(), 0, "what is loaded, as a report looks at it first");
    prof__demangler_init(&d);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK_STR(prof__demangle(&d, &a, cases[i].from), cases[i].to, "demangled");

    /* f(int****...) and a nest of f<f<f<...: proper names, and more than a demangler's stack. */
    memset(name, 'P', sizeof(name));
    memcpy(name, "_Z1f", 4);
    name[sizeof(name) - 2] = 'i';
    name[sizeof(name) - 1] = '\0';
    CHECK(prof__demangle(&d, &a, name) == name, "a very long name is left alone");
    for (size_t i = 2; i + 3 < sizeof(name); i += 3)
        memcpy(name + i, "1fI", 3);
    CHECK(prof__demangle(&d, &a, name) == name, "and so is a deep one");
    name[1000] = '\0';
    CHECK(prof__demangle(&d, &a, name) == name, "and one that ends in the middle");
    prof__arena_free(&a);
}

int main(void)
{
    test_a_program_without_one_keeps_the_names_and_loads_nothing();
    test_one_that_came_with_a_plugin_is_used();
    return check_report();
}
