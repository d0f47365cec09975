/*
 * optional_loaded.c - opening the libraries that reading wants; in libprof.so only.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/optional.h"
#include "base/rawlog.h"
#include "base/thread.h"

enum { UNTRIED, THERE, MISSING };

static bool is_set(const char *name)
{
    const char *value = secure_getenv(name);

    return value && *value;
}

/* Preloaded, nobody can ask but by these. */
static bool will_be_read(void)
{
    const char *preloaded = secure_getenv("LD_PRELOAD");

    return !preloaded || !strstr(preloaded, "libprof-preload.so") || is_set("LIBPROF_HTTP") ||
           is_set("LIBPROF_DUMP") || is_set("LIBPROF_PRELOAD_READERS");
}

static bool open_library(struct prof__optional *l)
{
    /* Lazily, as otherwise all that it brings is bound at once. */
    void *handle = dlopen(l->soname, RTLD_LAZY | RTLD_LOCAL);
    bool all = handle != NULL;

    for (size_t i = 0; i < ARRAY_LEN(l->function) && l->function[i].name && all; i++) {
        void *f = dlsym(handle, l->function[i].name);

        memcpy(l->function[i].pointer, &f, sizeof(f));
        all = f != NULL;
    }
    if (!all) {
        const char *why = dlerror(); /* and the program is not told of our failures */
        snprintf(l->why, sizeof(l->why), "%s", why ? why : "it lacks a function");
    }
    return all;
}

static void load(struct prof__optional *l)
{
    bool entered = prof__enter(&prof__self); /* what it allocates is not the program's */

    /* Release: the functions are there; pairs with prof__optional_need(). Twice does no harm. */
    atomic_store_explicit(&l->state, open_library(l) ? THERE : MISSING, memory_order_release);
    if (entered)
        prof__leave(&prof__self);
}

void prof__optional_add(struct prof__optional *l)
{
    l->next = prof__optional_all;
    prof__optional_all = l;
    if (will_be_read())
        load(l);
}

bool prof__optional_need(struct prof__optional *l)
{
    if (atomic_load_explicit(&l->state, memory_order_acquire) == UNTRIED)
        load(l);
    if (atomic_load_explicit(&l->state, memory_order_acquire) == THERE)
        return true;
    if (!atomic_exchange(&l->missed, true))
        prof__log("%s is missing (Debian: %s), so there %s: %s", l->soname, l->package, l->without,
                  l->why);
    return false;
}
