/*
 * hook_forward.c - the doors that only lead to another door of the same process.
 *
 * In a file of its own so that the other door is found by the process's rules. If another malloc
 * comes before ours, then realloc() and free() are its own, while these, which few allocators
 * have, may still be ours; the block must get there. If not, they jump to our hooks, which record
 * for our caller.
 *
 * glibc's reallocarray() is the same check and call, and ENOMEM in any case; its free_sized() is
 * free(). Context: hook.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "hooks/real.h"

PROF_SHARED void *reallocarray(void *p, size_t n, size_t size);
PROF_SHARED void free_sized(void *p, size_t size);
PROF_SHARED void free_aligned_sized(void *p, size_t alignment, size_t size);

void *reallocarray(void *p, size_t n, size_t size)
{
    size_t total;

    if (PROF_UNLIKELY(__builtin_mul_overflow(n, size, &total))) {
        errno = ENOMEM;
        return NULL;
    }
    /* By another's, the block goes there, as it would in libc; and the reason is libc's. */
    if (PROF_LIKELY(realloc == prof__hooks_realloc))
        return prof__hooks_reallocarray(p, total, __builtin_return_address(0));
    void *q = realloc(p, total);
    if (!q && total)
        errno = ENOMEM;
    return q;
}

const void *prof__hooks_process_malloc(void)
{
    return (const void *)(uintptr_t)malloc;
}

void prof__hooks_process_free(void *p)
{
    free(p);
}

/* C23; programs use these only where libc has them. */
void free_sized(void *p, size_t size)
{
    free(p);
}

void free_aligned_sized(void *p, size_t alignment, size_t size)
{
    free(p);
}
