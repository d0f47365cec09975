/*
 * sink.c - write(2) to the end, and files that appear whole or not at all.
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

int prof__sink_fd(void *arg, const void *data, size_t size)
{
    const char *p = data;
    int fd = *(int *)arg;

    while (size > 0) {
        ssize_t n = write(fd, p, size);

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

/* A pipe, terminal or device is written as it is: it cannot be replaced. */
static int open_special(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
        return -1;
    return open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
}

int prof__sink_file(const char *path,
                    int (*write)(void *write_arg, prof_sink_fn *sink, void *sink_arg),
                    void *write_arg)
{
    char temporary[PATH_MAX];
    int fd = open_special(path);
    bool special = fd >= 0;

    if (!special) {
        int n = snprintf(temporary, sizeof(temporary), "%s.%d.tmp", path, (int)getpid());

        if (n < 0 || (size_t)n >= sizeof(temporary))
            return prof_set_last_error(-ENAMETOOLONG, "the file name is too long");
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    if (fd < 0)
        return prof_set_last_error(-errno, "cannot create %.80s: %s", path, strerror(errno));

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
