/*
 * wait_table.c - threads that wait, by thread id.
 *
 * Open addressing with a window of 16: a thread claims a place on its way into a wait and gives it
 * back on its way out, and touches no other thread's. A waiting thread that a signal handler makes
 * wait for something else has two, the second from a frame further down its stack. One from a frame
 * that is not further up was left by a jump out of the wait, and is taken over. Where there is no
 * room the wait is not known, and readers have to do with what the kernel tells.
 * Context: hook, signal.
 */
#include "table/wait_table.h"

#include <unistd.h>

#include "base/fork.h"
#include "base/hash.h"
#include "base/task.h"

enum { PLACES = 4096, WINDOW = 16 };
#define CLAIMED UINT32_MAX

struct place {
    _Atomic uint32_t tid;  /* 0: free */
    _Atomic uint32_t what; /* kind, and TIMED */
    _Atomic uintptr_t object;
    _Atomic int64_t since_ns;
    uintptr_t frame; /* read by its own thread only */
};
enum { TIMED = 1 << 8 };

static struct place place[PLACES];
static _Atomic bool used;
static _Thread_local uint32_t self_tid __attribute__((tls_model("initial-exec")));

static pid_t process; /* whose threads remember */

/* A child of vfork() has our thread's memory, and another id. */
static PROF_COLD uint32_t ask_tid(void)
{
    uint32_t tid = (uint32_t)prof__gettid();

    if (getpid() == process)
        self_tid = tid;
    return tid;
}

uint32_t prof__tid(void)
{
    return PROF_LIKELY(self_tid) ? self_tid : ask_tid();
}

static struct place *window_of(uint32_t tid, unsigned i)
{
    return &place[(prof__hash(tid) + i) % PLACES];
}

uint32_t prof__wait_table_add(enum prof__wait_kind kind, bool timed, const void *object,
                              int64_t since_ns)
{
    uint32_t tid = prof__tid();
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);

    if (!atomic_load_explicit(&used, memory_order_relaxed))
        atomic_store_explicit(&used, true, memory_order_relaxed);
    for (unsigned i = 0; i < WINDOW; i++) {
        struct place *p = window_of(tid, i);
        uint32_t seen = atomic_load_explicit(&p->tid, memory_order_relaxed);

        if (seen != 0 && (seen != tid || p->frame > frame))
            continue;
        /* Acquire: what we write comes after the last owner's release. */
        if (!atomic_compare_exchange_strong_explicit(&p->tid, &seen, CLAIMED, memory_order_acquire,
                                                     memory_order_relaxed))
            continue;
        /* Release: who reads any of this sees, when it looks again, that the place is claimed;
         * pairs with the fence in prof__wait_table_find(). */
        atomic_thread_fence(memory_order_release);
        p->frame = frame;
        atomic_store_explicit(&p->what, (uint32_t)kind | (timed ? TIMED : 0), memory_order_relaxed);
        atomic_store_explicit(&p->object, (uintptr_t)object, memory_order_relaxed);
        atomic_store_explicit(&p->since_ns, since_ns, memory_order_relaxed);
        /* Release: who finds the id finds the rest. */
        atomic_store_explicit(&p->tid, tid, memory_order_release);
        return (uint32_t)(p - place) + 1;
    }
    return 0;
}

void prof__wait_table_remove(uint32_t ref)
{
    /* Unless a wait of a handler's has taken it over, and given it back. */
    if (ref && atomic_load_explicit(&place[ref - 1].tid, memory_order_relaxed) == prof__tid())
        atomic_store_explicit(&place[ref - 1].tid, 0, memory_order_release);
}

bool prof__wait_table_find(uint32_t tid, struct prof__wait_entry *ret)
{
    bool found = false;

    for (unsigned i = 0; i < WINDOW; i++) {
        const struct place *p = window_of(tid, i);

        if (atomic_load_explicit(&p->tid, memory_order_acquire) != tid)
            continue;
        uint32_t what = atomic_load_explicit(&p->what, memory_order_relaxed);
        struct prof__wait_entry e = {
            .tid = tid,
            .kind = (enum prof__wait_kind)(what & (TIMED - 1)),
            .timed = what & TIMED,
            .object = atomic_load_explicit(&p->object, memory_order_relaxed),
            .since_ns = atomic_load_explicit(&p->since_ns, memory_order_relaxed),
        };
        /* The copy is one wait's if the place was not given back meanwhile: a thread cannot take
         * it again before `since_ns` has moved on, and then this is the new wait, or torn; the
         * reader asks twice before he believes anything (lockstate.c). */
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&p->tid, memory_order_relaxed) != tid ||
            atomic_load_explicit(&p->since_ns, memory_order_relaxed) != e.since_ns)
            continue;
        if (!found || e.since_ns > ret->since_ns)
            *ret = e;
        found = true;
    }
    return found;
}

__attribute__((constructor(101))) static void start(void)
{
    process = getpid();
}

static void fork_child(void)
{
    start();
    self_tid = 0;
    if (!atomic_load_explicit(&used, memory_order_relaxed))
        return;
    for (unsigned i = 0; i < PLACES; i++)
        if (atomic_load_explicit(&place[i].tid, memory_order_relaxed))
            atomic_store_explicit(&place[i].tid, 0, memory_order_relaxed);
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, fork_child)
