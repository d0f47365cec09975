/*
 * rawlog.c - the log. Lines are at most 511 bytes and written in one go, so that those of several
 * processes do not mix. Nobody waits for who reads them.
 *
 * What LIBPROF_LOG says, and what descriptor 2 is, is noted at the start. The environment is the
 * program's to change, in a thread of its own while one of ours would look; and who has closed its
 * standard error may find the next file that it opens, a database's, under that number.
 */
#include "base/rawlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/signals.h"

static char log_path[4096]; /* or "stderr"; empty: none */
static struct stat first_stderr;
static bool had_stderr;

__attribute__((constructor(101))) static void note(void)
{
    const char *where = secure_getenv("LIBPROF_LOG");

    had_stderr = fstat(STDERR_FILENO, &first_stderr) == 0;
    if (where && strlen(where) < sizeof(log_path))
        strcpy(log_path, where);
}

void prof__stderr_line(const char *line, size_t size)
{
    int saved = errno;
    struct stat now;

    if (had_stderr && fstat(STDERR_FILENO, &now) == 0 && now.st_dev == first_stderr.st_dev &&
        now.st_ino == first_stderr.st_ino)
        prof__write_line(STDERR_FILENO, line, size);
    errno = saved;
}

void prof__log(const char *format, ...)
{
    int saved = errno;
    char line[512];
    va_list args;

    if (!*log_path)
        return;
    int n = snprintf(line, sizeof(line), "libprof[%d]: ", (int)getpid());
    va_start(args, format);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
    va_end(args);
    size_t size = PROF_MIN((size_t)n + (size_t)PROF_MAX(m, 0), sizeof(line) - 1);
    line[size++] = '\n'; /* over the final NUL at most */

    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    bool is_stderr = strcmp(log_path, "stderr") == 0;
    int fd = is_stderr ? -1 : open(log_path, flags, 0600);
    if (is_stderr)
        prof__stderr_line(line, size);
    if (fd >= 0) {
        prof__write_line(fd, line, size); /* what cannot be written has nowhere to say so */
        close(fd);
    }
    errno = saved;
}
