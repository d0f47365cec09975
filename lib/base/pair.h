/*
 * pair.h - two words that change as one.
 *
 * For a state that does not fit into 64 bits and must not be guarded by a lock. Where the compiler
 * would call libatomic, the instruction is spelled out.
 */
#ifndef PROF_BASE_PAIR_H
#define PROF_BASE_PAIR_H

#include "base/compiler.h"

struct prof__pair {
    _Alignas(16) _Atomic uint64_t low;
    _Atomic uint64_t high;
};

struct prof__pair_value {
    uint64_t low, high;
};

/* Each half as it was at some moment, not both at the same one: good for a value that
 * prof__pair_change() is then asked to replace. Context: signal. */
static inline struct prof__pair_value prof__pair_peek(const struct prof__pair *p)
{
    struct prof__pair_value v;

    v.low = atomic_load_explicit(&p->low, memory_order_acquire);
    v.high = atomic_load_explicit(&p->high, memory_order_acquire);
    return v;
}

/* Replace `from` by `to` if both halves still are as in `from`. A full barrier. Context: signal. */
static inline bool prof__pair_change(struct prof__pair *p, struct prof__pair_value from,
                                     struct prof__pair_value to)
{
#ifdef __x86_64__
    bool changed;

    __asm__ volatile("lock cmpxchg16b %[p]"
                     : [p] "+m"(*p), "+a"(from.low), "+d"(from.high), "=@ccz"(changed)
                     : "b"(to.low), "c"(to.high)
                     : "memory");
    return changed;
#else
    unsigned __int128 was = (unsigned __int128)from.high << 64 | from.low;

    return __atomic_compare_exchange_n((unsigned __int128 *)p, &was,
                                       (unsigned __int128)to.high << 64 | to.low, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
#endif
}

#endif
