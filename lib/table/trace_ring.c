/*
 * trace_ring.c - the rings: who has which, writing, and copying.
 *
 *   class 0: 64 rings of 4,096 records   1: 64 of 1,024   2: 256 of 256   3: 2,048 of 64
 *
 * All lie in one mapping of 16 MiB, each at its place for ever, so a thread that is late by a whole
 * trace writes into memory that is there, and into nobody's but its own ring. Most programs have
 * dozens of threads, and each gets a large ring; one with thousands has small ones for the rest,
 * rather than nothing.
 *
 * Nothing is to be done when a thread ends, whichever way. A ring whose owner is no more can be
 * taken by another thread; until then its records can be read. That it is no more the kernel says:
 * a signal 0 to it. As numbers of threads come again, a ring may stay with one that is not its
 * owner, and then is not to be had until that ends, too; nobody but the owner writes to it.
 *
 * The records of a ring go on through all its owners and traces. A change of owner is itself a
 * record, which names both.
 */
#include "table/trace_ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fork.h"
#include "base/task.h"
#include "table/trace_write.h"
#include "table/wait_table.h"

enum { CLASSES = 4, LARGE_CLASSES = 2 };
static const struct {
    unsigned rings, records;
} class[CLASSES] = { { 64, PROF__TRACE_RING_RECORDS }, { 64, 1024 }, { 256, 256 }, { 2048, 64 } };
enum { LARGE_RINGS = 64 + 64 };
static_assert(64 + 64 + 256 + 2048 == PROF__TRACE_RINGS, "a ring for each");
static_assert((size_t)(64 * 4096 + 64 * 1024 + 256 * 256 + 2048 * 64) *
                      sizeof(struct prof__trace_slot) <=
                  PROF__TRACE_POOL_BYTES,
              "all rings fit");

#define CLAIMED UINT32_MAX /* as an owner: it changes just now */
#define NO_RING UINT32_MAX

_Atomic uint32_t prof__trace_wants;

struct prof__trace_ring prof__trace_ring[PROF__TRACE_RINGS];
static pid_t
    process; /* a child of vfork() may ask after no thread: it has our memory, not our threads */
static _Atomic(struct prof__trace_slot *) pool;
static _Atomic uint32_t fresh[CLASSES]; /* rings of a class that have had an owner */
static _Atomic uint32_t hint;           /* where to look for one whose owner is no more */
static _Atomic uint64_t lost;

/* The model again: gcc forgets what the header said. */
_Thread_local uint32_t prof__trace_mine __attribute__((tls_model("initial-exec")));

/* When nobody had a ring to give; then it is not tried again by each record. */
static _Atomic int64_t exhausted_ns;
enum { PATIENCE_NS = 10 * 1000 * 1000 };

int prof__trace_rings_begin(void)
{
    struct prof__trace_slot *none = NULL, *p;

    if (atomic_load_explicit(&pool, memory_order_acquire))
        return 0;
    prof__trace_clock_begin();
    process = getpid();
    p = prof__pages_map(PROF__TRACE_POOL_BYTES);
    if (!p)
        return -ENOMEM;
    /* Release: its zeros, and how time is told. */
    if (!atomic_compare_exchange_strong_explicit(&pool, &none, p, memory_order_release,
                                                 memory_order_acquire))
        prof__pages_unmap(p, PROF__TRACE_POOL_BYTES);
    return 0;
}

void prof__trace_rings_end(void)
{
    struct prof__trace_slot *p = atomic_load_explicit(&pool, memory_order_acquire);

    /* They read as zeros, which is no record. Who writes late has a page again. */
    if (p && madvise(p, PROF__TRACE_POOL_BYTES, MADV_DONTNEED) < 0) /* locked in memory */
        memset(p, 0, PROF__TRACE_POOL_BYTES);
}

/* --- owners ----------------------------------------------------------------------------------- */

static struct prof__trace_slot *record_of(unsigned number, uint32_t *ret_mask)
{
    struct prof__trace_slot *at = atomic_load_explicit(&pool, memory_order_acquire);

    for (unsigned c = 0; at && c < CLASSES; c++) {
        *ret_mask = class[c].records - 1;
        if (number < class[c].rings)
            return at + (size_t)number * class[c].records;
        number -= class[c].rings;
        at += (size_t) class[c].rings * class[c].records;
    }
    return NULL;
}

