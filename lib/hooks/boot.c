/*
 * boot.c - memory for whoever allocates while malloc itself is still being looked up.
 *
 * dlsym() allocates when it fails, and some allocators make it do so when it succeeds. A bump
 * pointer over a static buffer serves that; should somebody need more, over a larger mapping,
 * which costs address space only. Nothing is reused, so all of it is zeroed. A few hundred bytes
 * are what is seen in practice.
 *
 * free() must never pass such a block on. No test is added to it for that: the block's place is
 * marked in the filters for good, which leads free() and realloc() to their slow path, and
 * that asks us.
 */
#include "hooks/boot.h"

#include <errno.h>
#include <stdalign.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "record/collect_heap.h"

#define BUFFER_SIZE  ((size_t)64 << 10)
#define MAPPING_SIZE ((size_t)64 << 20)
#define HEADER       16

static alignas(4096) char buffer[BUFFER_SIZE];
static _Atomic size_t buffer_used, mapping_used;
static _Atomic(char *) mapping;

/* The larger region, made on first use; NULL when the kernel has none. */
static char *mapping_get(void)
{
    /* Acquire: pairs with the exchange below; the mapping is there before its address is. */
    char *m = atomic_load_explicit(&mapping, memory_order_acquire);
    if (m)
        return m;

    /* Not by our own hook, which looks for libc's. */
    char *made = (char *)syscall(SYS_mmap, NULL, MAPPING_SIZE, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
    if (made == MAP_FAILED)
        return NULL;
    if (atomic_compare_exchange_strong_explicit(&mapping, &m, made, memory_order_acq_rel,
                                                memory_order_acquire))
        return made;
    syscall(SYS_munmap, made, MAPPING_SIZE); /* another thread was first */
    return m;
}

static void *take(char *region, size_t region_size, _Atomic size_t *used, size_t alignment,
                  size_t size)
{
    uintptr_t base = (uintptr_t)region;
    size_t at = atomic_load_explicit(used, memory_order_relaxed), start;

    if (size > region_size || alignment > region_size)
        return NULL;
    do {
        start = ((base + at + HEADER + alignment - 1) & ~(uintptr_t)(alignment - 1)) - base;
        if (start > region_size || size > region_size - start)
            return NULL;
        /* Relaxed: the memory is nobody's before, and the caller's own after. */
    } while (!atomic_compare_exchange_weak_explicit(used, &at, start + size, memory_order_relaxed,
                                                    memory_order_relaxed));

    /* The word before the block reads as glibc's header of a mmapped chunk, so that
     * malloc_usable_size() tells the truth about it. */
    ((size_t *)(base + start))[-1] = (size + HEADER) | 2;

    prof__live_mark(base + start);
    return region + start;
}

void *prof__boot_alloc(size_t alignment, size_t size)
{
    int saved = errno;
    size_t rounded = (size + 15) & ~(size_t)15;
    void *p = NULL;

    if (rounded >= size) {
        p = take(buffer, BUFFER_SIZE, &buffer_used, alignment, rounded);
        if (!p) {
            char *m = mapping_get();

            p = m ? take(m, MAPPING_SIZE, &mapping_used, alignment, rounded) : NULL;
        }
    }
    errno = p ? saved : ENOMEM;
    return p;
}

bool prof__boot_owns(const void *p)
{
    /* Relaxed: a block of the mapping is only known to who has seen the mapping. */
    const char *m = atomic_load_explicit(&mapping, memory_order_relaxed);

    return (uintptr_t)p - (uintptr_t)buffer < BUFFER_SIZE ||
           (m && (uintptr_t)p - (uintptr_t)m < MAPPING_SIZE);
}

size_t prof__boot_size(const void *p)
{
    return (((const size_t *)p)[-1] & ~(size_t)15) - HEADER;
}
