/*
 * slot.c - a table of slots that grows with the threads that have one.
 *
 *   segment 0: 64 slots   segment 1: 128   segment 2: 256 ...
 *
 * A free slot is claimed by compare-and-swap of its thread id, starting where the last one was
 * found. A thread remembers its own by a key of thread-specific data, whose destructor runs when
 * the thread returns, exits or is cancelled, and frees the slot. The key is made when libprof is
 * loaded, or where that failed (a process has 1,024) by who wants a slot first when there is one to
 * be had; until then there are no slots, and what they are for is missing.
 */
#include "base/slot.h"

#include <pthread.h>

#include "base/arena.h"
#include "base/fork.h"
#include "base/task.h"
#include "base/thread.h"

enum { NO_KEY, MAKING_KEY, HAS_KEY };
enum { FIRST = 64, SEGMENTS = 9, SLOTS = FIRST * ((1 << SEGMENTS) - 1) };

static struct prof__slot first_segment[FIRST];
static _Atomic(struct prof__slot *) segment[SEGMENTS] = { first_segment };
static _Atomic uint32_t hint, highest; /* where to look for a free one; all in use are below */
static _Atomic int key_state;
static pthread_key_t key;

/* Segment k begins with slot FIRST * (2^k - 1). */
static unsigned segment_of(uint32_t at)
{
    return 31 - (unsigned)__builtin_clz(at / FIRST + 1);
}

/* One that is below `highest`. */
static struct prof__slot *slot_at(uint32_t at)
{
    unsigned k = segment_of(at);

    /* Acquire: its zeros; pairs with the release in grow(). */
    return &atomic_load_explicit(&segment[k], memory_order_acquire)[at - FIRST * ((1u << k) - 1)];
}

/* One more slot. False: there are as many as there can be. */
static bool grow(uint32_t top)
{
    unsigned k = segment_of(top);
    size_t size = ((size_t)FIRST << k) * sizeof(struct prof__slot);
    struct prof__slot *none = NULL;

    if (top == SLOTS)
        return false;
    if (!atomic_load_explicit(&segment[k], memory_order_relaxed)) {
        struct prof__slot *fresh = prof__pages_map(size);

        if (!fresh)
            return false;
        if (!atomic_compare_exchange_strong_explicit(&segment[k], &none, fresh,
                                                     memory_order_release, memory_order_relaxed))
            prof__pages_unmap(fresh, size);
    }
    /* Release: the segment is there for who sees the number. Failing means that another did it. */
    atomic_compare_exchange_strong_explicit(&highest, &top, top + 1, memory_order_release,
                                            memory_order_relaxed);
    return true;
}

static prof__slot_exit_fn *_Atomic at_exit[PROF__SLOT_EXITS];

void prof__slot_at_exit(enum prof__slot_exit who, prof__slot_exit_fn *fn)
{
    atomic_store_explicit(&at_exit[who], fn, memory_order_relaxed);
}

static void give_back(struct prof__slot *s)
{
    atomic_store_explicit(&s->function, 0, memory_order_relaxed);
    prof__self.labels = 0;
    atomic_store_explicit(&s->labels, 0, memory_order_relaxed);
    atomic_store_explicit(&s->hidden, false, memory_order_relaxed);
    atomic_store_explicit(&s->helper, false, memory_order_relaxed);
    s->depth = s->skipped = 0;
    /* Release: the next owner finds it empty; pairs with the claim. */
    atomic_store_explicit(&s->tid, 0, memory_order_release);
}

static void leave(void *arg)
{
    for (unsigned i = 0; i < PROF__SLOT_EXITS; i++) {
        prof__slot_exit_fn *fn = atomic_load_explicit(&at_exit[i], memory_order_relaxed);

        if (fn)
            fn(arg);
    }
    give_back(arg);
}

/* Acquire: `key` is there; pairs with the release in make_key(). */
static bool has_key(void)
{
    return atomic_load_explicit(&key_state, memory_order_acquire) == HAS_KEY;
}

