/*
 * switches.c - PERF_RECORD_SWITCH of each thread, in rings that go backwards.
 *
 * With `write_backward` and a mapping that may only be read the kernel writes each record before
 * the last, round and round, so the newest begins at data_head, and what was overwritten meanwhile
 * is at the far end. The mapping keeps the event alive, so its descriptor is closed at once; a
 * child of fork() has no such mapping.
 *
 * A software event that counts nothing, of the program's own code alone: what kernel.
 * perf_event_paranoid 2, the kernel's default, lets everybody have. Source: perf_event_open(2).
 */
#include "trace/switches.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/slot.h"
#include "base/task.h"
#include "capture/file.h"

enum { DATA_BYTES = 32 * 1024, THREADS_MAX = 1024 };

/* Of PERF_SAMPLE_TID, _TIME and _CPU. */
struct record {
    struct perf_event_header header;
    uint32_t pid, tid;
    uint64_t time;
    uint32_t cpu, reserved;
};

struct prof__switches {
    size_t n, unseen;
    bool mapping; /* what was refused: its mapping, not the event */
    struct {
        uint32_t tid;
        const char *map;
    } of[THREADS_MAX];
};

static int open_event(pid_t tid)
{
    struct perf_event_attr a = {
        .size = sizeof(a),
        .type = PERF_TYPE_SOFTWARE,
        .config = PERF_COUNT_SW_DUMMY,
        .context_switch = 1,
        .sample_id_all = 1,
        .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU,
        .use_clockid = 1,
        .clockid = CLOCK_MONOTONIC,
        .exclude_kernel = 1,
        .exclude_hv = 1,
        .write_backward = 1,
    };
    long fd = syscall(SYS_perf_event_open, &a, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);

    return fd < 0 ? -errno : (int)fd;
}

static int add(pid_t tid, void *arg)
{
    struct prof__switches *s = arg;
    const struct prof__slot *slot = prof__slot_of(tid);

    if (prof__slot_hidden(slot) || prof__slot_helper(slot))
        return 0;
    int fd = s->n < THREADS_MAX ? open_event(tid) : -EMFILE;
    void *map = fd < 0 ? MAP_FAILED
                       : mmap(NULL, prof__page_size() + DATA_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    int error = fd < 0 ? fd : map == MAP_FAILED ? -errno : 0;

    if (fd >= 0)
        syscall(SYS_close, fd);
    if (error == -ESRCH) /* it has ended */
        return 0;
    if (error < 0) {
        s->unseen++;
        s->mapping |= fd >= 0;
        /* One that is refused is an answer for all. */
        return s->n == 0 ? error : 0;
    }
    s->of[s->n].tid = (uint32_t)tid;
    s->of[s->n++].map = map;
    return 0;
}

int prof__switches_open(struct prof__switches **ret, bool *ret_mapping)
{
    struct prof__switches *s = prof__pages_map(sizeof(*s));
    int saved = errno;

    *ret_mapping = false;
    if (!s)
        return -ENOMEM;
    int r = prof__tasks_each(add, s);
    errno = saved;
    if (r < 0) {
        *ret_mapping = s->mapping;
        prof__switches_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void prof__switches_refused(int error, bool mapping, int paranoid, char *ret, size_t size)
{
    char why[120] = "";

    if (error == -ENOMEM)
        snprintf(why, sizeof(why), "out of memory");
    else if (mapping)
        snprintf(why, sizeof(why),
                 "no more memory may be locked: kernel.perf_event_mlock_kb, ulimit -l (%s)",
                 strerror(-error));
    else if (error == -EMFILE || error == -ENFILE)
        snprintf(why, sizeof(why), "no descriptor is left");
    else if (paranoid < 0)
        snprintf(why, sizeof(why), "this kernel has no perf_event_open(), or /proc is not there");
    else if (paranoid > 2 && (error == -EACCES || error == -EPERM))
        snprintf(why, sizeof(why),
                 "kernel.perf_event_paranoid is %d; with 2 or less the kernel tells", paranoid);
    else if (error == -EACCES || error == -EPERM || error == -ENOSYS)
        snprintf(why, sizeof(why),
                 "a filter of system calls, as containers have, refuses perf_event_open() (%s)",
                 strerror(-error));
    else
        snprintf(why, sizeof(why), "perf_event_open(): %s", strerror(-error));
    snprintf(ret, size, "no context switches: %s", why);
}

int prof__switches_paranoid(void)
{
    char text[16];
    int fd = prof__file_open("/proc/sys/kernel/perf_event_paranoid");
    size_t n = prof__file_read(fd, text, sizeof(text));

    prof__file_close(&fd);
    return n == 0 ? -1 : (int)prof__file_number(text, 10); /* of one below 0 that is 0 */
}

void prof__switches_close(struct prof__switches *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        munmap((void *)(uintptr_t)s->of[i].map, prof__page_size() + DATA_BYTES);
    prof__pages_unmap(s, sizeof(*s));
}

size_t prof__switches_threads(const struct prof__switches *s, size_t *ret_unseen)
{
    *ret_unseen = s->unseen;
    return s->n;
}

bool prof__switches_follows(const struct prof__switches *s, uint32_t tid)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->of[i].tid == tid)
            return true;
    return false;
}

size_t prof__switches_most(const struct prof__switches *s)
{
    return s->n * (DATA_BYTES / sizeof(struct record));
}

static uint64_t head_of(const char *map)
{
    const struct perf_event_mmap_page *page = (const void *)map;

    /* Acquire: the records up to it; pairs with the kernel's barrier. */
    return __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);
}

int64_t prof__switches_read(const struct prof__switches *s, size_t i, struct prof__arena *a,
                            uint32_t *ret_tid, const struct prof__switch **ret, bool *ret_whole)
{
    const char *map = s->of[i].map;
    struct record *copy = prof__arena_alloc(a, DATA_BYTES);
    size_t most = DATA_BYTES / sizeof(*copy), n = 0;
    struct prof__switch *to = prof__arena_array(a, most, sizeof(*to));

    if (!copy || !to)
        return -ENOMEM;
    uint64_t head = head_of(map), size = (uint64_t)0 - head;
    memcpy(copy, map + prof__page_size(), DATA_BYTES);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    uint64_t meanwhile = head - head_of(map);
    /* What came meanwhile lies where the oldest were. */
    uint64_t bytes = PROF_MIN(size, meanwhile < DATA_BYTES ? DATA_BYTES - meanwhile : 0);
    *ret_whole = bytes == size;
    /* All are of one size, so none goes over the end: newest first. */
    for (uint64_t at = 0; at + sizeof(*copy) <= bytes && n < most; at += sizeof(*copy)) {
        const struct record *r = &copy[(head + at) % DATA_BYTES / sizeof(*copy)];

        if (r->header.size != sizeof(*r) || r->header.type != PERF_RECORD_SWITCH)
            break;
        bool out = r->header.misc & PERF_RECORD_MISC_SWITCH_OUT;
        to[most - ++n] = (struct prof__switch) {
            .ns = (int64_t)r->time,
            .state = !out                                                   ? PROF__STATE_RUNNING
                     : r->header.misc & PERF_RECORD_MISC_SWITCH_OUT_PREEMPT ? PROF__STATE_READY
                                                                            : PROF__STATE_SLEEPING,
            .cpu = r->cpu,
        };
    }
    *ret_tid = s->of[i].tid;
    *ret = to + most - n;
    return (int64_t)n;
}
