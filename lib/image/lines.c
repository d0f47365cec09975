/*
 * lines.c - reading on, and moving what is left of a line to the front.
 */
#include "image/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { READ_BYTES = 16 * 1024 };

static int read_lines(int fd, void (*each)(char *line, void *arg), void *arg)
{
    char buf[READ_BYTES];
    size_t used = 0;
    bool skip = false; /* of a line that is too long this is not the beginning */

    for (;;) {
        long n = syscall(SYS_read, fd, buf + used, sizeof(buf) - 1 - used);
        char *line = buf, *end;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        used += (size_t)n;
        buf[used] = '\0';
        while ((end = memchr(line, '\n', (size_t)(buf + used - line))) != NULL) {
            *end = '\0';
            if (!skip)
                each(line, arg);
            skip = false;
            line = end + 1;
        }
        used -= (size_t)(line - buf);
        memmove(buf, line, used);
        if (used == sizeof(buf) - 1) {
            skip = true;
            used = 0;
        }
    }
}

int prof__lines_each(const char *path, void (*each)(char *line, void *arg), void *arg)
{
    int saved = errno, fd, r;

    do
        fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    r = fd < 0 ? -errno : read_lines(fd, each, arg);
    if (fd >= 0)
        syscall(SYS_close, fd);
    errno = saved;
    return r;
}