/* The ring's tid is CLAIMED, by this thread. */
static void move_in(unsigned number, uint32_t before, uint32_t tid)
{
    struct prof__trace_ring *r = &prof__trace_ring[number];

    if (!r->slot)
        r->slot = record_of(number, &r->mask);
    atomic_store_explicit(&r->now_since, 0, memory_order_relaxed);
    uint64_t at = prof__trace_take(r, 1);
    prof__trace_put(r, at, prof__trace_what(PROF__TRACE_OWNER, 0), prof__trace_time(), tid, before,
                    0);
    /* Release: who sees the owner sees the record of it. */
    atomic_store_explicit(&r->tid, tid, memory_order_release);
}

/* One that nobody has had, of those classes. */
static bool claim_fresh(unsigned from, unsigned to, uint32_t tid, unsigned *ret_number)
{
    unsigned first = 0;

    for (unsigned c = 0; c < to; first += class[c].rings, c++) {
        uint32_t next = atomic_load_explicit(&fresh[c], memory_order_relaxed), none = 0;

        while (c >= from && next < class[c].rings)
            if (atomic_compare_exchange_weak_explicit(&fresh[c], &next, next + 1,
                                                      memory_order_relaxed, memory_order_relaxed)) {
                *ret_number = first + next;
                /* One that a child of fork() has inherited is somebody's. */
                if (atomic_compare_exchange_strong(&prof__trace_ring[*ret_number].tid, &none,
                                                   CLAIMED)) {
                    move_in(*ret_number, 0, tid);
                    return true;
                }
                none = 0;
                next = atomic_load_explicit(&fresh[c], memory_order_relaxed);
            }
    }
    return false;
}

bool prof__trace_is_gone(uint32_t tid)
{
    int saved = errno;
    bool gone = syscall(SYS_tgkill, getpid(), (pid_t)tid, 0) < 0 && errno == ESRCH;

    errno = saved;
    return gone;
}

/* One of the first n whose owner is no more. */
static bool claim_left(unsigned n, uint32_t tid, unsigned *ret_number)
{
    uint32_t from = atomic_load_explicit(&hint, memory_order_relaxed);

    for (unsigned i = 0; i < n; i++) {
        unsigned at = (from + i) % n;
        uint32_t owner = atomic_load_explicit(&prof__trace_ring[at].tid, memory_order_relaxed);

        /* The caller's own number is that of a thread before it, or it would have the ring. */
        if (owner == 0 || owner == CLAIMED || (owner != tid && !prof__trace_is_gone(owner)) ||
            !atomic_compare_exchange_strong(&prof__trace_ring[at].tid, &owner, CLAIMED))
            continue;
        atomic_store_explicit(&hint, at + 1, memory_order_relaxed);
        move_in(at, owner, tid);
        *ret_number = at;
        return true;
    }
    return false;
}

static struct prof__trace_ring *claim(void)
{
    uint32_t tid = prof__tid();
    unsigned number;
    bool got;

    if (!atomic_load_explicit(&pool, memory_order_acquire) || getpid() != process)
        return NULL;
    if (prof__trace_mine == NO_RING &&
        prof__monotonic_ns() - atomic_load_explicit(&exhausted_ns, memory_order_relaxed) <
            PATIENCE_NS)
        return NULL;
    /* Of two that are lost, the handler's that came between is left to a later thread. */
    got = claim_fresh(0, LARGE_CLASSES, tid, &number) || claim_left(LARGE_RINGS, tid, &number) ||
          claim_fresh(LARGE_CLASSES, CLASSES, tid, &number) ||
          claim_left(PROF__TRACE_RINGS, tid, &number);
    prof__trace_mine = got ? number + 1 : NO_RING;
    if (!got)
        atomic_store_explicit(&exhausted_ns, prof__monotonic_ns(), memory_order_relaxed);
    return got ? &prof__trace_ring[number] : NULL;
}

struct prof__trace_ring *prof__trace_claim(uint64_t n)
{
    int saved = errno;
    struct prof__trace_ring *r = claim();

