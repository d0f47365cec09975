/*
 * textout.c - buffered text that cannot break the line, the terminal or the parser.
 *
 * Names come from the program being profiled. A newline in one would start a row of its own, an
 * escape sequence would be obeyed by the terminal that shows it, and pprof's parser gives up on
 * lines of 64 KiB; hence the cleaning and the bound.
 */
#include "encode/textout.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

int prof__textout_flush(struct prof__textout *o)
{
    if (!o->error && o->used) {
        int r = o->sink(o->arg, o->buf, o->used);

        o->error = r < 0 ? r : 0;
    }
    o->used = 0;
    return o->error;
}

enum { PIECE_MAX = 512 };

static void put(struct prof__textout *o, const char *s, size_t size)
{
    if (size > sizeof(o->buf) - o->used)
        prof__textout_flush(o);
    memcpy(o->buf + o->used, s, size); /* size <= PIECE_MAX, which fits */
    o->used += size;
}

void prof__textout_printf(struct prof__textout *o, const char *format, ...)
{
    char line[PIECE_MAX];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (n > 0)
        put(o, line, PROF_MIN((size_t)n, sizeof(line) - 1));
}

void prof__textout_word(struct prof__textout *o, const char *s)
{
    put(o, s, strlen(s));
}

/* Inline, so that the division is by a constant. */
static inline void put_number(struct prof__textout *o, const char *prefix, uint64_t v,
                              unsigned base)
{
    char digits[20], *p = digits + sizeof(digits); /* of 2^64 - 1 in base 10 */

    do {
        *--p = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    put(o, prefix, strlen(prefix));
    put(o, p, (size_t)(digits + sizeof(digits) - p));
}

void prof__textout_hex(struct prof__textout *o, const char *prefix, uint64_t v)
{
    put_number(o, prefix, v, 16);
}

void prof__textout_decimal(struct prof__textout *o, const char *prefix, uint64_t v)
{
    put_number(o, prefix, v, 10);
}

/* U+0080 to U+009F are control characters too. */
static bool is_control(const char *s, size_t n)
{
    unsigned char first = (unsigned char)s[0];

    return n == 1 ? first < 0x20 || first == 0x7f
                  : n == 2 && first == 0xc2 && (unsigned char)s[1] < 0xa0;
}

/* How many of the first bytes can be copied as they are, at once. */
static size_t plain_prefix(const char *s, const char *end, const char *escaped)
{
    const char *p = s;

    if (end - s > PIECE_MAX)
        end = s + PIECE_MAX;
    while (p < end && *p >= 0x20 && *p < 0x7f && *p != escaped[0] && *p != escaped[1])
        p++;
    return (size_t)(p - s);
}

/* `escaped`: two characters to put a backslash before, or two NULs. */
static void put_clean(struct prof__textout *o, const char *s, size_t size, size_t max,
                      const char *escaped)
{
    const char *end = s + PROF_MIN(size, max);

    while (s < end) {
        size_t plain = plain_prefix(s, end, escaped);
        size_t n = prof__utf8_next(s);

        if (plain > 0) {
            n = plain;
            put(o, s, n);
        } else if (s + n > end) {
            break; /* half a character */
        } else if (n == 0) {
            put(o, "\xef\xbf\xbd", 3); /* U+FFFD */
        } else if (is_control(s, n)) {
            put(o, "?", 1);
        } else {
            if (n == 1) /* else it would be plain */
                put(o, "\\", 1);
            put(o, s, n);
        }
        s += n ? n : 1;
    }
    if (size > max)
        put(o, "...", 3);
}

void prof__textout_string_n(struct prof__textout *o, const char *s, size_t size, size_t max)
{
    put_clean(o, s, size, max, "\0");
}

void prof__textout_string(struct prof__textout *o, const char *s, size_t max)
{
    put_clean(o, s, strlen(s), max, "\0");
}

void prof__textout_quoted(struct prof__textout *o, const char *s, size_t max)
{
    put(o, "\"", 1);
    put_clean(o, s, strlen(s), max, "\"\\");
    put(o, "\"", 1);
}

/* --- the table ------------------------------------------------------------------------------- */

const char *prof__human(char buf[PROF__HUMAN_SIZE], int64_t value, const char *unit)
{
    static const struct {
        const char *unit, *shown;
        double size;
    } scale[] = {
        { "bytes", "TiB", 0x1p40 },  { "bytes", "GiB", 0x1p30 },   { "bytes", "MiB", 0x1p20 },
        { "bytes", "KiB", 0x1p10 },  { "bytes", "B", 1 },          { "nanoseconds", "h", 3600e9 },
        { "nanoseconds", "s", 1e9 }, { "nanoseconds", "ms", 1e6 }, { "nanoseconds", "us", 1e3 },
        { "nanoseconds", "ns", 1 },
    };
    double magnitude = value < 0 ? -(double)value : (double)value;

    for (size_t i = 0; i < ARRAY_LEN(scale); i++) {
        if (strcmp(scale[i].unit, unit) != 0 || (magnitude < scale[i].size && scale[i].size > 1))
            continue;
        if (scale[i].size == 1)
            snprintf(buf, PROF__HUMAN_SIZE, "%lld%s", (long long)value, scale[i].shown);
        else
            snprintf(buf, PROF__HUMAN_SIZE, "%.2f%s", (double)value / scale[i].size,
                     scale[i].shown);
        return buf;
    }
    snprintf(buf, PROF__HUMAN_SIZE, "%lld", (long long)value);
    return buf;
}
