/*
 * params.c - request targets, queries and numbers, read as Go's net/url and strconv read them.
 */
#include "params.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decode text[0..size) into buf, which may be text itself, and end it with a NUL. Returns the
 * length; -EINVAL for a broken escape, -EILSEQ for a NUL in the result, which no name here has. */
static int decode(const char *text, size_t size, bool plus_is_space, char *buf, size_t buf_size)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++) {
        char c = text[i];

        if (c == '%') {
            int high = i + 1 < size ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < size ? hex_digit(text[i + 2]) : -1;

            if (high < 0 || low < 0)
                return -EINVAL;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0')
            return -EILSEQ;
        if (n + 1 >= buf_size)
            return -E2BIG;
        buf[n++] = c;
    }
    buf[n] = '\0';
    return (int)n;
}

int prof__target_parse(char *raw, struct prof__target *ret_target)
{
    struct prof__target t = { .query = "" };
    char *question = strchr(raw, '?');

    if (question) {
        *question = '\0';
        t.query = question + 1;
    }
    if (strncasecmp(raw, "http://", 7) ==
        0) { /* as a proxy is asked; every server must accept it */
        char *slash = strchr(raw + 7, '/');

        /* Move the host down by one to make room for its NUL. */
        size_t host_size = slash ? (size_t)(slash - raw) - 7 : strlen(raw + 7);
        memmove(raw + 6, raw + 7, host_size);
        raw[6 + host_size] = '\0';
        t.host = raw + 6;
        if (!slash) {
            t.path = "/";
            *ret_target = t;
            return 0;
        }
        raw = slash;
    }
    int r = decode(raw, strlen(raw), false, raw, strlen(raw) + 1);
    if (r < 0)
        return -EINVAL;
    t.path = raw;
    *ret_target = t;
    return 0;
}

int prof__param_text(const char *query, const char *name, char *buf, size_t size)
{
    while (*query) {
        size_t pair = strcspn(query, "&");
        const char *equals = memchr(query, '=', pair);
        size_t key_size = equals ? (size_t)(equals - query) : pair;
        char key[32];

        if (!memchr(query, ';', pair) && decode(query, key_size, true, key, sizeof(key)) >= 0 &&
            strcmp(key, name) == 0) {
            int r = equals ? decode(equals + 1, pair - key_size - 1, true, buf, size)
                           : decode("", 0, true, buf, size);
            if (r != -EINVAL)
                return r;
        }
        query += pair;
        if (*query == '&')
            query++;
    }
    return -ENOENT;
}

int prof__parse_int(const char *text, int64_t *ret_value)
{
    bool negative = *text == '-';
    uint64_t value = 0, limit = (uint64_t)INT64_MAX + negative;
    bool overflow = false;

    if (*text == '+' || *text == '-')
        text++;
    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        unsigned digit = (unsigned)(*text - '0');
        if (value > (limit - digit) / 10)
            overflow = true;
        else
            value = value * 10 + digit;
    }
    if (overflow)
        value = limit;
    *ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return overflow ? -ERANGE : 0;
}

int prof__param_int(const char *query, const char *name, int64_t *ret_value)
{
    char text[64];
    int r = prof__param_text(query, name, text, sizeof(text));

    if (r == 0)
        return -ENOENT;
    if (r < 0)
        return r == -ENOENT ? r : -EINVAL;
    return prof__parse_int(text, ret_value);
}

int prof__param_duration(const char *query, const char *name, int64_t *ret_s)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    char text[32];
    int64_t value, by = 1;
    int n = prof__param_text(query, name, text, sizeof(text));

    if (n <= 0)
        return n == 0 || n == -ENOENT ? -ENOENT : -EINVAL;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (text[n - 1] == units[i].unit) {
            by = units[i].seconds;
            text[n - 1] = '\0';
            break;
        }
    if (prof__parse_int(text, &value) < 0 || value < 0 || value > INT32_MAX / by)
        return -EINVAL;
    *ret_s = value * by;
    return 0;
}

int prof__parse_address(const char *text, size_t size, uint64_t *ret_address)
{
    unsigned base = 10;
    uint64_t value = 0;

    if (size >= 2 && text[0] == '0') {
        char mark = text[1] | 0x20; /* lower case */

        base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
        size_t skip = mark == 'x' || mark == 'b' || mark == 'o' ? 2 : 1;
        text += skip;
        size -= skip;
    }
    if (size == 0)
        return -EINVAL;
    for (size_t i = 0; i < size; i++) {
        int digit = hex_digit(text[i]);

        if (digit < 0 || (unsigned)digit >= base)
            return -EINVAL;
        if (value > (UINT64_MAX - (unsigned)digit) / base)
            return -EINVAL;
        value = value * base + (unsigned)digit;
    }
    *ret_address = value;
    return 0;
}
