/*
 * memory.h - reading memory that may vanish meanwhile.
 *
 * A word found on a stack, or an address in a profile, can lead to a library that another thread
 * is unloading. Whoever looks first whether a page is there and then reads it has lost already. So
 * the kernel reads for us, and only refuses when there is nothing. All of libprof that follows an
 * address which nobody is known to hold does it by this file.
 */
#ifndef PROF_BASE_MEMORY_H
#define PROF_BASE_MEMORY_H

#include <sys/types.h>

#include "base/compiler.h"

/* Copy the n bytes at `from` of this process, at most 4096, or none of them. 0, -EFAULT: they are
 * not there; or what else the kernel, or a filter of system calls, says. Keeps errno. Context:
 * signal. */
int prof__memory_get(uintptr_t from, void *to, size_t n);

/* As many of n bytes as can be read. Where that is refused, by /proc/self/mem, with a descriptor
 * for the moment. How many, or a negative errno. Keeps errno. Context: normal. */
ssize_t prof__memory_read(uintptr_t from, void *to, size_t n);

/* Can the page of `at` be read at this moment? Of use only for memory that cannot go away, as the
 * stack one stands on. One system call, which needs no descriptor. Keeps errno. Context: signal. */
bool prof__page_readable(uintptr_t at);

/* What the kernel maps, drops and tells of memory by: 4096 bytes, on arm64 also 16 or 64 KiB. Where
 * libprof says PAGE it means 4096, the least that there is, which is right for asking and wrong for
 * those. Context: signal. */
size_t prof__page_size(void);

#endif
