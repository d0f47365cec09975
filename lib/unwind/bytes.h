/*
 * bytes.h - taking numbers, one after the other, from what a reader reads.
 *
 * These look into the reader's memory, so of one reader only one is in use at a time: what is taken
 * of another makes the first one stale, and it begins anew (prof__bytes).
 */
#ifndef PROF_UNWIND_BYTES_H
#define PROF_UNWIND_BYTES_H

#include "unwind/reader.h"

struct prof__bytes {
    const uint8_t *p, *stop; /* in memory that is near */
    uintptr_t end;           /* the address where they end */
    struct prof__reader *reader;
    bool bad; /* something was not there, and taken for 0 */
};

/* Those from `at` to `end`. */
static inline struct prof__bytes prof__bytes(struct prof__reader *r, uintptr_t at, uintptr_t end)
{
    const uint8_t *p = (const uint8_t *)(at + r->shift);

    if (PROF_UNLIKELY(at < r->near || end > r->near_end || end < at))
        return (struct prof__bytes) { p, p, end, r, false };
    return (struct prof__bytes) { p, (const uint8_t *)(end + r->shift), end, r, false };
}

/* The address of the next one. */
static inline uintptr_t prof__bytes_at(const struct prof__bytes *b)
{
    return (uintptr_t)b->p - b->reader->shift;
}

/* Make more of them near. */
PROF_COLD bool prof__bytes_more(struct prof__bytes *b);

PROF_NO_SANITIZE static inline __attribute__((always_inline)) uint8_t
prof__take_byte(struct prof__bytes *b)
{
    if (PROF_UNLIKELY(b->p == b->stop) && !prof__bytes_more(b))
        return 0;
    return *b->p++;
}

static inline bool prof__bytes_left(struct prof__bytes *b)
{
    return b->p != b->stop || prof__bytes_at(b) < b->end;
}

uint64_t prof__take(struct prof__bytes *b, unsigned n); /* of n <= 8 bytes */

PROF_NO_SANITIZE static inline uint32_t prof__take_u32(struct prof__bytes *b)
{
    typedef uint32_t u32 __attribute__((may_alias, aligned(1)));

    if (PROF_UNLIKELY(b->stop - b->p < 4))
        return (uint32_t)prof__take(b, 4);
    b->p += 4;
    return *(const u32 *)(b->p - 4);
}

void prof__skip(struct prof__bytes *b, uint64_t n);
uint64_t prof__take_long_uleb(struct prof__bytes *b);
uint64_t prof__take_sleb(struct prof__bytes *b); /* a signed one; all 64 bits count */

static inline __attribute__((always_inline)) uint64_t prof__take_uleb(struct prof__bytes *b)
{
    /* Nearly all are one byte. */
    return PROF_LIKELY(b->p != b->stop && *b->p < 0x80) ? *b->p++ : prof__take_long_uleb(b);
}

/* A pointer in one of DWARF's encodings for exception frames (DW_EH_PE_...). */
uint64_t prof__take_pointer(struct prof__bytes *b, uint8_t encoding);

#endif
