/*
 * arena.c - pages from the kernel, cut up.
 *
 * What is mapped is kept in a list of fixed size, found by hash of its address, that takes no lock:
 * who looks through the memory of the process must know which of it is ours. An entry is there as
 * long as its pages, or a little shorter, so it never covers pages of the program's.
 *
 * The slab grows by whole chunks, published by compare-and-swap; the loser of a race unmaps its
 * own. Nothing in it is ever freed, so a reference stays good for ever. Bytes are claimed by one
 * atomic addition; a claim that would straddle two chunks is left as a gap and made again.
 *
 * The arena doubles its blocks, so a large request makes few mappings and a small one stays small.
 */
#include "base/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/pages.h"

static _Atomic size_t pages_total, unlisted;
struct prof__own_pages prof__own_pages[PROF__OWN_PAGES];

static size_t own_home(uintptr_t start)
{
    return (start >> 12) * 0x9e3779b97f4a7c15u >> 32 & (PROF__OWN_PAGES - 1);
}

static void own_add(uintptr_t start, size_t size)
{
    for (size_t i = 0; i < PROF__OWN_PAGES; i++) {
        struct prof__own_pages *o = &prof__own_pages[(own_home(start) + i) % PROF__OWN_PAGES];

        if (!atomic_compare_exchange_strong_explicit(&o->start, &(uintptr_t) { 0 }, 1,
                                                     memory_order_acquire, memory_order_relaxed))
            continue;
        atomic_store_explicit(&o->size, size, memory_order_relaxed);
        /* Release: the size is there for who sees the address. */
        atomic_store_explicit(&o->start, start, memory_order_release);
        return;
    }
    atomic_fetch_add_explicit(&unlisted, size, memory_order_relaxed);
}

static void own_remove(uintptr_t start, size_t size)
{
    for (size_t i = 0; i < PROF__OWN_PAGES; i++) {
        struct prof__own_pages *o = &prof__own_pages[(own_home(start) + i) % PROF__OWN_PAGES];

        if (atomic_load_explicit(&o->start, memory_order_relaxed) != start)
            continue;
        atomic_store_explicit(&o->start, 0, memory_order_release);
        return;
    }
    atomic_fetch_sub_explicit(&unlisted, size, memory_order_relaxed);
}

size_t prof__pages_each(void (*each)(uintptr_t start, size_t size, void *arg), void *arg)
{
    for (size_t i = 0; i < PROF__OWN_PAGES; i++) {
        uintptr_t start = atomic_load_explicit(&prof__own_pages[i].start, memory_order_acquire);
        size_t size = atomic_load_explicit(&prof__own_pages[i].size, memory_order_relaxed);

        /* The size is of this address if that has not changed meanwhile. */
        atomic_thread_fence(memory_order_acquire);
        if (start > 1 &&
            atomic_load_explicit(&prof__own_pages[i].start, memory_order_relaxed) == start)
            each(start, size, arg);
    }
    return atomic_load_explicit(&unlisted, memory_order_relaxed);
}

void *prof__pages_map(size_t size)
{
    int saved = errno;
    void *p = prof__raw_map(size);

    if (p == MAP_FAILED) {
        errno = saved;
        return NULL;
    }
    own_add((uintptr_t)p, size);
    atomic_fetch_add_explicit(&pages_total, size, memory_order_relaxed);
    return p;
}

void prof__pages_unmap(void *p, size_t size)
{
    int saved = errno;

    if (!p)
        return;
    own_remove((uintptr_t)p, size); /* first: what is mapped there next may be the program's */
    if (munmap(p, size) == 0)
        atomic_fetch_sub_explicit(&pages_total, size, memory_order_relaxed);
    errno = saved;
}

size_t prof__pages_total(void)
{
    return atomic_load_explicit(&pages_total, memory_order_relaxed);
}

static bool slab_chunk_ready(struct prof__slab *s, size_t index)
{
    char *seen = atomic_load_explicit(&s->chunk[index], memory_order_acquire);

    if (PROF_LIKELY(seen))
        return true;
    char *fresh = prof__pages_map(PROF__SLAB_CHUNK);
    if (!fresh)
        return false;
    /* Release: the zeroed pages come with the pointer. */
    if (!atomic_compare_exchange_strong_explicit(&s->chunk[index], &seen, fresh,
                                                 memory_order_release, memory_order_acquire))
        prof__pages_unmap(fresh, PROF__SLAB_CHUNK);
    return true;
}

void prof__slab_empty(struct prof__slab *s)
{
    int saved = errno;

    for (size_t i = 0; i < PROF__SLAB_CHUNKS; i++) {
        char *chunk = atomic_load_explicit(&s->chunk[i], memory_order_acquire);

        if (chunk && madvise(chunk, PROF__SLAB_CHUNK, MADV_DONTNEED) < 0) /* locked in memory */
            memset(chunk, 0, PROF__SLAB_CHUNK);
    }
    atomic_store_explicit(&s->used, 0, memory_order_relaxed);
    errno = saved;
}

