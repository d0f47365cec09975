/*
 * hash.h - the one hash of all tables, keyed at random for each process.
 *
 * Label values, names and addresses come from strangers, who could otherwise prepare thousands that
 * meet in one place of a table. A word is combined with the state and multiplied by a secret
 * number, and the two halves of the product are folded together: which words meet depends on that
 * number. It tells nobody anything, since no hash leaves the process, and is no protection for
 * what does.
 *
 * The key is made when it is first needed, from the 16 random bytes that the kernel gives a
 * process; a child of fork() has its parent's, as it has its tables. Context of all of it: signal.
 */
#ifndef PROF_BASE_HASH_H
#define PROF_BASE_HASH_H

#include "base/compiler.h"

struct prof__hash_key {
    _Atomic uint64_t start;
    _Atomic uint64_t factor; /* 0: not made yet. Odd, and of the upper half of its range */
};
extern struct prof__hash_key prof__hash_key;

PROF_COLD uint64_t prof__hash_make_key(void); /* the factor */

static inline uint64_t prof__hash_fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Tables go by low bits, and those of a single product may hardly change in a row of addresses. */
static inline uint64_t prof__hash_end(uint64_t hash)
{
    return hash ^ hash >> 32;
}

static inline uint64_t prof__hash_factor(void)
{
    /* Acquire: `start` comes with it. */
    uint64_t factor = atomic_load_explicit(&prof__hash_key.factor, memory_order_acquire);

    return PROF_LIKELY(factor != 0) ? factor : prof__hash_make_key();
}

static inline uint64_t prof__hash_start(void) /* after the factor */
{
    return atomic_load_explicit(&prof__hash_key.start, memory_order_relaxed);
}

/* A hash of several words is begun with one and goes on with each of the others. */
static inline uint64_t prof__hash_more(uint64_t hash, uint64_t word)
{
    return prof__hash_end(prof__hash_fold(hash ^ word, prof__hash_factor()));
}

static inline uint64_t prof__hash(uint64_t word)
{
    uint64_t factor = prof__hash_factor();

    return prof__hash_end(prof__hash_fold(prof__hash_start() ^ word, factor));
}

uint64_t prof__hash_words(const uintptr_t *words, size_t n);
uint64_t prof__hash_bytes(const void *bytes, size_t size);

#endif
