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
#include "base/memory.h"
#include "base/pages.h"
#include "base/thread.h"

/* Written at the start, then by the owner alone. */
static char *base;
static size_t size, used;
static _Atomic(struct prof__thread *) owner; /* NULL: free */

/* What was lent, and to whom. Others only look whether it is theirs. */
static _Atomic(struct prof__thread *) borrower;
static char *lent;
static size_t lent_size, lent_used, lent_asked, lent_wanted;

void prof__reserve_init(size_t bytes)
{
    int saved = errno;
    void *p = prof__raw_map(bytes);

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

/* --- what is lent ----------------------------------------------------------------------------- */

void prof__reserve_lend(void *memory, size_t bytes)
{
    lent = memory;
    lent_size = memory ? bytes : 0;
    lent_used = lent_asked = lent_wanted = 0;
    /* Release: a thread that is not the borrower any more does not look further. */
    atomic_store_explicit(&borrower, memory ? &prof__self : NULL, memory_order_release);
}

static bool is_borrower(void)
{
    return atomic_load_explicit(&borrower, memory_order_acquire) == &prof__self;
}

void *prof__reserve_take_lent(struct prof__claim *c, size_t bytes)
{
    if (!is_borrower())
        return NULL;
    lent_asked += bytes;
    lent_wanted = PROF_MAX(lent_wanted, lent_asked);
    if (bytes > lent_size - lent_used)
        return NULL;
    c->has_lent = true;
    void *p = lent + lent_used;
    lent_used += bytes;
    return p;
}

size_t prof__reserve_lent_wanted(void)
{
    return lent_wanted;
}

/* It stays in memory, so it is cleared by hand. */
static void rewind_lent(size_t mark)
{
    if (lent_used > mark)
        memset(lent + mark, 0, lent_used - mark);
    lent_used = lent_asked = mark;
}

/* --- both ------------------------------------------------------------------------------------- */

bool prof__reserve_has(const void *p)
{
    const char *at = p;

    return (base && at >= base && at < base + size) ||
           (is_borrower() && at >= lent && at < lent + lent_size);
}

struct prof__claim_mark prof__reserve_mark(const struct prof__claim *c)
{
    return (struct prof__claim_mark) { c->is_served ? used : 0, is_borrower() ? lent_used : 0 };
}

static void rewind_reserve(size_t mark)
{
    if (used == mark)
        return;
    /* From the next page on; what is before that is cleared by hand. */
    size_t bytes = prof__page_size(), page = (mark + bytes - 1) / bytes * bytes;

    memset(base + mark, 0, PROF_MIN(page, used) - mark);
    if (used > page && madvise(base + page, used - page, MADV_DONTNEED) < 0) /* locked in memory */
        memset(base + page, 0, used - page);
    used = mark;
}

void prof__reserve_rewind(struct prof__claim *c, struct prof__claim_mark mark)
{
    if (c->has_lent)
        rewind_lent(mark.lent);
    if (c->is_served)
        rewind_reserve(mark.used);
}

void prof__reserve_end(struct prof__claim *c)
{
    prof__reserve_rewind(c, (struct prof__claim_mark) { 0, 0 });
    c->has_lent = false;
    if (!c->is_served)
        return;
    c->is_served = false;
    atomic_store_explicit(&owner, NULL, memory_order_release);
}

/* Another thread's claim stayed with the parent, and so did who was lent to. */
static void forked(void)
{
    struct prof__claim theirs = { true, false };

    atomic_store_explicit(&borrower, NULL, memory_order_relaxed);
    if (atomic_load_explicit(&owner, memory_order_relaxed) != &prof__self)
        prof__reserve_end(&theirs);
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, forked)
