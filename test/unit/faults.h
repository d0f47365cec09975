/*
 * faults.h - a test's own mmap(), syscall() and malloc(), to make memory fail and to see who asks
 * for it.
 *
 * Include it from one file of a program only: it defines the functions. Sanitizers bring their own
 * malloc, so there mallocs are not counted.
 */
#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int faults_mmap_left = -1; /* so many more mmaps succeed; -1: all */

static int faults_next_mmap_fails(void)
{
    if (faults_mmap_left == 0) {
        errno = ENOMEM;
        return 1;
    }
    faults_mmap_left -= faults_mmap_left > 0;
    return 0;
}

/* libprof's own pages come by this (base/pages.h). As libc's it reads six arguments, whatever there
 * are. */
__attribute__((no_sanitize_address)) long syscall(long number, ...)
{
    static long (*real)(long number, ...);
    va_list args;
    long a[6];

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_mmap && faults_next_mmap_fails())
        return -1;
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

static int faults_mallocs __attribute__((unused)); /* calls of malloc, calloc and realloc so far */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAULTS_COUNTED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FAULTS_COUNTED 0
#endif
#endif

#ifndef FAULTS_COUNTED
#define FAULTS_COUNTED 1

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

void *malloc(size_t size)
{
    faults_mallocs++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    faults_mallocs++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    faults_mallocs++;
    return __libc_realloc(p, size);
}

void free(void *p)
{
    __libc_free(p);
}
#endif

#endif
