/*
 * demangle_rust_out.h - text of a bounded size, for both ways of mangling.
 */
#ifndef PROF_SYMBOL_DEMANGLE_RUST_OUT_H
#define PROF_SYMBOL_DEMANGLE_RUST_OUT_H

#include <string.h>

#include "base/compiler.h"

struct prof__rust_out {
    char *text;
    size_t size, room;
    bool is_quiet; /* read past it only */
    bool failed;
};

static inline void prof__rust_put_n(struct prof__rust_out *o, const char *s, size_t n)
{
    if (o->is_quiet || n == 0) /* then there may be no text */
        return;
    if (n >= o->room - o->size) {
        o->failed = true;
        return;
    }
    memcpy(o->text + o->size, s, n);
    o->size += n;
    o->text[o->size] = '\0';
}

static inline void prof__rust_put(struct prof__rust_out *o, const char *s)
{
    prof__rust_put_n(o, s, strlen(s));
}

static inline void prof__rust_put_number(struct prof__rust_out *o, uint64_t v)
{
    char digits[20], *at = digits + sizeof(digits);

    do {
        *--at = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    prof__rust_put_n(o, at, (size_t)(digits + sizeof(digits) - at));
}

static inline void prof__rust_put_code_point(struct prof__rust_out *o, uint32_t c)
{
    char s[4];
    size_t n = 0;

    if (c < 0x80) {
        s[n++] = (char)c;
    } else if (c < 0x800) {
        s[n++] = (char)(0xc0 | c >> 6);
        s[n++] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        s[n++] = (char)(0xe0 | c >> 12);
        s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        s[n++] = (char)(0x80 | (c & 0x3f));
    } else {
        s[n++] = (char)(0xf0 | c >> 18);
        s[n++] = (char)(0x80 | (c >> 12 & 0x3f));
        s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        s[n++] = (char)(0x80 | (c & 0x3f));
    }
    prof__rust_put_n(o, s, n);
}

static inline bool prof__rust_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool prof__rust_is_hex(char c)
{
    return prof__rust_is_digit(c) || (c >= 'a' && c <= 'f');
}

static inline unsigned prof__rust_hex_value(char c)
{
    return (unsigned)(prof__rust_is_digit(c) ? c - '0' : c - 'a' + 10);
}

/* What `s` stands for in Punycode. False: malformed; nothing is put out then. */
bool prof__rust_put_punycode(struct prof__rust_out *o, const char *s, size_t size);

/* The second kind, whole: demangle_rust_v0.c. False: malformed, or it does not fit. */
bool prof__rust_v0(struct prof__rust_out *o, const char *name, size_t size);

#endif
