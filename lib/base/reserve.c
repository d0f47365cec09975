/*
 * reserve.c - memory mapped from the start: a block that is cut up from one end.
 *
 * What is given back is given to the kernel, too, so that the next one finds zeros.
 */
#include "base/reserve.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fork.h"
#include "base/thread.h"

enum { PAGE = 4096 };

/* Written at the start, then by the owner alone. */
static char *base;
static size_t size, used;
static _Atomic(struct prof__thread *) owner; /* NULL: free */

void prof__reserve_init(size_t bytes)
{
    int saved = errno;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    errno = saved;
    if (p == MAP_FAILED)
        return;
    base = p;
    size = bytes;
}

void *prof__reserve_take(struct prof__claim *c, size_t bytes)
{
    struct prof__thread *nobody = NULL;

    /* Acquire: `used` as the last owner left it; pairs with the release in prof__reserve_end(). */
    if (!c->is_served &&
        !atomic_compare_exchange_strong_explicit(&owner, &nobody, &prof__self, memory_order_acquire,
                                                 memory_order_relaxed))
        return NULL;
    c->is_served = true;
    if (bytes > size - used)
        return NULL;
    void *p = base + used;
    used += bytes;
    return p;
}

bool prof__reserve_has(const void *p)
{
    return base && (const char *)p >= base && (const char *)p < base + size;
}

size_t prof__reserve_mark(const struct prof__claim *c)
{
    return c->is_served ? used : 0;
}

void prof__reserve_rewind(struct prof__claim *c, size_t mark)
{
    if (!c->is_served || used == mark)
        return;
    /* From the next page on; what is before that is cleared by hand. */
    size_t page = (mark + PAGE - 1) / PAGE * PAGE;

    memset(base + mark, 0, PROF_MIN(page, used) - mark);
    if (used > page)
        madvise(base + page, used - page, MADV_DONTNEED);
    used = mark;
}

void prof__reserve_end(struct prof__claim *c)
{
    if (!c->is_served)
        return;
    prof__reserve_rewind(c, 0);
    c->is_served = false;
    atomic_store_explicit(&owner, NULL, memory_order_release);
}

/* Another thread's claim stayed with the parent. */
static void forked(void)
{
    struct prof__claim theirs = { true };

    if (atomic_load_explicit(&owner, memory_order_relaxed) != &prof__self)
        prof__reserve_end(&theirs);
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, forked)
