/*
 * interposer.c - somebody else's malloc wrapper, as people write them: it counts and forwards, and
 * makes one door out of another through the process's own symbols.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern void *malloc(size_t size);
extern void *calloc(size_t n, size_t size);
extern void *memalign(size_t alignment, size_t size);
extern void *aligned_alloc(size_t alignment, size_t size);
extern void free(void *p);

static void *(*next_malloc)(size_t);
static void *(*next_memalign)(size_t, size_t);
static void (*next_free)(void *);
static __thread long calls __attribute__((tls_model("initial-exec")));

static void *next(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);

    __asm__ volatile("" : "+r"(f)); /* keep dlsym() from being called by a jump */
    return f;
}

void *malloc(size_t size)
{
    calls++;
    if (!next_malloc)
        next_malloc = (void *(*)(size_t))(uintptr_t)next("malloc");
    return next_malloc(size);
}

void free(void *p)
{
    calls++;
    if (!next_free)
        next_free = (void (*)(void *))(uintptr_t)next("free");
    next_free(p);
}

/* By malloc(), as the process finds it: a hook before us sees both calls. */
void *calloc(size_t n, size_t size)
{
    size_t total;

    calls++;
    if (__builtin_mul_overflow(n, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    void *volatile p = malloc(total); /* volatile: the compiler would make this calloc() again */
    return p ? memset(p, 0, total) : NULL;
}

void *memalign(size_t alignment, size_t size)
{
    calls++;
    if (!next_memalign)
        next_memalign = (void *(*)(size_t, size_t))(uintptr_t)next("memalign");
    return next_memalign(alignment, size);
}

/* glibc refuses odd alignments here since 2.38; before, it is memalign(). */
void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}
