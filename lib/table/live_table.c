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
 * Who reads a slot that is not his, and finds the same key before and after, can still have met two
 * records of one address. So removals are counted before the slot is free: if the count stands
 * still, it was one record.
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
    SEGMENTS = PROF__LIVE_SEGMENTS,
    CLAIMED = 1, /* no key has this value */
    READ_TRIES = 100,
    ADOPTED = 256, /* slots at once; all segments are multiples of it */
};

#define SWEEP_MAX ((size_t)1 << 30)

enum { RECORD_WORDS = sizeof(struct prof__live) / sizeof(uint64_t) };

static_assert(sizeof(struct prof__live) == RECORD_WORDS * sizeof(uint64_t), "whole words");

/* In words, since it may be read while it is written. */
struct record {
    _Atomic uint64_t word[RECORD_WORDS];
};

struct prof__live_segment {
    size_t slots;
    struct record *record;
    _Atomic uintptr_t key[]; /* 0: empty */
};

static_assert(FIRST_SLOTS == 4096 && GROWTH == 4 && sizeof(struct prof__live_segment) == 16 &&
                  offsetof(struct prof__live_segment, key) == 16,
              "see table/root.c: layout 2");

_Atomic uint8_t prof__page_filter[1 << 20] __attribute__((aligned(4096)));
_Atomic uint8_t prof__place_filter[1 << 20] __attribute__((aligned(4096)));

_Atomic(struct prof__live_segment *) prof__live_segments[PROF__LIVE_SEGMENTS];
static _Atomic uint64_t added, removed;
static _Atomic bool any_fed;

