/*
 * dwarf_cursor.h - numbers out of a stretch of DWARF. Reading past its end gives zeros and is
 * remembered, so that a caller checks once, not at each number.
 */
#ifndef PROF_SYMBOL_DWARF_CURSOR_H
#define PROF_SYMBOL_DWARF_CURSOR_H

#include <string.h>

#include "base/compiler.h"

struct prof__cursor {
    const uint8_t *at, *end;
    bool bad; /* something was asked for that is not there */
};

static inline size_t prof__read_left(const struct prof__cursor *r)
{
    return (size_t)(r->end - r->at);
}

static inline void prof__read_fail(struct prof__cursor *r)
{
    r->at = r->end;
    r->bad = true;
}

static inline void prof__read_skip(struct prof__cursor *r, uint64_t n)
{
    if (PROF_UNLIKELY(n > prof__read_left(r)))
        prof__read_fail(r);
    else
        r->at += n;
}

/* Little-endian, n <= 8 bytes. */
static inline uint64_t prof__read_fixed(struct prof__cursor *r, size_t n)
{
    uint64_t v = 0;

    if (PROF_UNLIKELY(n > prof__read_left(r))) {
        prof__read_fail(r);
        return 0;
    }
    memcpy(&v, r->at, n);
    r->at += n;
    return v;
}

static inline uint64_t prof__read_uleb(struct prof__cursor *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;

        if (shift < 64)
            v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

static inline int64_t prof__read_sleb(struct prof__cursor *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; r->at < r->end;) {
        uint8_t byte = *r->at++;

        if (shift < 64)
            v |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
        if (!(byte & 0x80))
            return (int64_t)(shift < 64 && byte & 0x40 ? v | ~(uint64_t)0 << shift : v);
    }
    r->bad = true;
    return 0;
}

/* A NUL-terminated string in place; "" when it does not end. */
static inline const char *prof__read_string(struct prof__cursor *r)
{
    const char *text = (const char *)r->at;
    const void *nul = memchr(text, 0, prof__read_left(r));

    if (!nul) {
        prof__read_fail(r);
        return "";
    }
    r->at = (const uint8_t *)nul + 1;
    return text;
}

/* The initial length of a unit; its offsets then have *ret_offset_size bytes. */
static inline uint64_t prof__read_length(struct prof__cursor *r, uint8_t *ret_offset_size)
{
    uint64_t length = prof__read_fixed(r, 4);

    *ret_offset_size = length == 0xffffffff ? 8 : 4;
    if (length == 0xffffffff)
        return prof__read_fixed(r, 8);
    if (length >= 0xfffffff0)
        prof__read_fail(r); /* reserved */
    return length;
}

#endif
