/*
 * slot.c - a table of slots in zeroed static memory, of which a process touches what it uses.
 *
 * A free slot is claimed by compare-and-swap of its thread id, starting where the last one was
 * found. A thread remembers its own by a key of thread-specific data, whose destructor runs when
 * the thread returns, exits or is cancelled, and frees the slot. While there is no key to be had (a
 * process has 1,024) there are no slots, and what they are for is missing.
 */
#include "base/slot.h"

#include <pthread.h>

#include "base/task.h"
#include "base/thread.h"

enum { SLOTS = 32768, KEY_NONE, KEY_MAKING, KEY_READY };

static struct prof__slot slot[SLOTS];
static _Atomic uint32_t hint, highest; /* where to look for a free one; all in use are below */
static _Atomic int key_state = KEY_NONE;
static pthread_key_t key;

static void leave(void *arg)
{
    struct prof__slot *s = arg;
    void (*at_exit)(const struct prof__slot *s) = s->at_exit;

    s->at_exit = NULL;
    if (at_exit)
        at_exit(s);
    atomic_store_explicit(&s->function, 0, memory_order_relaxed);
    prof__self.labels = 0;
    atomic_store_explicit(&s->labels, 0, memory_order_relaxed);
    atomic_store_explicit(&s->hidden, false, memory_order_relaxed);
    atomic_store_explicit(&s->helper, false, memory_order_relaxed);
    s->depth = s->skipped = 0;
    /* Release: the next owner finds it empty; pairs with the claim. */
    atomic_store_explicit(&s->tid, 0, memory_order_release);
}

static bool key_ready(void)
{
    int state = atomic_load_explicit(&key_state, memory_order_acquire);

    if (state == KEY_NONE &&
        atomic_compare_exchange_strong_explicit(&key_state, &state, KEY_MAKING,
                                                memory_order_relaxed, memory_order_relaxed)) {
        state = pthread_key_create(&key, leave) == 0 ? KEY_READY : KEY_NONE;
        /* Release: `key` is there for who sees the state. */
        atomic_store_explicit(&key_state, state, memory_order_release);
    }
    while (state == KEY_MAKING) /* a few instructions in another thread */
        state = atomic_load_explicit(&key_state, memory_order_acquire);
    return state == KEY_READY;
}

static struct prof__slot *claim(void)
{
    uint32_t tid = (uint32_t)prof__gettid();
    uint32_t first = atomic_load_explicit(&hint, memory_order_relaxed);

    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t at = (first + i) % SLOTS, seen = 0;

        if (atomic_load_explicit(&slot[at].tid, memory_order_relaxed) != 0 ||
            !atomic_compare_exchange_strong_explicit(&slot[at].tid, &seen, tid,
                                                     memory_order_acquire, memory_order_relaxed))
            continue;
        uint32_t top = atomic_load_explicit(&highest, memory_order_relaxed);
        while (top < at + 1 &&
               !atomic_compare_exchange_weak_explicit(&highest, &top, at + 1, memory_order_relaxed,
                                                      memory_order_relaxed))
            ;
        atomic_store_explicit(&hint, at + 1 < top ? at + 1 : 0, memory_order_relaxed);
        return &slot[at];
    }
    return NULL;
}

struct prof__slot *prof__slot_mine_if_any(void)
{
    return key_ready() ? pthread_getspecific(key) : NULL;
}

struct prof__slot *prof__slot_mine(void)
{
    struct prof__slot *s = prof__slot_mine_if_any();
    struct prof__thread *t = &prof__self;

    if (s || !key_ready() || !(s = claim()))
        return s;
    /* For a key beyond the first few, libc allocates: that is ours, not the program's. */
    bool entered = prof__enter(t);
    int r = pthread_setspecific(key, s);
    if (entered)
        prof__leave(t);
    if (r != 0) {
        leave(s);
        return NULL;
    }
    return s;
}

const struct prof__slot *prof__slot_of(pid_t tid)
{
    uint32_t n = atomic_load_explicit(&highest, memory_order_relaxed);

    for (uint32_t i = 0; i < n; i++)
        if (atomic_load_explicit(&slot[i].tid, memory_order_relaxed) == (uint32_t)tid)
            return &slot[i];
    return NULL;
}

bool prof__slots_any_helper(void)
{
    uint32_t n = atomic_load_explicit(&highest, memory_order_relaxed);

    for (uint32_t i = 0; i < n; i++)
        if (atomic_load(&slot[i].helper))
            return true;
    return false;
}

void prof__slots_fork_child(void)
{
    uint32_t n = atomic_load_explicit(&highest, memory_order_relaxed);
    struct prof__slot *mine = prof__slot_mine_if_any();

    for (uint32_t i = 0; i < n; i++) {
        struct prof__slot *s = &slot[i];

        if (s == mine) {
            atomic_store_explicit(&s->tid, (uint32_t)prof__gettid(), memory_order_relaxed);
        } else {
            atomic_store_explicit(&s->labels, 0, memory_order_relaxed);
            atomic_store_explicit(&s->hidden, false, memory_order_relaxed);
            atomic_store_explicit(&s->helper, false, memory_order_relaxed);
            s->at_exit = NULL;
            atomic_store_explicit(&s->function, 0, memory_order_relaxed);
            s->depth = s->skipped = 0;
            atomic_store_explicit(&s->tid, 0, memory_order_relaxed);
        }
    }
}