static void count_up(_Atomic uint8_t *n)
{
    uint8_t seen = atomic_load_explicit(n, memory_order_relaxed);

    while (seen != UINT8_MAX &&
           !atomic_compare_exchange_weak_explicit(n, &seen, (uint8_t)(seen + 1),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static void count_down(_Atomic uint8_t *n)
{
    uint8_t seen = atomic_load_explicit(n, memory_order_relaxed);

    while (seen != UINT8_MAX && seen != 0 &&
           !atomic_compare_exchange_weak_explicit(n, &seen, (uint8_t)(seen - 1),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static void filter_add(uintptr_t key)
{
    count_up(&prof__place_filter[(key >> 4) % (1 << 20)]);
    count_up(&prof__page_filter[(uint32_t)key >> 12]);
}

static void filter_remove(uintptr_t key)
{
    count_down(&prof__page_filter[(uint32_t)key >> 12]);
    count_down(&prof__place_filter[(key >> 4) % (1 << 20)]);
}

typedef uint64_t word __attribute__((may_alias));

static void record_write(struct record *r, const struct prof__live *live)
{
    const word *from = (const word *)live;

    for (size_t i = 0; i < RECORD_WORDS; i++)
        atomic_store_explicit(&r->word[i], from[i], memory_order_relaxed);
}

static void record_read(const struct record *r, struct prof__live *ret_live)
{
    word *to = (word *)ret_live;

    for (size_t i = 0; i < RECORD_WORDS; i++)
        to[i] = atomic_load_explicit(&r->word[i], memory_order_relaxed);
}

/* First slot of the window of `key`. */
static size_t window(const struct prof__live_segment *s, uintptr_t key)
{
    return prof__hash(key) & (s->slots - 1) & ~(size_t)(WINDOW - 1); /* a power of two of slots */
}

static size_t segment_bytes(size_t slots)
{
    return sizeof(struct prof__live_segment) + 48 +
           slots * (sizeof(uintptr_t) + sizeof(struct record));
}

static struct prof__live_segment *segment_grow(unsigned index)
{
    size_t slots = FIRST_SLOTS;

    for (unsigned i = 0; i < index; i++)
        slots *= GROWTH;
    struct prof__live_segment *fresh = prof__pages_map(segment_bytes(slots));
    struct prof__live_segment *seen = NULL;
    if (!fresh)
        return NULL;
    fresh->slots = slots;
    fresh->record = (struct record *)&fresh->key[slots];
    /* Release: the sizes above come with the pointer. */
    if (!atomic_compare_exchange_strong_explicit(&prof__live_segments[index], &seen, fresh,
                                                 memory_order_release, memory_order_acquire)) {
        prof__pages_unmap(fresh, segment_bytes(slots));
        return seen;
    }
    return fresh;
}

static bool segment_add(struct prof__live_segment *s, uintptr_t key, const struct prof__live *live)
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
        /* Release: who reads any of this also sees, when it looks again, that the former record has
         * been removed; pairs with the fence in read_slot(). */
        atomic_thread_fence(memory_order_release);
        record_write(&s->record[i], live);
        /* Release: the record is there for who finds the key. */
        atomic_store_explicit(&s->key[i], key, memory_order_release);
        return true;
    }
    return false;
}

static int add(uintptr_t key, const struct prof__live *live)
{
    unsigned n = 0;

    while (n < SEGMENTS && atomic_load_explicit(&prof__live_segments[n], memory_order_acquire))
        n++;
    filter_add(key); /* before the key: no free may pass by */
    atomic_fetch_add_explicit(&added, 1, memory_order_relaxed);
    for (unsigned i = n; i-- > 0;)
        if (segment_add(atomic_load_explicit(&prof__live_segments[i], memory_order_acquire), key,
                        live))
            return 0;
    for (; n < SEGMENTS; n++) {
        struct prof__live_segment *s = segment_grow(n);

        if (!s)
            break;
        if (segment_add(s, key, live))
            return 0;
    }
    filter_remove(key);
    atomic_fetch_sub_explicit(&added, 1, memory_order_relaxed);
    return -ENOMEM;
}

int prof__live_add(uintptr_t key, const struct prof__live *live, struct prof__live *ret_stale)
{
    if (!prof__live_maybe(key) || !prof__live_maybe_here(key) || !prof__live_remove(key, ret_stale))
        ret_stale->row = 0;
    if (key & PROF__LIVE_FED && !atomic_load_explicit(&any_fed, memory_order_relaxed))
        atomic_store_explicit(&any_fed, true, memory_order_relaxed);
    return add(key, live);
}

bool prof__live_remove(uintptr_t key, struct prof__live *ret_live)
{
    /* free(NULL) gets here when a block lies on a page with the filter's index of page 0, and the
     * key of an empty slot is 0. */
    if (key <= CLAIMED)
        return false;
    for (unsigned n = 0; n < SEGMENTS; n++) {
        struct prof__live_segment *s =
            atomic_load_explicit(&prof__live_segments[n], memory_order_acquire);

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
            record_read(&s->record[i], ret_live);
            atomic_fetch_add_explicit(&removed, 1, memory_order_release);
            /* Release: we are done reading, and it is counted, before the slot is another's. */
            atomic_store_explicit(&s->key[i], 0, memory_order_release);
            filter_remove(key);
            return true;
        }
    }
    return false;
}

/* --- memory that is handed out anew ----------------------------------------------------------- */

static size_t end_one(uintptr_t key, void (*ended)(const struct prof__live *live))
{
    struct prof__live live;

    if (!prof__live_remove(key, &live))
        return 0;
    ended(&live);
    return 1;
}

/* What starts in [start, end), which lies in one place. Allocators align to 8 bytes at least. */
static size_t sweep_place(uintptr_t start, uintptr_t end,
                          void (*ended)(const struct prof__live *live))
{
    size_t n = 0;

    for (uintptr_t at = (start + 7) & ~(uintptr_t)7; at < end; at += 8)
        n += end_one(at, ended);
    if (atomic_load_explicit(&any_fed, memory_order_relaxed))
        for (uintptr_t at = start; at < end; at++)
            n += end_one(at | PROF__LIVE_FED, ended);
    return n;
}

static size_t sweep_page(uintptr_t start, uintptr_t end,
                         void (*ended)(const struct prof__live *live))
{
    size_t n = 0;

    for (uintptr_t next; start < end; start = next) {
        next = PROF_MIN((start | 15) + 1, end);
        if (prof__live_maybe_here(start))
            n += sweep_place(start, next, ended);
    }
    return n;
}

size_t prof__live_sweep(uintptr_t start, size_t size, void (*ended)(const struct prof__live *live))
{
    uintptr_t end = start + PROF_MIN(size, SWEEP_MAX);
    size_t n = 0;

    for (uintptr_t next; start < end; start = next) {
        next = PROF_MIN((start | 4095) + 1, end);
        if (prof__live_maybe(start))
            n += sweep_page(start, next, ended);
    }
    return n;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* A copy of a slot, if it holds a block. */
static bool read_slot(const struct prof__live_segment *s, size_t i, uintptr_t *ret_key,
                      struct prof__live *ret_live)
{
    for (int tries = 0; tries < READ_TRIES; tries++) {
        /* Acquire, both: they are read in this order, and before the record. */
        uint64_t before = atomic_load_explicit(&removed, memory_order_acquire);
        uintptr_t key = atomic_load_explicit(&s->key[i], memory_order_acquire);

        if (key <= CLAIMED)
            return false;
        record_read(&s->record[i], ret_live);
        /* Acquire: if any of that was written by who came after a removal, that is counted. */
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&removed, memory_order_relaxed) == before &&
            atomic_load_explicit(&s->key[i], memory_order_relaxed) == key) {
            *ret_key = key;
            return true;
        }
    }
    return false; /* blocks come and go faster than one can be read */
}

int prof__live_each(int (*each)(uintptr_t key, const struct prof__live *live, void *arg), void *arg)
{
    for (unsigned n = 0; n < SEGMENTS; n++) {
        struct prof__live_segment *s =
            atomic_load_explicit(&prof__live_segments[n], memory_order_acquire);
        struct prof__live live;
        uintptr_t key;

        if (!s)
            break;
        for (size_t i = 0; i < s->slots; i++) {
            int r = read_slot(s, i, &key, &live) ? each(key, &live, arg) : 0;

            if (r)
                return r;
        }
    }
    return 0;
}

void prof__live_memory(void (*each)(const void *start, size_t size, void *arg), void *arg)
{
    each(prof__live_segments, sizeof(prof__live_segments), arg);
    for (unsigned n = 0; n < SEGMENTS; n++) {
        struct prof__live_segment *s =
            atomic_load_explicit(&prof__live_segments[n], memory_order_acquire);

        if (s)
            each(s, segment_bytes(s->slots), arg);
    }
}

/* --- a table from elsewhere ------------------------------------------------------------------- */

/* ADOPTED slots, from `from` on, of a segment of `slots`, which begins at `at` there. */
static int adopt_slots(const struct prof__live_elsewhere *e, uint64_t at, size_t slots, size_t from)
{
    uint64_t keys = at + offsetof(struct prof__live_segment, key);
    uint64_t records = keys + slots * sizeof(uintptr_t);
    uintptr_t key[ADOPTED];
    struct prof__live live[ADOPTED], stale;
    int r = 0;

    if (e->read(e->arg, keys + from * sizeof(*key), key, sizeof(key)) != sizeof(key) ||
        e->read(e->arg, records + from * sizeof(*live), live, sizeof(live)) != sizeof(live)) {
        e->absent(e->arg, sizeof(key) + sizeof(live));
        return 0;
    }
    for (size_t i = 0; i < ADOPTED && r == 0; i++)
        if (key[i] > CLAIMED && e->is_sane(e->arg, key[i], &live[i]))
            r = prof__live_add(key[i], &live[i], &stale);
    return r;
}

int prof__live_adopt(uint64_t at, const struct prof__live_elsewhere *e)
{
    size_t slots = FIRST_SLOTS;
    int r = 0;

    for (unsigned n = 0; n < SEGMENTS && r == 0; n++, slots *= GROWTH) {
        uint64_t start, there;

        if (e->read(e->arg, at + n * sizeof(start), &start, sizeof(start)) != sizeof(start) ||
            start == 0)
            break;
        if (e->read(e->arg, start, &there, sizeof(there)) != sizeof(there) || there != slots) {
            e->absent(e->arg, segment_bytes(slots));
            continue;
        }
        for (size_t from = 0; from < slots && r == 0; from += ADOPTED)
            r = adopt_slots(e, start, slots, from);
    }
    return r;
}

size_t prof__live_count(void)
{
    /* This one first: then it is at most what has been added; pairs with its release. */
    uint64_t gone = atomic_load_explicit(&removed, memory_order_acquire);

    return (size_t)(atomic_load_explicit(&added, memory_order_relaxed) - gone);
}