/* Nobody waits for who is making it: that thread may be one that a fork has left behind. */
__attribute__((constructor(101))) static void make_key(void)
{
    int none = NO_KEY;

    if (atomic_compare_exchange_strong_explicit(&key_state, &none, MAKING_KEY, memory_order_relaxed,
                                                memory_order_relaxed))
        atomic_store_explicit(&key_state, pthread_key_create(&key, leave) == 0 ? HAS_KEY : NO_KEY,
                              memory_order_release);
}

static struct prof__slot *claim(void)
{
    uint32_t tid = (uint32_t)prof__gettid(), top;

    do {
        top = atomic_load_explicit(&highest, memory_order_acquire);
        uint32_t from = atomic_load_explicit(&hint, memory_order_relaxed);

        for (uint32_t i = 0; i < top; i++) {
            uint32_t at = (from + i) % top, seen = 0;
            struct prof__slot *s = slot_at(at);

            /* Acquire: it is empty; pairs with the release in leave(). */
            if (atomic_load_explicit(&s->tid, memory_order_relaxed) == 0 &&
                atomic_compare_exchange_strong_explicit(&s->tid, &seen, tid, memory_order_acquire,
                                                        memory_order_relaxed)) {
                atomic_store_explicit(&hint, at + 1, memory_order_relaxed);
                return s;
            }
        }
    } while (grow(top));
    return NULL;
}

struct prof__slot *prof__slot_mine_if_any(void)
{
    return has_key() ? pthread_getspecific(key) : NULL;
}

struct prof__slot *prof__slot_mine(void)
{
    struct prof__thread *t = &prof__self;
    struct prof__slot *s;

    if (!has_key())
        make_key();
    s = prof__slot_mine_if_any();
    if (s || !has_key() || !(s = claim()))
        return s;
    /* For a key beyond the first few, libc allocates: that is ours, not the program's. */
    bool entered = prof__enter(t);
    int r = pthread_setspecific(key, s);
    if (entered)
        prof__leave(t);
    if (r != 0) {
        give_back(s);
        return NULL;
    }
    return s;
}

const struct prof__slot *prof__slot_of(pid_t tid)
{
    uint32_t n = atomic_load_explicit(&highest, memory_order_acquire);

    /* Acquire: nothing that the one before it had there; pairs with the release in leave(), which
     * the claim goes on with. */
    for (uint32_t i = 0; i < n; i++)
        if (atomic_load_explicit(&slot_at(i)->tid, memory_order_acquire) == (uint32_t)tid)
            return slot_at(i);
    return NULL;
}

bool prof__slots_any_helper(void)
{
    uint32_t n = atomic_load_explicit(&highest, memory_order_acquire);

    for (uint32_t i = 0; i < n; i++)
        if (atomic_load(&slot_at(i)->helper))
            return true;
    return false;
}

/* What other threads last wrote in the parent cannot be waited for: this is a copy, and ours alone.
 */
PROF_NO_SANITIZE static void fork_child(void)
{
    uint32_t n = atomic_load_explicit(&highest, memory_order_acquire);
    struct prof__slot *mine = prof__slot_mine_if_any();

    if (!has_key()) /* who was making it is not here; a key that it did make is lost */
        atomic_store_explicit(&key_state, NO_KEY, memory_order_relaxed);
    for (uint32_t i = 0; i < n; i++) {
        struct prof__slot *s = slot_at(i);

        if (s == mine) {
            atomic_store_explicit(&s->tid, (uint32_t)prof__gettid(), memory_order_relaxed);
        } else {
            atomic_store_explicit(&s->labels, 0, memory_order_relaxed);
            atomic_store_explicit(&s->hidden, false, memory_order_relaxed);
            atomic_store_explicit(&s->helper, false, memory_order_relaxed);
            atomic_store_explicit(&s->function, 0, memory_order_relaxed);
            s->depth = s->skipped = 0;
            atomic_store_explicit(&s->tid, 0, memory_order_relaxed);
        }
    }
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, fork_child)
