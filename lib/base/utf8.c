/*
 * utf8.c - table 3-7 of the Unicode standard as a few comparisons.
 *
 * The second byte alone decides on overlong forms and surrogates; all others are 80..BF. Nearly
 * every string is ASCII, so that is tested first, eight bytes at a time where they are known to
 * be there.
 */
#include "base/utf8.h"

#include <string.h>

size_t prof__utf8_next(const char *string)
{
    const unsigned char *s = (const unsigned char *)string;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    size_t n;

    if (s[0] < 0x80)
        return s[0] != 0;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        n = 2;
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        n = 3;
        if (s[0] == 0xe0)
            low = 0xa0;
        else if (s[0] == 0xed)
            high = 0x9f;
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        n = 4;
        if (s[0] == 0xf0)
            low = 0x90;
        else if (s[0] == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) { /* a NUL ends it, being below 80 */
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    }
    return n;
}

/* Up to the first wrong byte, or to the end. */
static size_t valid_prefix(const char *s, size_t size)
{
    size_t i = 0;

    while (i < size) {
        uint64_t eight;

        if (size - i >= sizeof(eight)) {
            memcpy(&eight, s + i, sizeof(eight));
            if (!(eight & 0x8080808080808080u)) {
                i += sizeof(eight);
                continue;
            }
        }
        size_t n = prof__utf8_next(s + i);
        if (n == 0)
            break;
        i += n;
    }
    return i;
}

const char *prof__utf8_clean(struct prof__arena *a, const char *s)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    size_t size = strlen(s), good = valid_prefix(s, size), bad = 0;

    if (good == size)
        return s;
    for (size_t i = good; i < size;) {
        size_t n = prof__utf8_next(s + i);

        bad += n == 0;
        i += n ? n : 1;
    }
    char *copy = prof__arena_alloc(a, size + bad * (sizeof(replacement) - 2) + 1);
    if (!copy)
        return NULL;
    char *to = copy;
    for (size_t i = 0; i < size;) {
        size_t n = prof__utf8_next(s + i);

        if (n > 0) {
            memcpy(to, s + i, n);
            to += n;
            i += n;
        } else {
            memcpy(to, replacement, sizeof(replacement) - 1);
            to += sizeof(replacement) - 1;
            i++;
        }
    }
    return copy; /* the arena's bytes are zero, so it is ended */
}
