/*
 * rawlog.c - the log. Lines are at most 511 bytes and written in one go, so that those of several
 * processes do not mix. Nobody waits for who reads them.
 */
#include "base/rawlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/signals.h"

void prof__log(const char *format, ...)
{
    const char *where = secure_getenv("LIBPROF_LOG");
    int saved = errno;
    char line[512];
    va_list args;

    if (!where || !*where)
        return;
    int n = snprintf(line, sizeof(line), "libprof[%d]: ", (int)getpid());
    va_start(args, format);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
    va_end(args);
    size_t size = PROF_MIN((size_t)n + (size_t)PROF_MAX(m, 0), sizeof(line) - 1);
    line[size++] = '\n'; /* over the final NUL at most */

    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    bool is_stderr = strcmp(where, "stderr") == 0;
    int fd = is_stderr ? STDERR_FILENO : open(where, flags, 0600);
    if (fd >= 0) {
        prof__write_line(fd, line, size); /* what cannot be written has nowhere to say so */
        if (!is_stderr)
            close(fd);
    }
    errno = saved;
}
