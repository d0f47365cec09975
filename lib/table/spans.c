/*
 * spans.c - stacks of open regions, by number of the thread's ring, and a table of open tasks.
 *
 * A thread writes to its own stack only, and so do handlers that interrupt it: a place is taken
 * before it is filled, so one that comes between takes the next. A place without a time is none.
 * Whose a stack is, and of which era, is one word; where that is another's, the stack is empty.
 *
 * The longest that is over is one word, too: its length in units of 256 ticks, whether it was a
 * task, and its name. Most ends find that it is longer than they are, and only read it.
 *
 * A task that ends twice, or never began, is not known of. One that never ends is under way.
 */
#include "table/spans.h"

#include <errno.h>

#include "arch/own.h"
#include "base/arena.h"
#include "base/fork.h"
#include "base/hash.h"
#include "table/trace_clock.h"
#include "table/trace_names.h"
#include "table/trace_write.h"

struct place {
    _Atomic uint64_t time; /* when it began; 0: it has not */
    _Atomic uint64_t name;
};

struct stack {
    _Atomic uint64_t owner; /* thread and era */
    _Atomic uint64_t depth; /* may be more than there are places */
    struct place place[PROF__SPANS_DEPTH];
};
static_assert(sizeof(struct stack) == 256, "found by a shift");

enum { TASKS = 1024, WINDOW = 16 };
struct task {
    _Atomic uint64_t key; /* 0: free */
    struct place place;
};

static _Atomic(struct stack *) stacks; /* one for each ring; never given back */
static struct task tasks[TASKS];
static _Atomic uint64_t era; /* in units of ERA, above a thread's number */
#define ERA ((uint64_t)1 << 32)
static struct prof__trace_moment begin; /* of the era; written before anybody traces */

/* Length, NAME_BITS of name, the last of which is for tasks. */
enum { NAME_BITS = 25, TASK = 1 << (NAME_BITS - 1), UNIT_SHIFT = 8 };
static _Atomic uint64_t longest;

