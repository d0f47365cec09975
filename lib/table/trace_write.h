/*
 * trace_write.h - how a record is written: inline, for those to whom each instruction counts.
 *
 * What the rings are is told in trace_ring.h, which is for everybody else.
 */
#ifndef PROF_TABLE_TRACE_WRITE_H
#define PROF_TABLE_TRACE_WRITE_H

#include "arch/own.h"
#include "base/compiler.h"
#include "table/trace_ring.h"

/* A record as it lies in a ring. */
struct prof__trace_slot {
    _Atomic uint64_t time, object, value;
    _Atomic uint32_t stack;
    _Atomic uint32_t what; /* kind, detail, and the lower bits of its number; 0: not whole */
};
static_assert(sizeof(struct prof__trace_slot) == PROF__TRACE_RECORD_BYTES, "two in a cache line");

enum { PROF__TRACE_NUMBER_SHIFT = PROF__TRACE_KIND_BITS + PROF__TRACE_DETAIL_BITS };
static_assert(PROF__TRACE_RING_RECORDS < 1 << (32 - PROF__TRACE_NUMBER_SHIFT),
              "a stale number is seen");
static_assert(PROF__TRACE_KINDS <= 1 << PROF__TRACE_KIND_BITS, "kinds fit");

struct prof__trace_ring {
    _Atomic uint64_t written; /* records, ever */
    /* Set by the first owner, and never changed. */
    struct prof__trace_slot *slot;
    uint32_t mask;
    _Atomic uint32_t tid; /* of its owner; 0: it has had none */
    _Atomic uint64_t now_since, now_what;
    uintptr_t now_frame; /* read by its own thread only */
} __attribute__((aligned(64)));

enum { PROF__TRACE_RINGS = 64 + 64 + 256 + 2048 };
extern PROF_HIDDEN struct prof__trace_ring prof__trace_ring[PROF__TRACE_RINGS];

/* The number of the thread's ring, plus 1. Above PROF__TRACE_RINGS: there was none to be had. */
extern PROF_HIDDEN _Thread_local uint32_t prof__trace_mine
    __attribute__((tls_model("initial-exec")));

/* The calling thread's ring; NULL: it has none yet. */
static inline struct prof__trace_ring *prof__trace_my_ring(void)
{
    uint32_t number = prof__trace_mine - 1;

    return PROF_LIKELY(number < PROF__TRACE_RINGS) ? &prof__trace_ring[number] : NULL;
}

/* Have one. NULL: there is none to be had, and what was to be written, n records, is counted as
 * lost. errno is kept. Context: signal. */
PROF_COLD struct prof__trace_ring *prof__trace_claim(uint64_t n);

/* Take room for n records; they are to be put there. A handler that comes between takes the next.
 */
static inline uint64_t prof__trace_take(struct prof__trace_ring *r, uint64_t n)
{
    return prof__own_add(&r->written, n);
}

static inline __attribute__((always_inline)) void prof__trace_put(struct prof__trace_ring *r,
                                                                  uint64_t number, uint32_t what,
                                                                  uint64_t time, uint64_t object,
                                                                  uint64_t value, uint32_t stack)
{
    struct prof__trace_slot *to = &r->slot[number & r->mask];

    atomic_store_explicit(&to->what, 0, memory_order_relaxed);
    /* Release: who sees what follows sees that the old record is no more. */
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&to->time, time, memory_order_relaxed);
    atomic_store_explicit(&to->object, object, memory_order_relaxed);
    atomic_store_explicit(&to->value, value, memory_order_relaxed);
    atomic_store_explicit(&to->stack, stack, memory_order_relaxed);
    /* Release: whoever finds the number finds the rest. */
    atomic_store_explicit(&to->what, what | (uint32_t)number << PROF__TRACE_NUMBER_SHIFT,
                          memory_order_release);
}

#endif
