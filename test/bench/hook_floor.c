/*
 * hook_floor.c - what any hook must cost, and one that costs too much; the bench proves by them
 * that it can tell.
 *
 * Preloaded. Compiled plain, malloc and free are one jump each to libc's: the floor. With
 * -DSLOW_HOOK each also spins for some ten nanoseconds.
 */
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *p);

static void *(*volatile const real_malloc)(size_t) = __libc_malloc;
static void (*volatile const real_free)(void *) = __libc_free;

static inline void spin(void)
{
#ifdef SLOW_HOOK
    for (int i = 0; i < 20; i++)
        __asm__ volatile("" ::: "memory");
#endif
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
    spin();
    return real_malloc(size);
}

__attribute__((visibility("default"))) void free(void *p)
{
    spin();
    real_free(p);
}