uint32_t prof__slab_alloc(struct prof__slab *s, size_t size)
{
    size_t limit = atomic_load_explicit(&s->limit, memory_order_relaxed);

    if (limit == 0 || limit > PROF__SLAB_CHUNK * PROF__SLAB_CHUNKS)
        limit = PROF__SLAB_CHUNK * PROF__SLAB_CHUNKS;
    size = (size + 7) & ~(size_t)7;
    if (size == 0 || size > PROF__SLAB_CHUNK - 8)
        return 0;
    /* Tested before claiming, so `used` cannot creep past the limit by more than what the
     * threads now in here ask for, and never wraps. */
    while (atomic_load_explicit(&s->used, memory_order_relaxed) + size <= limit) {
        uint64_t at = atomic_fetch_add_explicit(&s->used, size, memory_order_relaxed);

        if (at == 0) /* reference 0 means none */
            continue;
        if (at + size > limit)
            return 0;
        if (at / PROF__SLAB_CHUNK != (at + size - 1) / PROF__SLAB_CHUNK)
            continue;
        if (!slab_chunk_ready(s, at / PROF__SLAB_CHUNK))
            return 0;
        return (uint32_t)(at / 8);
    }
    return 0;
}

struct prof__arena_block {
    struct prof__arena_block *next;
    size_t size;
};

enum {
    ARENA_FIRST = 64 * 1024,
    ARENA_LARGEST = 16 * 1024 * 1024,
    ARENA_HEADER = (sizeof(struct prof__arena_block) + 15) & ~15,
};

/* A block for at least `size` bytes, of `want` where there is enough. */
static struct prof__arena_block *new_block(const struct prof__arena *a, size_t size, size_t want)
{
    size_t least = (size + ARENA_HEADER + 4095) & ~(size_t)4095;
    size_t most = PROF_MAX(want, least);
    struct prof__arena_block *b = a->claim ? prof__reserve_take_lent(a->claim, most) : NULL;

    if (!b)
        b = prof__pages_map(most);
    if (b) {
        b->size = most;
        return b;
    }
    if (a->claim) {
        least = PROF_MAX(least, (size_t)ARENA_FIRST);
        b = prof__reserve_take(a->claim, least);
    }
    if (b)
        b->size = least;
    return b;
}

void *prof__arena_alloc(struct prof__arena *a, size_t size)
{
    struct prof__arena_block *b = a->block;

    if (size > PTRDIFF_MAX / 2)
        return NULL;
    size = (size + 15) & ~(size_t)15;
    if (!b || b->size - a->used < size) {
        b = new_block(a, size, b ? PROF_MIN(b->size * 2, (size_t)ARENA_LARGEST) : ARENA_FIRST);
        if (!b)
            return NULL;
        b->next = a->block;
        a->block = b;
        a->used = ARENA_HEADER;
    }
    void *p = (char *)b + a->used;
    a->used += size;
    return p;
}

void *prof__arena_array(struct prof__arena *a, size_t n, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(n, size, &total))
        return NULL;
    return prof__arena_alloc(a, total);
}

char *prof__arena_strndup(struct prof__arena *a, const char *s, size_t n)
{
    char *copy = prof__arena_alloc(a, n + 1);

    if (copy)
        memcpy(copy, s, n); /* the rest is zero */
    return copy;
}

char *prof__arena_strdup(struct prof__arena *a, const char *s)
{
    return prof__arena_strndup(a, s, strlen(s));
}

char *prof__arena_printf(struct prof__arena *a, const char *format, ...)
{
    char line[1024];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (n < 0)
        return NULL;
    char *text = prof__arena_alloc(a, (size_t)n + 1);
    if (!text)
        return NULL;
    if ((size_t)n < sizeof(line))
        return memcpy(text, line, (size_t)n + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

char *prof__arena_join(struct prof__arena *a, const char *const *text, size_t n)
{
    size_t size = 1;

    for (size_t i = 0; i < n; i++) {
        if (!text[i])
            return NULL;
        size += strlen(text[i]);
    }
    char *all = prof__arena_alloc(a, size), *end = all;
    if (all)
        *all = '\0';
    for (size_t i = 0; all && i < n; i++)
        end = stpcpy(end, text[i]);
    return all;
}

void prof__arena_free(struct prof__arena *a)
{
    while (a->block) {
        struct prof__arena_block *b = a->block;

        a->block = b->next;
        if (!prof__reserve_has(b))
            prof__pages_unmap(b, b->size);
    }
    a->used = 0;
}
