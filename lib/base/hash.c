/*
 * hash.c - the key, and hashes of many words.
 *
 * Threads that meet here for the first time all make the same key, so none has to wait. Where the
 * kernel has given no random bytes, the addresses that it has chosen for us stand in.
 */
#include "base/hash.h"

#include <string.h>
#include <sys/auxv.h>

#include "base/random.h"

struct prof__hash_key prof__hash_key;

uint64_t prof__hash_make_key(void)
{
    const void *random = (const void *)getauxval(AT_RANDOM); /* 16 bytes, at no boundary */
    uint64_t seed[2] = { (uintptr_t)&prof__hash_key, getauxval(AT_SYSINFO_EHDR) };

    if (random)
        memcpy(seed, random, sizeof(seed));
    /* Mixed, since libc guards its stacks and pointers with the same bytes. */
    uint64_t start = prof__mix64(seed[0] + prof__mix64(seed[1] + 1));
    uint64_t factor = prof__mix64(start ^ prof__mix64(seed[1] ^ seed[0] << 1));

    factor |= (uint64_t)1 << 63 | 1; /* every bit of a word moves the whole product */
    atomic_store_explicit(&prof__hash_key.start, start, memory_order_relaxed);
    /* Release: pairs with prof__hash_factor(). */
    atomic_store_explicit(&prof__hash_key.factor, factor, memory_order_release);
    return factor;
}

uint64_t prof__hash_words(const uintptr_t *words, size_t n)
{
    uint64_t factor = prof__hash_factor(), hash = prof__hash_fold(prof__hash_start() ^ n, factor);
    size_t i = 0;

    /* Two at a time: each is combined with something secret, so one product will do. */
    for (; i + 1 < n; i += 2)
        hash = prof__hash_fold(hash ^ words[i], factor ^ words[i + 1]);
    if (i < n)
        hash = prof__hash_fold(hash ^ words[i], factor);
    return prof__hash_end(prof__hash_fold(hash, factor));
}

uint64_t prof__hash_bytes(const void *bytes, size_t size)
{
    uint64_t factor = prof__hash_factor(),
             hash = prof__hash_fold(prof__hash_start() ^ size, factor);
    const char *at = bytes;
    uint64_t word;

    for (; size >= sizeof(word); at += sizeof(word), size -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        hash = prof__hash_fold(hash ^ word, factor);
    }
    word = 0;
    memcpy(&word, at, size);
    return prof__hash_end(prof__hash_fold(hash ^ word, factor));
}
