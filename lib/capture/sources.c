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
#include <prof/prof.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "capture/file.h"
#include "image/headroom.h"

enum { STATUS_BYTES = 8192 }; /* it lists the groups, which may be many */

/* --- opening ---------------------------------------------------------------------------------- */

void prof__sources_follow(struct prof__sources *s)
{
    char text[STATUS_BYTES], path[640];

    if (!prof__file_read(s->cgroups, text, sizeof(text)))
        return;
    uint64_t hash = prof__hash_bytes(text, strlen(text));
    if (hash == s->group_hash)
        return;
    s->group_hash = hash;
    prof__file_close(&s->cgroup);
    for (unsigned i = 0; s->cgroup < 0 && prof__memory_usage_file(text, i, path, sizeof(path)); i++)
        s->cgroup = prof__file_open(path);
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
    ret->process = prof__file_open("/proc/self/status");
    ret->thread = prof__file_open("/proc/thread-self/status");
    ret->cgroups = prof__file_open("/proc/self/cgroup");
    prof__sources_follow(ret);
    return 0;
}

void prof__sources_close(struct prof__sources *s)
{
    prof__file_close(&s->process);
    prof__file_close(&s->thread);
    prof__file_close(&s->cgroups);
    prof__file_close(&s->cgroup);
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

    prof__file_read(s->process, status, sizeof(status));
    prof__file_field(status, "\nCapPrm:", 16, &program);
    bool follow = s->capabilities & ~program;
    if (follow || !has_memory(status))
        prof__file_read(s->thread, status, sizeof(status));
    if (follow && prof__file_field(status, "\nCapPrm:", 16, &s->capabilities) &&
        s->capabilities & ~program) {
        prof_helper_follow();
        s->capabilities &= program;
    }
    if (prof__file_field(status, "\nVmRSS:", 10, &kib))
        value[PROF__VAR_RSS] = kib * 1024;
    if (prof__file_field(status, "\nVmSwap:", 10, &kib))
        value[PROF__VAR_SWAP] = kib * 1024;
    prof__file_field(status, "\nThreads:", 10, &value[PROF__VAR_THREADS]);
}

void prof__sources_read_tables(uint64_t value[PROF__VARS])
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

void prof__sources_read_process(struct prof__sources *s, uint64_t ret_value[PROF__VARS])
{
    for (unsigned i = 0; i < PROF__VARS; i++)
        ret_value[i] = PROF_VARS_MISSING;
    ret_value[PROF__VAR_TIME_MS] = (uint64_t)prof__clock_ns(CLOCK_BOOTTIME) / 1000000;
    ret_value[PROF__VAR_CPU] = (uint64_t)prof__clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    read_status(s, ret_value);
}

void prof__sources_read(struct prof__sources *s, uint64_t ret_value[PROF__VARS])
{
    char text[64];

    prof__sources_read_process(s, ret_value);
    if (prof__file_read(s->cgroup, text, sizeof(text)))
        ret_value[PROF__VAR_CGROUP] = prof__file_number(text, 10);
    prof__sources_read_tables(ret_value);
}
