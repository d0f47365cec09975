/*
 * sources.c - /proc/self/status, the memory cgroup's usage, the clock of the process, the tables.
 *
 * /proc/self/status shows the main thread. When that has left by pthread_exit() it has no memory
 * any more, and the status of the reading thread tells the same of the process.
 *
 * The thread keeps no capabilities that the main thread has given up (prof_helper_follow()). That
 * there are any the same file tells, which is read anyway.
 */
#include "capture/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <prof/prof.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "image/headroom.h"

enum { STATUS_BYTES = 8192 }; /* it lists the groups, which may be many */

/* Plain system calls: ThreadSanitizer knows files by their numbers, and these are of another table.
 */
static int open_file(const char *path)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

static void close_file(int *fd)
{
    if (*fd >= 0)
        syscall(SYS_close, *fd);
    *fd = -1;
}

/* From its beginning, with a NUL. Its length; 0: nothing. */
static size_t read_file(int fd, char *buf, size_t size)
{
    long n = fd < 0 ? -1 : syscall(SYS_pread64, fd, buf, size - 1, (off_t)0);

    buf[n < 0 ? 0 : n] = '\0';
    return n < 0 ? 0 : (size_t)n;
}

static uint64_t number_at(const char *text, unsigned base)
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

/* What stands behind "\nNAME:" and blanks. */
static bool field(const char *status, const char *name, unsigned base, uint64_t *ret)
{
    const char *at = strstr(status, name);

    if (!at)
        return false;
    at += strlen(name);
    at += strspn(at, " \t");
    *ret = number_at(at, base);
    return true;
}

/* --- opening ---------------------------------------------------------------------------------- */

void prof__sources_follow(struct prof__sources *s)
{
    char text[STATUS_BYTES], path[640];

    if (!read_file(s->cgroups, text, sizeof(text)))
        return;
    uint64_t hash = prof__hash_bytes(text, strlen(text));
    if (hash == s->group_hash)
        return;
    s->group_hash = hash;
    close_file(&s->cgroup);
    for (unsigned i = 0; s->cgroup < 0 && prof__memory_usage_file(text, i, path, sizeof(path)); i++)
        s->cgroup = open_file(path);
}

int prof__sources_open(struct prof__sources *ret)
{
    *ret = (struct prof__sources) { -1, -1, -1, -1, UINT64_MAX, 0 };
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 0, ~0U, 1U << 1 /* CLOSE_RANGE_UNSHARE */) < 0)
        return -errno;
#else
    return -ENOSYS;
#endif
    ret->process = open_file("/proc/self/status");
    ret->thread = open_file("/proc/thread-self/status");
    ret->cgroups = open_file("/proc/self/cgroup");
    prof__sources_follow(ret);
    return 0;
}

void prof__sources_close(struct prof__sources *s)
{
    close_file(&s->process);
    close_file(&s->thread);
    close_file(&s->cgroups);
    close_file(&s->cgroup);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool has_memory(const char *status)
{
    return strstr(status, "\nVmRSS:") != NULL;
}

static void read_status(struct prof__sources *s, uint64_t value[PROF__VARS])
{
    char status[STATUS_BYTES];
    uint64_t kib, program = UINT64_MAX;

    read_file(s->process, status, sizeof(status));
    field(status, "\nCapPrm:", 16, &program);
    bool follow = s->capabilities & ~program;
    if (follow || !has_memory(status))
        read_file(s->thread, status, sizeof(status));
    if (follow && field(status, "\nCapPrm:", 16, &s->capabilities) && s->capabilities & ~program) {
        prof_helper_follow();
        s->capabilities &= program;
    }
    if (field(status, "\nVmRSS:", 10, &kib))
        value[PROF__VAR_RSS] = kib * 1024;
    if (field(status, "\nVmSwap:", 10, &kib))
        value[PROF__VAR_SWAP] = kib * 1024;
    field(status, "\nThreads:", 10, &value[PROF__VAR_THREADS]);
}

static void read_tables(uint64_t value[PROF__VARS])
{
    struct prof_stats s = PROF_STATS_INIT;

    if (prof_stats(&s) < 0)
        return;
    value[PROF__VAR_HEAP] = s.heap_inuse_bytes;
    value[PROF__VAR_ALLOC] = s.heap_allocated_bytes;
    value[PROF__VAR_BLOCK_WAIT] = s.block_wait_ns;
    value[PROF__VAR_MUTEX_WAIT] = s.mutex_wait_ns;
    value[PROF__VAR_LOST] =
        s.lost_stacks + s.lost_rows + s.lost_live_blocks + s.lost_waits + s.lost_little_stack;
}

void prof__sources_read(struct prof__sources *s, uint64_t ret_value[PROF__VARS])
{
    char text[64];

    for (unsigned i = 0; i < PROF__VARS; i++)
        ret_value[i] = PROF_VARS_MISSING;
    ret_value[PROF__VAR_TIME_MS] = (uint64_t)prof__clock_ns(CLOCK_BOOTTIME) / 1000000;
    ret_value[PROF__VAR_CPU] = (uint64_t)prof__clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    read_status(s, ret_value);
    if (read_file(s->cgroup, text, sizeof(text)))
        ret_value[PROF__VAR_CGROUP] = number_at(text, 10);
    read_tables(ret_value);
}
