/*
 * faults.h - a test's own mmap() and malloc(), to make memory fail and to see who asks for it.
 *
 * Include it from one file of a program only: it defines the functions. Sanitizers bring their own
 * malloc, so there mallocs are not counted.
 */
#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int faults_mmap_left = -1; /* so many more mmaps succeed; -1: all */

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (faults_mmap_left == 0) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    faults_mmap_left -= faults_mmap_left > 0;
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
