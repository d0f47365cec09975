/*
 * pages.h - pages for libprof itself, straight from the kernel: to the hooks of mmap() they would
 * be the program's, and those may be at work just then.
 */
#ifndef PROF_BASE_PAGES_H
#define PROF_BASE_PAGES_H

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"

/* Zeroed pages, or MAP_FAILED with errno set. Context: signal. */
static inline void *prof__raw_map(size_t size)
{
    return (void *)syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
}

#endif