int prof__spans_begin(void)
{
    struct stack *none = NULL, *p;
    size_t size = prof__trace_rings() * sizeof(*p);

    if (!atomic_load_explicit(&stacks, memory_order_acquire)) {
        if (!(p = prof__pages_map(size)))
            return -ENOMEM;
        if (!atomic_compare_exchange_strong(&stacks, &none, p))
            prof__pages_unmap(p, size);
    }
    for (size_t i = 0; i < TASKS; i++) {
        atomic_store_explicit(&tasks[i].place.time, 0, memory_order_relaxed);
        atomic_store_explicit(&tasks[i].key, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&longest, 0, memory_order_relaxed);
    prof__trace_moment(&begin);
    /* Release: the clean table; a stack of an earlier era counts for nothing. */
    atomic_fetch_add_explicit(&era, ERA, memory_order_release);
    return 0;
}

static PROF_APART void note_longest(uint64_t ticks, uint32_t name)
{
    uint64_t units = PROF_MIN(ticks >> UNIT_SHIFT, UINT64_MAX >> NAME_BITS);
    uint64_t mine = units << NAME_BITS | name;
    uint64_t seen = atomic_load_explicit(&longest, memory_order_relaxed);

    while ((int64_t)ticks > 0 && mine > seen)
        if (atomic_compare_exchange_weak_explicit(&longest, &seen, mine, memory_order_relaxed,
                                                  memory_order_relaxed))
            break;
}

/* It took so long. */
static inline void ended(uint64_t ticks, uint32_t name)
{
    uint64_t seen = atomic_load_explicit(&longest, memory_order_relaxed);

    if (PROF_UNLIKELY(ticks >> UNIT_SHIFT > seen >> NAME_BITS))
        note_longest(ticks, name);
}

/* --- regions ---------------------------------------------------------------------------------- */

static inline uint64_t owner_now(uint32_t tid)
{
    return atomic_load_explicit(&era, memory_order_relaxed) | tid;
}

/* The thread that is told of has no other's regions. */
static PROF_COLD void move_in(struct stack *s, uint64_t owner)
{
    for (size_t i = 0; i < PROF__SPANS_DEPTH; i++)
        atomic_store_explicit(&s->place[i].time, 0, memory_order_relaxed);
    atomic_store_explicit(&s->depth, 0, memory_order_relaxed);
    /* Release: who sees the owner sees nothing of the last one's. */
    atomic_store_explicit(&s->owner, owner, memory_order_release);
}

/* Write a record of it, and find the stack. */
static inline __attribute__((always_inline)) struct stack *
tell(struct prof__trace_ring *r, enum prof__trace_kind kind, uint32_t name, uint64_t time)
{
    prof__trace_put(r, prof__trace_take(r, 1), prof__trace_what(kind, 0), time, name, 0, 0);

    /* Relaxed: they are there before anybody traces, and prof__tracing() acquires that. */
    struct stack *s = atomic_load_explicit(&stacks, memory_order_relaxed) + (r - prof__trace_ring);
    uint64_t owner = owner_now(atomic_load_explicit(&r->tid, memory_order_relaxed));

    if (PROF_UNLIKELY(atomic_load_explicit(&s->owner, memory_order_relaxed) != owner))
        move_in(s, owner);
    return s;
}

static PROF_COLD void begin_first(uint32_t name, uint64_t time)
{
    if (prof__trace_claim(1))
        prof__span_region_begin(name, time);
}

void prof__span_region_begin(uint32_t name, uint64_t time)
{
    struct prof__trace_ring *r = prof__trace_my_ring();

    if (PROF_UNLIKELY(!r)) {
        begin_first(name, time);
        return;
    }
    struct stack *s = tell(r, PROF__TRACE_REGION_BEGIN, name, time);
    uint64_t at = prof__own_add(&s->depth, 1);
    if (PROF_UNLIKELY(at >= PROF__SPANS_DEPTH))
        return;
    atomic_store_explicit(&s->place[at].name, name, memory_order_relaxed);
    /* Release: whoever finds the time finds the name. */
    atomic_store_explicit(&s->place[at].time, time, memory_order_release);
}

/* One that is not the innermost: it ends those within it, too. */
static PROF_APART void end_outer(struct stack *s, uint64_t depth, uint32_t name, uint64_t time)
{
    uint64_t at = depth;

    if (depth > PROF__SPANS_DEPTH) { /* an inner one, which has no place */
        atomic_store_explicit(&s->depth, depth - 1, memory_order_relaxed);
        return;
    }
    while (at > 0 && atomic_load_explicit(&s->place[at - 1].name, memory_order_relaxed) != name)
        at--;
    if (at == 0)
        return;
    ended(time - atomic_load_explicit(&s->place[at - 1].time, memory_order_relaxed), name);
    while (depth >= at)
        atomic_store_explicit(&s->place[--depth].time, 0, memory_order_relaxed);
    atomic_store_explicit(&s->depth, depth, memory_order_relaxed);
}

static PROF_COLD void end_first(uint32_t name, uint64_t time)
{
    if (prof__trace_claim(1))
        prof__span_region_end(name, time);
}

void prof__span_region_end(uint32_t name, uint64_t time)
{
    struct prof__trace_ring *r = prof__trace_my_ring();

    if (PROF_UNLIKELY(!r)) {
        end_first(name, time);
        return;
    }
    struct stack *s = tell(r, PROF__TRACE_REGION_END, name, time);
    uint64_t at = atomic_load_explicit(&s->depth, memory_order_relaxed) - 1;
    if (PROF_UNLIKELY(at >= PROF__SPANS_DEPTH ||
                      atomic_load_explicit(&s->place[at].name, memory_order_relaxed) != name)) {
        end_outer(s, at + 1, name, time);
        return;
    }
    uint64_t since = atomic_load_explicit(&s->place[at].time, memory_order_relaxed);
    atomic_store_explicit(&s->place[at].time, 0, memory_order_relaxed);
    atomic_store_explicit(&s->depth, at, memory_order_relaxed);
    ended(time - since, name);
}

/* --- tasks ------------------------------------------------------------------------------------ */

static uint64_t key_of(uint64_t id, uint32_t name)
{
    const uintptr_t words[] = { (uintptr_t)id, name };

    return prof__hash_words(words, ARRAY_LEN(words)) | 1;
}

static struct task *find_task(uint64_t key, uint64_t wanted)
{
    for (size_t i = 0; i < WINDOW; i++) {
        struct task *t = &tasks[((key >> 1) + i) % TASKS];

        if (atomic_load_explicit(&t->key, memory_order_acquire) == wanted)
            return t;
    }
    return NULL;
}

void prof__span_task_begin(uint64_t id, uint32_t name, uint64_t time)
{
    uint64_t key = key_of(id, name), none = 0;
    struct task *t;

    while ((t = find_task(key, 0)) && !atomic_compare_exchange_strong(&t->key, &none, key))
        none = 0;
    if (!t)
        return;
    atomic_store_explicit(&t->place.name, name, memory_order_relaxed);
    atomic_store_explicit(&t->place.time, time, memory_order_release);
}

void prof__span_task_end(uint64_t id, uint32_t name, uint64_t time)
{
    uint64_t key = key_of(id, name);
    struct task *t = find_task(key, key);
    /* Who gets the time ends it. */
    uint64_t since = t ? atomic_exchange(&t->place.time, 0) : 0;

    if (!since)
        return;
    ended(time - since, name | TASK);
    atomic_store_explicit(&t->key, 0, memory_order_release);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Is what is at that place longer than *ret? */
static bool is_longer(const struct place *p, uint64_t now, uint64_t *ret_ticks, uint32_t *ret_name)
{
    uint64_t time = atomic_load_explicit(&p->time, memory_order_acquire);
    uint32_t name = (uint32_t)atomic_load_explicit(&p->name, memory_order_relaxed);

    atomic_thread_fence(memory_order_acquire);
    if (!time || atomic_load_explicit(&p->time, memory_order_relaxed) != time ||
        (int64_t)(time - begin.time) < 0 || (int64_t)(now - time) <= (int64_t)*ret_ticks)
        return false;
    *ret_ticks = now - time;
    *ret_name = name;
    return true;
}

/* Of a thread's regions the outermost is the longest. */
static bool look_at_stack(const struct stack *s, uint64_t now, uint64_t *ticks, uint32_t *name)
{
    uint64_t owner = atomic_load_explicit(&s->owner, memory_order_acquire);
    uint64_t found = *ticks;
    uint32_t called;

    if (owner != owner_now((uint32_t)owner) || !is_longer(&s->place[0], now, &found, &called) ||
        atomic_load_explicit(&s->owner, memory_order_relaxed) != owner ||
        prof__trace_is_gone((uint32_t)owner))
        return false;
    *ticks = found;
    *name = called;
    return true;
}

bool prof__spans_longest(struct prof__span *ret)
{
    const struct stack *all = atomic_load_explicit(&stacks, memory_order_acquire);
    struct prof__trace_moment now;

    if (!all)
        return false;
    prof__trace_moment(&now);
    uint64_t over = atomic_exchange_explicit(&longest, 0, memory_order_relaxed);
    uint64_t ticks = over >> NAME_BITS << UNIT_SHIFT;
    uint32_t name = over & ((1u << NAME_BITS) - 1);
    bool under_way = false;

    for (unsigned i = 0; i < prof__trace_rings(); i++)
        if (prof__trace_ring_written(i))
            under_way |= look_at_stack(&all[i], now.time, &ticks, &name);
    for (size_t i = 0; i < TASKS; i++)
        if (is_longer(&tasks[i].place, now.time, &ticks, &name)) {
            under_way = true;
            name |= TASK;
        }
    if (!ticks)
        return false;
    *ret = (struct prof__span) {
        .name = prof__trace_name_text(name & ~(uint32_t)TASK),
        .ns = now.ns - prof__trace_ns(&begin, &now, now.time - ticks),
        .is_task = name & TASK,
        .under_way = under_way,
    };
    return true;
}

/* What the parent's threads were at is not the child's affair. */
static void fork_child(void)
{
    atomic_store_explicit(&longest, 0, memory_order_relaxed);
    for (size_t i = 0; i < TASKS; i++)
        if (atomic_load_explicit(&tasks[i].key, memory_order_relaxed)) {
            atomic_store_explicit(&tasks[i].place.time, 0, memory_order_relaxed);
            atomic_store_explicit(&tasks[i].key, 0, memory_order_relaxed);
        }
    atomic_fetch_add_explicit(&era, ERA, memory_order_relaxed);
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, fork_child)
