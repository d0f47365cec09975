/*
 * file.h - small files of the kernel's, opened once and read again and again.
 *
 * Plain system calls: ThreadSanitizer knows files by their numbers, and these are of a table of the
 * thread's own. Context: signal, but for opening.
 */
#ifndef PROF_CAPTURE_FILE_H
#define PROF_CAPTURE_FILE_H

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"

/* -1: it cannot be had. */
static inline int prof__file_open(const char *path)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

static inline void prof__file_close(int *fd)
{
    if (*fd >= 0)
        syscall(SYS_close, *fd);
    *fd = -1;
}

/* From its beginning, with a NUL. Its length; 0: nothing. */
static inline size_t prof__file_read(int fd, char *buf, size_t size)
{
    long n = fd < 0 ? -1 : syscall(SYS_pread64, fd, buf, size - 1, (off_t)0);

    buf[n < 0 ? 0 : n] = '\0';
    return n < 0 ? 0 : (size_t)n;
}

/* Digits, up to what is none. */
static inline uint64_t prof__file_number(const char *text, unsigned base)
{
    uint64_t v = 0;

    for (;; text++) {
        unsigned digit = *text >= '0' && *text <= '9'   ? (unsigned)(*text - '0')
                         : *text >= 'a' && *text <= 'f' ? (unsigned)(*text - 'a') + 10
                                                        : 99;

        if (digit >= base)
            return v;
        v = v * base + digit;
    }
}

/* The number that stands behind `name` and blanks. */
static inline bool prof__file_field(const char *text, const char *name, unsigned base,
                                    uint64_t *ret)
{
    const char *at = strstr(text, name);

    if (!at)
        return false;
    at += strlen(name);
    at += strspn(at, " \t");
    *ret = prof__file_number(at, base);
    return true;
}

#endif
