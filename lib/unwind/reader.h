/*
 * reader.h - words of an object's code and unwind tables, which may be damaged.
 *
 * A page that is not there is refused, and whoever is led around in circles runs out of reads.
 * Context: signal.
 */
#ifndef PROF_UNWIND_READER_H
#define PROF_UNWIND_READER_H

#include "base/compiler.h"
#include "unwind/objects.h"

enum {
    PROF__READS_MAX = 1 << 17,
    PROF__READER_PAGES = 16,
};

struct prof__reader {
    const struct prof__object *object;
    bool by_kernel; /* the object may be unloaded any time */
    unsigned n_reads;
    uintptr_t near, near_size;          /* words that begin here are in the page read last */
    uintptr_t page[PROF__READER_PAGES]; /* known to be readable; a direct-mapped cache */
};

bool prof__read_far(struct prof__reader *r, uintptr_t at, uintptr_t *ret);

/* 8 bytes, aligned or not. Tables are read byte by byte, so nearly every word is near the one
 * before. */
PROF_NO_SANITIZE
static inline bool prof__read_word(struct prof__reader *r, uintptr_t at, uintptr_t *ret)
{
    typedef uintptr_t word __attribute__((may_alias, aligned(1)));

    if (r->n_reads >= PROF__READS_MAX)
        return false;
    r->n_reads++;
    if (PROF_UNLIKELY(at - r->near >= r->near_size))
        return prof__read_far(r, at, ret);
    *ret = *(const word *)at;
    return true;
}

#endif
