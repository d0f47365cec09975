/*
 * hook_floor.c - what any hook must cost, and one that costs too much; the bench proves by them
 * that it can tell.
 *
 * Preloaded. Compiled plain, each function is one jump to libc's: the floor. With -DSLOW_HOOK
 * malloc and free also spin for some ten nanoseconds. With -DTRY_FIRST a lock is tried before it is
 * waited for, which is the least that a profile of contention can do while it is on.
 */
#include <pthread.h>
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *p);
extern int __pthread_mutex_lock(pthread_mutex_t *m);
extern int __pthread_mutex_trylock(pthread_mutex_t *m);
extern int __pthread_mutex_unlock(pthread_mutex_t *m);

#define HOOK __attribute__((visibility("default")))

static void *(*volatile const real_malloc)(size_t) = __libc_malloc;
static void (*volatile const real_free)(void *) = __libc_free;
static int (*volatile const real_lock)(pthread_mutex_t *) = __pthread_mutex_lock;
static int (*volatile const real_unlock)(pthread_mutex_t *) = __pthread_mutex_unlock;

static inline void spin(void)
{
#ifdef SLOW_HOOK
    for (int i = 0; i < 20; i++)
        __asm__ volatile("" ::: "memory");
#endif
}

HOOK void *malloc(size_t size)
{
    spin();
    return real_malloc(size);
}

HOOK void free(void *p)
{
    spin();
    real_free(p);
}

HOOK int pthread_mutex_lock(pthread_mutex_t *m)
{
#ifdef TRY_FIRST
    static int (*volatile const real_trylock)(pthread_mutex_t *) = __pthread_mutex_trylock;

    if (real_trylock(m) == 0)
        return 0;
#endif
    return real_lock(m);
}

HOOK int pthread_mutex_unlock(pthread_mutex_t *m)
{
    return real_unlock(m);
}