    if (!r)
        atomic_fetch_add_explicit(&lost, n, memory_order_relaxed);
    errno = saved;
    return r;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* The ring is found once: a handler that forks may come between, and in the child there is none. */
static inline __attribute__((always_inline)) void add(struct prof__trace_ring *r, uint32_t what,
                                                      uint64_t time, uint64_t object,
                                                      uint64_t value, uint32_t stack)
{
    prof__trace_put(r, prof__trace_take(r, 1), what, time, object, value, stack);
}

static PROF_COLD void add_first(uint32_t what, uint64_t time, uint64_t object, uint64_t value,
                                uint32_t stack)
{
    struct prof__trace_ring *r = prof__trace_claim(1);

    if (r)
        add(r, what, time, object, value, stack);
}

/* What is seldom is called last, so nothing is to be kept for it. */
void prof__trace_add(uint32_t what, uint64_t time, uint64_t object, uint64_t value, uint32_t stack)
{
    struct prof__trace_ring *r = prof__trace_my_ring();

    if (PROF_LIKELY(r != NULL))
        add(r, what, time, object, value, stack);
    else
        add_first(what, time, object, value, stack);
}

static PROF_COLD void add_now_slowly(uint32_t what, uint64_t object, uint64_t value)
{
    prof__trace_add(what, prof__trace_time(), object, value, 0);
}

void prof__trace_add_now(uint32_t what, uint64_t object, uint64_t value)
{
    struct prof__trace_ring *r = prof__trace_my_ring();

    if (PROF_LIKELY(r != NULL && atomic_load_explicit(&prof__trace_by_ticks, memory_order_relaxed)))
        add(r, what, prof__ticks(), object, value, 0);
    else
        add_now_slowly(what, object, value);
}

static PROF_APART void write_long(const char *text, size_t size)
{
    uint64_t word[3];
    unsigned more = (unsigned)(size - 16 + 23) / 24;

    struct prof__trace_ring *r = prof__trace_my_ring();
    if (!r && !(r = prof__trace_claim(1 + more)))
        return;
    uint64_t number = prof__trace_take(r, 1 + more);
    memcpy(word, text, 16);
    prof__trace_put(r, number, prof__trace_what(PROF__TRACE_LOG, more), prof__trace_time(), word[0],
                    word[1], 0);
    for (size_t from = 16; from < size; from += 24) {
        memset(word, 0, sizeof(word));
        memcpy(word, text + from, PROF_MIN(size - from, sizeof(word)));
        prof__trace_put(r, ++number, prof__trace_what(PROF__TRACE_MORE, 0), word[0], word[1],
                        word[2], 0);
    }
}

static inline uint64_t load(const char *from, size_t bytes)
{
    uint64_t word = 0;

    memcpy(&word, from, bytes);
    return word;
}

/* The first n bytes of a text as they lie in memory, which here is the lowest first; then zeros. */
static inline uint64_t first_bytes(const char *from, size_t n)
{
    if (n >= 8)
        return load(from, 8);
    if (n >= 4) /* twice four, of which some are the same */
        return load(from, 4) | load(from + n - 4, 4) << 8 * (n - 4);
    return n == 0 ? 0
                  : load(from, 1) | load(from + n / 2, 1) << 8 * (n / 2) |
                        load(from + n - 1, 1) << 8 * (n - 1);
}

void prof__trace_write_text(const char *text, size_t size)
{
    if (PROF_UNLIKELY(size > 16))
        write_long(text, PROF_MIN(size, (size_t)PROF__TRACE_TEXT_MAX));
    else
        prof__trace_write_now(PROF__TRACE_LOG, 0, first_bytes(text, size),
                              size > 8 ? load(text + size - 8, 8) >> 8 * (16 - size) : 0);
}

static void set_now(struct prof__trace_ring *r, uint64_t since, uint64_t what, uintptr_t frame)
{
    atomic_store_explicit(&r->now_since, 0, memory_order_relaxed);
    /* Release: who sees what follows sees that the last one is over. */
    atomic_thread_fence(memory_order_release);
    r->now_frame = frame;
    atomic_store_explicit(&r->now_what, what, memory_order_relaxed);
    atomic_store_explicit(&r->now_since, since, memory_order_release);
}

void prof__trace_now_begin(uint64_t since, uint64_t what, struct prof__trace_now *ret_around)
{
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);

    *ret_around = (struct prof__trace_now) { 0 };
    struct prof__trace_ring *r = prof__trace_my_ring();
    if (!r && !(r = prof__trace_claim(0)))
        return;
    if (atomic_load_explicit(&r->now_since, memory_order_relaxed) && r->now_frame > frame)
        *ret_around = (struct prof__trace_now) {
            .since = atomic_load_explicit(&r->now_since, memory_order_relaxed),
            .what = atomic_load_explicit(&r->now_what, memory_order_relaxed),
            .frame = r->now_frame,
        };
    set_now(r, since, what, frame);
}

