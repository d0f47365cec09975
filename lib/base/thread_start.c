/*
 * thread_start.c - finding a field of libc's descriptor of a thread, whose layout is its own.
 *
 * The descriptor is what pthread_self() points to. In that of a thread of ours, whose function and
 * argument we know, these two words stand side by side. The descriptor of another thread is found
 * through the list of robust mutexes, whose head is a part of it, and which the kernel tells for
 * each thread (get_robust_list(2)); just before the head libc has the thread's id, which must be
 * right. Where any of this is otherwise, nothing is known. Memory is read through the kernel, since
 * the thread may end meanwhile.
 */
#include "base/thread_start.h"

#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/task.h"

enum {
    DESCRIPTOR_MAX = 4096, /* bytes of it looked at */
    ID_BEFORE = 32         /* bytes before the list's head in which the id is */
};

/* Of a descriptor: where the function is, the head of the list, and the id; 16 bits each. 0: not
 * known. */
static _Atomic uint64_t layout;

static uintptr_t list_head(pid_t tid)
{
    uintptr_t head = 0;
    size_t size;

    return syscall(SYS_get_robust_list, tid, &head, &size) == 0 ? head : 0;
}

/* Offset of the id in a descriptor, before the list's head; 0: it is not there. */
static size_t find_id(const char *descriptor, size_t head)
{
    pid_t id = prof__gettid(), found;

    for (size_t at = head - sizeof(id); at >= head - ID_BEFORE; at -= sizeof(id)) {
        memcpy(&found, descriptor + at, sizeof(found));
        if (found == id)
            return at;
    }
    return 0;
}

static size_t find_function(const char *descriptor, size_t size, uintptr_t function, uintptr_t arg)
{
    const uintptr_t both[2] = { function, arg };

    for (size_t at = 0; at + sizeof(both) <= size; at += sizeof(uintptr_t))
        if (memcmp(descriptor + at, both, sizeof(both)) == 0)
            return at;
    return 0;
}

void prof__thread_start_learn(uintptr_t function, uintptr_t arg)
{
    char descriptor[DESCRIPTOR_MAX];
    uintptr_t self = (uintptr_t)pthread_self();
    ssize_t size = prof__memory_read(self, descriptor, sizeof(descriptor));
    size_t head = list_head(0) - self;

    if (size <= 0 || head < ID_BEFORE || head >= (size_t)size)
        return;
    size_t at = find_function(descriptor, (size_t)size, function, arg);
    size_t id = find_id(descriptor, head);
    if (at && id)
        atomic_store_explicit(&layout, (uint64_t)at << 32 | (uint64_t)head << 16 | id,
                              memory_order_relaxed);
}

uintptr_t prof__thread_start_of(pid_t tid)
{
    uint64_t known = atomic_load_explicit(&layout, memory_order_relaxed);
    uintptr_t head = known ? list_head(tid) : 0, descriptor = head - (known >> 16 & 0xffff);
    uintptr_t function = 0;
    pid_t id = 0;

    if (!head || prof__memory_get(descriptor + (known & 0xffff), &id, sizeof(id)) != 0 ||
        id != tid || prof__memory_get(descriptor + (known >> 32), &function, sizeof(function)) != 0)
        return 0;
    return function;
}
