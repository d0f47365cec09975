/*
 * demangle.c - borrow __cxa_demangle of the process.
 *
 * libprof is C and does not link a C++ library; a program with C++ names nearly always has one. It
 * is looked for, in turn: linked with libprof (a weak reference), in the global scope, and in a
 * libstdc++ that came with a dlopen()ed plugin. That last reference is kept: libstdc++ defines
 * unique symbols, so the dynamic linker never unloads it anyway.
 *
 * Its result is malloc()ed and freed here, in normal context and out of sight of our own hooks.
 */
#include "symbol/demangle.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* Demanglers take stack in proportion to the name; GNU's refuses longer ones itself. */
enum { MANGLED_MAX = 1024 };

typedef char *demangle_fn(const char *mangled, char *buf, size_t *size, int *status);

extern demangle_fn __cxa_demangle __attribute__((weak));

static _Atomic(void *) found; /* the function, once seen */

static void *find(void)
{
    void *p = dlsym(RTLD_DEFAULT, "__cxa_demangle");
    void *open = dlsym(RTLD_DEFAULT, "dlopen"); /* which a static program has no use for */

    if (!p && open) {
        __typeof__(dlopen) *call;

        memcpy(&call, &open, sizeof(open)); /* ISO C has no cast from object to function */
        void *library = call("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
        p = library ? dlsym(library, "__cxa_demangle") : NULL;
        if (library && !p)
            dlclose(library);
    }
    return p;
}

void prof__demangler_init(struct prof__demangler *d)
{
    /* Relaxed: the function was there long before its address was stored. */
    void *p = atomic_load_explicit(&found, memory_order_relaxed);

    if (__cxa_demangle) {
        d->demangle = __cxa_demangle;
        return;
    }
    if (!p) {
        p = find(); /* every time until there is one: a plugin may bring it later */
        atomic_store_explicit(&found, p, memory_order_relaxed);
    }
    memcpy(&d->demangle, &p, sizeof(p));
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
