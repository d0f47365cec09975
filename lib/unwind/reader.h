/*
 * reader.h - bytes of an object's code and unwind tables, which may be damaged, or go away.
 *
 * An object that this thread will return into is held by the program itself: what its program
 * headers say is mapped for reading stays, and is read as it is; what else of it lies outside is
 * asked for page by page first. Objects that a foreign word leads to are read through the kernel
 * (base/memory.h), some bytes at a time. Whoever is led around in circles runs out of moves.
 * Context: signal, or normal with PROF__READ_NORMAL.
 */
#ifndef PROF_UNWIND_READER_H
#define PROF_UNWIND_READER_H

#include "base/compiler.h"
#include "unwind/objects.h"

enum prof__reader_how {
    PROF__READ_HELD,    /* a frame of the calling thread is in the object */
    PROF__READ_FOREIGN, /* who knows */
    PROF__READ_NORMAL,  /* the same, in normal context, where /proc/self/mem can help */
};

enum { PROF__READER_MOVES = 4096, PROF__READER_BYTES = 128 };

struct prof__reader {
    const struct prof__object *object;
    enum prof__reader_how how;
    uint32_t moves_left;
    uintptr_t held, held_end;        /* of the object: stays mapped */
    uintptr_t near, near_end, shift; /* read at what is added: a part of it, or `bytes` */
    uint8_t bytes[PROF__READER_BYTES];
};

void prof__reader_start(struct prof__reader *r, const struct prof__object *o,
                        enum prof__reader_how how);

/* Make the n <= 16 bytes at `at` near. */
PROF_COLD bool prof__reader_move(struct prof__reader *r, uintptr_t at, size_t n);

/* Bytes up to `n`; how many are there. For code, of which more is asked for than must be there. */
size_t prof__read_bytes(struct prof__reader *r, uintptr_t at, uint8_t *to, size_t n);

/* A number of n = 1, 2, 4 or 8 bytes, aligned or not. */
PROF_NO_SANITIZE
static inline __attribute__((always_inline)) bool
prof__read_number(struct prof__reader *r, uintptr_t at, unsigned n, uint64_t *ret)
{
    typedef uint16_t u16 __attribute__((may_alias, aligned(1)));
    typedef uint32_t u32 __attribute__((may_alias, aligned(1)));
    typedef uint64_t u64 __attribute__((may_alias, aligned(1)));

    if (PROF_UNLIKELY(at < r->near || at + n > r->near_end || at + n < n) &&
        !prof__reader_move(r, at, n))
        return false;
    const void *p = (const void *)(at + r->shift);
    *ret = n == 1   ? *(const uint8_t *)p
           : n == 2 ? *(const u16 *)p
           : n == 4 ? *(const u32 *)p
                    : *(const u64 *)p;
    return true;
}

#endif
