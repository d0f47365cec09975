/*
 * live_table.c - sampled blocks by address.
 *
 *   segment 0: 4,096 slots   segment 1: 16,384   segment 2: 65,536 ...
 *
 * An address hashes to one window of 16 slots in each segment: two cache lines of keys, scanned
 * whole, so a slot that was emptied needs no tombstone. A block goes into the newest segment whose
 * window has room; when none has, the next segment, four times as large, is mapped. Nothing is
 * ever moved or rehashed, so there is no moment at which a reader could miss a block, and no lock:
 * a slot is claimed by compare-and-swap, filled, and published by storing its key. Only the thread
 * that frees a block removes it, and that is after malloc() returned it, so a key is always found.
 *
 * No thread ever waits, not even for one that died, was forked away or was interrupted in here.
 * Bounded by the number of live sampled blocks: 32 bytes a slot. Context: hook, signal.
 */
#include "table/live_table.h"

#include <errno.h>

#include "base/arena.h"
#include "base/hash.h"

enum {
    WINDOW = 16,
    FIRST_SLOTS = 4096,
    GROWTH = 4,
    SEGMENTS = 12,
    CLAIMED = 1, /* no key has this value */
};

struct segment {
    size_t slots;
    struct prof__live *live;
    _Atomic uintptr_t key[]; /* 0: empty */
};

_Atomic uint8_t prof__page_filter[1 << 20] __attribute__((aligned(4096)));

static _Atomic(struct segment *) segment[SEGMENTS];
static _Atomic size_t count;

static void filter_add(uintptr_t key)
{
    _Atomic uint8_t *f = &prof__page_filter[(uint32_t)key >> 12];
    uint8_t seen = atomic_load_explicit(f, memory_order_relaxed);

    while (seen != UINT8_MAX &&
           !atomic_compare_exchange_weak_explicit(f, &seen, (uint8_t)(seen + 1),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static void filter_remove(uintptr_t key)
{
    _Atomic uint8_t *f = &prof__page_filter[(uint32_t)key >> 12];
    uint8_t seen = atomic_load_explicit(f, memory_order_relaxed);

    /* At 255 it has lost count and stays: frees on that page are looked up, that is all. */
    while (seen != UINT8_MAX && seen != 0 &&
           !atomic_compare_exchange_weak_explicit(f, &seen, (uint8_t)(seen - 1),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* First slot of the window of `key`. */
static size_t window(const struct segment *s, uintptr_t key)
{
    return prof__hash(key) & (s->slots - 1) & ~(size_t)(WINDOW - 1); /* a power of two of slots */
}

static size_t segment_bytes(size_t slots)
{
    return sizeof(struct segment) + 48 + slots * (sizeof(uintptr_t) + sizeof(struct prof__live));
}

static struct segment *segment_grow(unsigned index)
{
    size_t slots = FIRST_SLOTS;

    for (unsigned i = 0; i < index; i++)
        slots *= GROWTH;
    struct segment *fresh = prof__pages_map(segment_bytes(slots));
    struct segment *seen = NULL;
    if (!fresh)
        return NULL;
    fresh->slots = slots;
    fresh->live = (struct prof__live *)&fresh->key[slots];
    /* Release: the sizes above come with the pointer. */
    if (!atomic_compare_exchange_strong_explicit(&segment[index], &seen, fresh,
                                                 memory_order_release, memory_order_acquire)) {
        prof__pages_unmap(fresh, segment_bytes(slots));
        return seen;
    }
    return fresh;
}

static bool segment_add(struct segment *s, uintptr_t key, const struct prof__live *live)
{
    size_t at = window(s, key);

    for (size_t i = at; i < at + WINDOW; i++) {
        uintptr_t empty = 0;

        if (atomic_load_explicit(&s->key[i], memory_order_relaxed) != 0)
            continue;
        /* Acquire: the last owner is done reading the slot; pairs with its release of 0. */
        if (!atomic_compare_exchange_strong_explicit(&s->key[i], &empty, CLAIMED,
                                                     memory_order_acquire, memory_order_relaxed))
            continue;
        s->live[i] = *live;
        /* Release: the record is there for who finds the key. */
        atomic_store_explicit(&s->key[i], key, memory_order_release);
        return true;
    }
    return false;
}

int prof__live_add(uintptr_t key, const struct prof__live *live, struct prof__live *ret_stale)
{
    int stale = prof__live_maybe(key) && prof__live_remove(key, ret_stale);
    unsigned n = 0;

    while (n < SEGMENTS && atomic_load_explicit(&segment[n], memory_order_acquire))
        n++;
    filter_add(key); /* before the key: no free may pass by */
    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    for (unsigned i = n; i-- > 0;)
        if (segment_add(atomic_load_explicit(&segment[i], memory_order_acquire), key, live))
            return stale;
    for (; n < SEGMENTS; n++) {
        struct segment *s = segment_grow(n);

        if (!s)
            break;
        if (segment_add(s, key, live))
            return stale;
    }
    filter_remove(key);
    atomic_fetch_sub_explicit(&count, 1, memory_order_relaxed);
    return -ENOMEM;
}

bool prof__live_remove(uintptr_t key, struct prof__live *ret_live)
{
    /* free(NULL) gets here when a block lies on a page with the filter's index of page 0, and the
     * key of an empty slot is 0. */
    if (key <= CLAIMED)
        return false;
    for (unsigned n = 0; n < SEGMENTS; n++) {
        struct segment *s = atomic_load_explicit(&segment[n], memory_order_acquire);

        if (!s)
            break;
        size_t at = window(s, key);
        for (size_t i = at; i < at + WINDOW; i++) {
            uintptr_t seen = key;

            if (atomic_load_explicit(&s->key[i], memory_order_relaxed) != key)
                continue;
            /* Acquire: the record; pairs with the release in segment_add(). Losing means that
             * another thread frees the same block: a bug of the program, not ours. */
            if (!atomic_compare_exchange_strong_explicit(
                    &s->key[i], &seen, CLAIMED, memory_order_acquire, memory_order_relaxed))
                return false;
            *ret_live = s->live[i];
            /* Release: we are done reading before the slot is another's. */
            atomic_store_explicit(&s->key[i], 0, memory_order_release);
            atomic_fetch_sub_explicit(&count, 1, memory_order_relaxed);
            filter_remove(key);
            return true;
        }
    }
    return false;
}

int prof__live_each(int (*each)(uintptr_t key, const struct prof__live *live, void *arg), void *arg)
{
    for (unsigned n = 0; n < SEGMENTS; n++) {
        struct segment *s = atomic_load_explicit(&segment[n], memory_order_acquire);

        if (!s)
            break;
        for (size_t i = 0; i < s->slots; i++) {
            uintptr_t key = atomic_load_explicit(&s->key[i], memory_order_acquire);

            if (key <= CLAIMED)
                continue;
            struct prof__live live = s->live[i];
            /* The copy is good if the slot was not given away meanwhile. */
            atomic_thread_fence(memory_order_acquire);
            if (atomic_load_explicit(&s->key[i], memory_order_relaxed) != key)
                continue;
            int r = each(key, &live, arg);
            if (r)
                return r;
        }
    }
    return 0;
}

size_t prof__live_count(void)
{
    return atomic_load_explicit(&count, memory_order_relaxed);
}
