/*
 * source.c - reads a source file that debug information names.
 *
 * Only as many bytes as the file has by its size: a file of /proc or a device has none.
 */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <prof/prof.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_SOURCE (4 * 1024 * 1024) /* bytes; sources that programs write may be that long */

static int unreadable(const char **ret_reason, const char *why)
{
    *ret_reason = why;
    return -ENOENT;
}

static int append(int fd, off_t size, struct prof__buffer *out, const char **ret_reason)
{
    char piece[16 * 1024];

    while (size > 0) {
        size_t most = size < (off_t)sizeof(piece) ? (size_t)size : sizeof(piece);
        ssize_t n = read(fd, piece, most);

        if (n < 0)
            return unreadable(ret_reason, "the source file cannot be read");
        if (n == 0)
            break;
        if (memchr(piece, '\0', (size_t)n))
            return unreadable(ret_reason, "the source file is no text");
        int r = prof__buffer_add(out, piece, (size_t)n);
        if (r < 0)
            return r;
        size -= n;
    }
    return 0;
}

int prof__source_write(uint64_t address, unsigned depth, struct prof__buffer *out,
                       const char **ret_reason)
{
    char path[PATH_MAX];
    struct stat st;
    int n = prof_source_file(address, depth, path, sizeof(path));

    if (n < 0 || n >= (int)sizeof(path) || path[0] != '/' || strchr(path, '\n'))
        return unreadable(ret_reason, "no source file is known there, or not where it is");
    /* O_NONBLOCK: what turns out to be a pipe must not hold the server up. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return unreadable(ret_reason, "the source file is not on this machine, or not readable");
    int r = 0;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        r = unreadable(ret_reason, "the source file is no regular file");
    else if (st.st_size > MAX_SOURCE)
        r = unreadable(ret_reason, "the source file is too long");
    if (r == 0)
        r = prof__buffer_printf(out, "%s\n", path);
    if (r == 0)
        r = append(fd, st.st_size, out, ret_reason);
    close(fd);
    return r;
}
