/*
 * real.h - libc's own functions, behind ours.
 *
 * The table is read by every hooked call, so its entries always can be called: before anything has
 * been looked up they are functions that look up and then forward (real.c).
 */
#ifndef PROF_HOOKS_REAL_H
#define PROF_HOOKS_REAL_H

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"

/* What the linker's names of the hooks begin with; wrap.h has its own. */
#ifndef PROF__HOOKS_PREFIX
#define PROF__HOOKS_PREFIX ""
#endif

struct prof__hooks_copy;

/* No header declares it any more. */
void (*bsd_signal(int number, void (*handler)(int)))(int);

/* What pthread_atfork() is to the dynamic linker: the rest of it is in each object by itself. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                      void *object);

/* A static program has none. */
#ifdef PROF__HOOKS_WRAPPED_BY_LD
#define PROF__REAL_LOADED(DOOR)
#else
#define PROF__REAL_LOADED(DOOR) DOOR(dlopen)
#endif

/* Their names: DOOR(name). */
#define PROF__REAL_DOORS(DOOR) \
    DOOR(malloc)               \
    DOOR(free)                 \
    DOOR(calloc)               \
    DOOR(realloc)              \
    DOOR(posix_memalign)       \
    DOOR(aligned_alloc)        \
    DOOR(memalign)             \
    DOOR(valloc)               \
    DOOR(pvalloc)              \
    DOOR(dlclose)              \
    PROF__REAL_LOADED(DOOR)    \
    DOOR(mmap)                 \
    DOOR(mmap64)               \
    DOOR(munmap)               \
    DOOR(mremap)               \
    DOOR(sbrk)                 \
    DOOR(brk)                  \
    DOOR(pthread_create)       \
    DOOR(thrd_create)          \
    DOOR(__register_atfork)    \
    DOOR(sigaction)            \
    DOOR(signal)               \
    DOOR(__sysv_signal)        \
    DOOR(sigset)               \
    DOOR(sigignore)            \
    DOOR(sigwait)              \
    DOOR(sigwaitinfo)          \
    DOOR(sigtimedwait)         \
    DOOR(sigsuspend)

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
    void *(*dlopen)(const char *file, int mode);
    void *(*mmap)(void *at, size_t length, int protection, int flags, int fd, off_t offset);
    void *(*mmap64)(void *at, size_t length, int protection, int flags, int fd, off64_t offset);
    int (*munmap)(void *p, size_t length);
    void *(*mremap)(void *old, size_t old_length, size_t length, int flags, ...);
    void *(*sbrk)(intptr_t increment);
    int (*brk)(void *end);
    int (*pthread_create)(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *arg),
                          void *arg);
    int (*thrd_create)(thrd_t *thread, thrd_start_t start, void *arg);
    int (*__register_atfork)(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                             void *object);
    int (*sigaction)(int signal, const struct sigaction *action, struct sigaction *old);
    void (*(*signal)(int number, void (*handler)(int)))(int);
    void (*(*__sysv_signal)(int number, void (*handler)(int)))(int);
    void (*(*sigset)(int number, void (*handler)(int)))(int);
    int (*sigignore)(int number);
    int (*sigwait)(const sigset_t *set, int *ret_number);
    int (*sigwaitinfo)(const sigset_t *set, siginfo_t *info);
    int (*sigtimedwait)(const sigset_t *set, siginfo_t *info, const struct timespec *timeout);
    int (*sigsuspend)(const sigset_t *mask);
};

/* Not atomic, so that a hook can jump through it: entries are aligned words, each written with the
 * one value it will ever have, by however many threads. */
extern struct prof__real prof__real __attribute__((visibility("hidden")));

/* A sanitizer owns malloc here: forward, record nothing. Set before main, and never again. */
extern bool prof__hooks_aside __attribute__((visibility("hidden")));

/* The function of this name that comes after ours, or NULL: found by the dynamic linker
 * (next_loaded.c), or by the static one (next_wrapped.c). */
void *prof__hooks_next(const char *name);

/* The other copy of the hooks, if it is what comes after us; or NULL. */
const struct prof__hooks_copy *prof__hooks_next_copy(void);

/* The malloc() and free() that the process uses, ours or not. */
const void *prof__hooks_process_malloc(void) __attribute__((visibility("hidden")));
void prof__hooks_process_free(void *p) __attribute__((visibility("hidden")));

/* Our malloc() and realloc() themselves, whichever come first in the process. */
extern void *prof__hooks_malloc(size_t size) __attribute__((visibility("hidden")));
extern void *prof__hooks_realloc(void *p, size_t size) __attribute__((visibility("hidden")));

/* realloc() for reallocarray(), which `caller` has called and which jumps here. */
void *prof__hooks_reallocarray(void *p, size_t total, const void *caller)
    __attribute__((visibility("hidden")));

#endif
