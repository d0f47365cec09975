/*
 * pattern.c - paths with %p, %n and %% in them. No stdio, no malloc.
 */
#include "base/pattern.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Decimal digits of `n` at the end of `digits`. */
static const char *decimal(long n, char digits[24])
{
    char *at = digits + 23;

    *at = '\0';
    do
        *--at = (char)('0' + n % 10);
    while (n /= 10);
    return at;
}

int prof__pattern_expand(const char *pattern, char *buf, size_t size)
{
    char digits[24];
    size_t used = 0;

    for (const char *c = pattern; *c; c++) {
        char one[2] = { *c, '\0' };
        const char *piece = one;

        if (*c == '%') {
            c++;
            if (*c == 'p')
                piece = decimal(getpid(), digits);
            else if (*c == 'n')
                piece = program_invocation_short_name;
            else if (*c != '%')
                return -EINVAL;
        }
        size_t length = strlen(piece);
        if (used + length >= size)
            return -ENAMETOOLONG;
        memcpy(buf + used, piece, length);
        used += length;
    }
    if (used >= size)
        return -ENAMETOOLONG;
    buf[used] = '\0';
    return 0;
}

bool prof__pattern_has_pid(const char *pattern)
{
    for (const char *c = strchr(pattern, '%'); c && c[1]; c = strchr(c + 2, '%'))
        if (c[1] == 'p')
            return true;
    return false;
}
