/*
 * pair.h - two words that change as one.
 *
 * For a state that does not fit into 64 bits and must not be guarded by a lock. Where the compiler
 * would call libatomic, the instruction is spelled out.
 */
#ifndef PROF_ARCH_PAIR_H
#define PROF_ARCH_PAIR_H

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
#if defined(__x86_64__)
    bool changed;

    __asm__ volatile("lock cmpxchg16b %[p]"
                     : [p] "+m"(*p), "+a"(from.low), "+d"(from.high), "=@ccz"(changed)
                     : "b"(to.low), "c"(to.high)
                     : "memory");
    return changed;
#elif defined(__aarch64__)
    uint64_t low, high, store_low, store_high;
    uint32_t failed;

    /* Not casp, which not all have. Only a store that succeeds tells that both halves were loaded
     * at one moment, so what is no match is stored again. */
    __asm__ volatile(
        "0: ldaxp %[low], %[high], %[p]\n\t"
        "cmp %[low], %[from_low]\n\t"
        "ccmp %[high], %[from_high], #0, eq\n\t"
        "csel %[store_low], %[to_low], %[low], eq\n\t"
        "csel %[store_high], %[to_high], %[high], eq\n\t"
        "stlxp %w[failed], %[store_low], %[store_high], %[p]\n\t"
        "cbnz %w[failed], 0b\n\t"
        "dmb ish"
        : [p] "+Q"(*p), [low] "=&r"(low), [high] "=&r"(high), [store_low] "=&r"(store_low),
          [store_high] "=&r"(store_high), [failed] "=&r"(failed)
        : [from_low] "r"(from.low), [from_high] "r"(from.high), [to_low] "r"(to.low),
          [to_high] "r"(to.high)
        : "memory", "cc");
    return low == from.low && high == from.high;
#else
    unsigned __int128 was = (unsigned __int128)from.high << 64 | from.low;

    return __atomic_compare_exchange_n((unsigned __int128 *)p, &was,
                                       (unsigned __int128)to.high << 64 | to.low, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
#endif
}

#endif