void prof__trace_now_end(const struct prof__trace_now *around)
{
    struct prof__trace_ring *r = prof__trace_my_ring();

    if (r)
        set_now(r, around->since, around->what, around->frame);
}

uint64_t prof__trace_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

/* --- reading ---------------------------------------------------------------------------------- */

unsigned prof__trace_rings(void)
{
    return PROF__TRACE_RINGS;
}

uint64_t prof__trace_ring_written(unsigned number)
{
    return atomic_load_explicit(&prof__trace_ring[number].written, memory_order_acquire);
}

static void copy_one(const struct prof__trace_slot *from, uint64_t number,
                     struct prof__trace_record *to)
{
    /* Acquire: the rest is of this record, or of a later one. */
    uint32_t what = atomic_load_explicit(&from->what, memory_order_acquire);

    *to = (struct prof__trace_record) {
        .time = atomic_load_explicit(&from->time, memory_order_relaxed),
        .object = atomic_load_explicit(&from->object, memory_order_relaxed),
        .value = atomic_load_explicit(&from->value, memory_order_relaxed),
        .stack = atomic_load_explicit(&from->stack, memory_order_relaxed),
        .kind = what & ((1u << PROF__TRACE_KIND_BITS) - 1),
        .detail = what >> PROF__TRACE_KIND_BITS & ((1u << PROF__TRACE_DETAIL_BITS) - 1),
    };
    /* Acquire: if any of it was a later record's, so is this. */
    atomic_thread_fence(memory_order_acquire);
    if (what >> PROF__TRACE_NUMBER_SHIFT !=
            ((uint32_t)number << PROF__TRACE_NUMBER_SHIFT) >> PROF__TRACE_NUMBER_SHIFT ||
        atomic_load_explicit(&from->what, memory_order_relaxed) != what)
        to->kind = PROF__TRACE_NOTHING;
}

static void copy_now(const struct prof__trace_ring *r, struct prof__trace_ring_copy *to)
{
    to->now_since = atomic_load_explicit(&r->now_since, memory_order_acquire);
    to->now_what = atomic_load_explicit(&r->now_what, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&r->now_since, memory_order_relaxed) != to->now_since)
        to->now_since = 0; /* it is over */
}

bool prof__trace_ring_read(unsigned number, struct prof__trace_ring_copy *ret)
{
    const struct prof__trace_ring *r = &prof__trace_ring[number];
    uint32_t mask, before;
    const struct prof__trace_slot *record = record_of(number, &mask);
    int tries = 3;

    if (!record || prof__trace_ring_written(number) == 0)
        return false;
    do {
        before = atomic_load_explicit(&r->tid, memory_order_acquire);
        ret->written = prof__trace_ring_written(number);
        ret->first = ret->written > mask + 1 ? ret->written - mask - 1 : 0;
        ret->n = ret->written - ret->first;
        for (size_t i = 0; i < ret->n; i++)
            copy_one(&record[(ret->first + i) & mask], ret->first + i, &ret->record[i]);
        copy_now(r, ret);
        atomic_thread_fence(memory_order_acquire);
        ret->tid = atomic_load_explicit(&r->tid, memory_order_relaxed);
    } while ((ret->tid != before || before == CLAIMED) && --tries);
    if (ret->tid == CLAIMED || ret->tid != before)
        ret->tid = 0; /* the records of before the change say whose they are */
    return true;
}

/* The parent's threads are not here, and what they did is not this process's. */
static void fork_child(void)
{
    atomic_store_explicit(&prof__trace_wants, 0, memory_order_relaxed);
    if (!atomic_load_explicit(&pool, memory_order_relaxed))
        return;
    for (unsigned i = 0; i < PROF__TRACE_RINGS; i++)
        if (atomic_load_explicit(&prof__trace_ring[i].tid, memory_order_relaxed))
            atomic_store_explicit(&prof__trace_ring[i].tid, 0, memory_order_relaxed);
    for (unsigned c = 0; c < CLASSES; c++)
        atomic_store_explicit(&fresh[c], 0, memory_order_relaxed);
    atomic_store_explicit(&hint, 0, memory_order_relaxed);
    process = getpid();
    prof__trace_mine = 0;
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, fork_child)
