/*
 * demangle.c - borrow __cxa_demangle of the process.
 *
 * libprof is C and does not link a C++ library; a program with C++ names nearly always has one. It
 * is looked for, in turn: in what the process started with, by a weak reference, which the dynamic
 * linker binds when it loads us; and in a libstdc++ that a plugin brought. That one defines unique
 * symbols, so the dynamic linker never unloads it.
 *
 * The linker itself is never asked. Somebody may have its lock for as long as a plugin's
 * constructor runs, or, in a forked child, for ever; libstdc++'s own tables say the same. And a
 * question that it has no answer to leaves an error behind for the program, whose next dlsym()
 * frees it: in a malloc() that asks for the one behind it, before it has that.
 *
 * Its result is malloc()ed and freed here, in normal context and out of sight of our own hooks.
 */
#include "symbol/demangle.h"

#include <stdlib.h>
#include <string.h>

#include "symbol/elf_symbols.h"
#include "symbol/module_history.h"

/* Demanglers take stack in proportion to the name; GNU's refuses longer ones itself. */
enum { MANGLED_MAX = 1024 };

static const char name_of_it[] = "__cxa_demangle";

typedef char *demangle_fn(const char *mangled, char *buf, size_t *size, int *status);

extern demangle_fn __cxa_demangle __attribute__((weak));

static _Atomic uintptr_t found; /* the function, once seen */

static bool is_libstdcxx(const char *path)
{
    const char *slash = strrchr(path, '/');

    return strncmp(slash ? slash + 1 : path, "libstdc++.so.", 13) == 0;
}

/* In what is loaded, as it was when somebody last looked. */
static uintptr_t find_in_plugins(void)
{
    struct prof__arena a = { 0 };
    struct prof__history h;
    uintptr_t f = 0;

    if (prof__history_copy(&a, &h) == 0)
        for (size_t i = 0; i < h.n_loaded && !f; i++)
            if (is_libstdcxx(h.loaded[i].path))
                f = prof__loaded_export(h.loaded[i].bias, name_of_it);
    prof__arena_free(&a);
    return f;
}

void prof__demangler_init(struct prof__demangler *d)
{
    /* Relaxed: the function was there long before its address was stored. */
    uintptr_t f = atomic_load_explicit(&found, memory_order_relaxed);

    d->demangle = __cxa_demangle;
    if (d->demangle)
        return;
    if (!f) {
        f = find_in_plugins(); /* every time until there is one */
        atomic_store_explicit(&found, f, memory_order_relaxed);
    }
    memcpy(&d->demangle, &f, sizeof(f)); /* ISO C has no cast from number to function */
}

const char *prof__demangle(const struct prof__demangler *d, struct prof__arena *a, const char *name)
{
    const char *readable = NULL;
    int status = -1;

    if (!d->demangle || strncmp(name, "_Z", 2) != 0 || strnlen(name, MANGLED_MAX) == MANGLED_MAX)
        return name;
    char *result = d->demangle(name, NULL, NULL, &status);
    if (result && status == 0)
        readable = prof__arena_strdup(a, result);
    free(result);
    return readable ? readable : name;
}
