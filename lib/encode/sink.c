/*
 * sink.c - writing to the end, and files that appear whole or not at all.
 */
#include "encode/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/error.h"
#include "base/signals.h"

enum { TRIES_MAX = 1000 }; /* of names left behind by processes that died */

int prof__sink_fd(void *arg, const void *data, size_t size)
{
    const char *p = data;
    int fd = *(int *)arg;

    while (size > 0) {
        ssize_t n = prof__write(fd, p, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return prof_set_last_error(-errno, "cannot write to descriptor %d: %s", fd,
                                       strerror(errno));
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

/* A file beside `path` under a name that nobody else uses: several threads, or processes that share
 * a folder but not the count of processes, may write one path at once. What is there already, a
 * link above all, is not touched. A descriptor, or a negative errno. */
static int open_temporary(const char *path, char *ret_name, size_t size)
{
    static _Atomic unsigned turn;

    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        unsigned n = atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed);
        int length = snprintf(ret_name, size, "%s.%d.%u.tmp", path, (int)getpid(), n);

        if (length < 0 || (size_t)length >= size)
            return -ENAMETOOLONG;
        int fd = open(ret_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0 || errno != EEXIST)
            return fd >= 0 ? fd : -errno;
    }
    return -EEXIST;
}

/* A pipe, terminal or device is written as it is, and never replaced. A descriptor, or a negative
 * errno; -ENOENT: it is none of these. */
static int open_special(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
        return -ENOENT;
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return fd >= 0 ? fd : -errno;
}

int prof__sink_file(const char *path,
                    int (*write)(void *write_arg, prof_sink_fn *sink, void *sink_arg),
                    void *write_arg)
{
    char temporary[PATH_MAX];
    int fd = open_special(path);
    bool special = fd >= 0;

    if (fd == -ENOENT)
        fd = open_temporary(path, temporary, sizeof(temporary));
    if (fd < 0)
        return prof_set_last_error(fd, "cannot create %.80s: %s", path, strerror(-fd));

    int r = write(write_arg, prof__sink_fd, &fd);
    if (close(fd) < 0 && r == 0)
        r = prof_set_last_error(-errno, "cannot write %.80s: %s", path, strerror(errno));
    if (special)
        return r;
    if (r == 0 && rename(temporary, path) < 0)
        r = prof_set_last_error(-errno, "cannot rename to %.80s: %s", path, strerror(errno));
    if (r < 0)
        unlink(temporary);
    return r;
}
