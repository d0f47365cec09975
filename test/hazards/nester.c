/*
 * nester.c - an allocator that makes its blocks with the help of others, through the process's own
 * symbols: each malloc() first takes a block of 3,000 bytes and gives it back.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

extern void *aligned_alloc(size_t alignment, size_t size);
extern void free(void *p);

void *malloc(size_t size)
{
    static void *(*next)(size_t);
    void *f = next ? NULL : dlsym(RTLD_NEXT, "malloc");

    if (!next)
        next = (void *(*)(size_t))(uintptr_t)f;
    void *volatile other = aligned_alloc(16, 3000);
    free(other);
    return next(size);
}
