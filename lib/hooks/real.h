/*
 * real.h - libc's own functions, behind ours.
 *
 * The table is read by every hooked call, so its entries always can be called: before anything has
 * been looked up they are functions that look up and then forward (real.c).
 */
#ifndef PROF_HOOKS_REAL_H
#define PROF_HOOKS_REAL_H

#include "base/compiler.h"

struct prof__real {
    void *(*malloc)(size_t size);
    void (*free)(void *p);
    void *(*calloc)(size_t n, size_t size);
    void *(*realloc)(void *p, size_t size);
    int (*posix_memalign)(void **ret, size_t alignment, size_t size);
    void *(*aligned_alloc)(size_t alignment, size_t size);
    void *(*memalign)(size_t alignment, size_t size);
    void *(*valloc)(size_t size);
    void *(*pvalloc)(size_t size);
    int (*dlclose)(void *handle);
};

/* Not atomic, so that a hook can jump through it: entries are aligned words, each written with the
 * one value it will ever have, by however many threads. */
extern struct prof__real prof__real __attribute__((visibility("hidden")));

/* A sanitizer owns malloc here: forward, record nothing. Set before main, and never again. */
extern bool prof__hooks_aside __attribute__((visibility("hidden")));

/*
 * The function that a hook of this name ends up in, or NULL. Exported for another copy of the hooks
 * that comes earlier in the process, as when a program linked with libprof-hooks is also
 * preloaded: it uses our targets instead of us, so that nothing is counted twice.
 */
PROF_SHARED void *prof__hooks_real(const char *name);

#endif
