/*
 * access.c - who may read the profiles; the rules are in access.h.
 */
#include "access.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "hosts.h"

#define MAX_CREDENTIALS 2048 /* decoded "user:password" */

/* Equal, in a time that depends on `given` and the length of the token alone. */
static bool equal_in_constant_time(const char *token, const char *given, size_t given_size)
{
    size_t token_size = strlen(token);
    unsigned char differ = token_size != given_size;

    for (size_t i = 0; i < given_size; i++)
        differ |= (unsigned char)(given[i] ^ token[token_size ? i % token_size : 0]);
    return differ == 0;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decode text up to its padding or its end. Returns the length, -1 for what is no base64 or does
 * not fit. */
static long base64_decode(const char *text, char *buf, size_t size)
{
    uint32_t bits = 0;
    unsigned held = 0; /* how many of the low bits are still to go out */
    size_t n = 0;

    for (; *text && *text != '=' && *text != ' '; text++) {
        int digit = base64_digit(*text);

        if (digit < 0)
            return -1;
        bits = bits << 6 | (uint32_t)digit;
        held += 6;
        if (held >= 8) {
            held -= 8;
            if (n == size)
                return -1;
            buf[n++] = (char)(bits >> held & 0xff);
        }
    }
    text += strspn(text, "= ");
    return *text ? -1 : (long)n;
}

bool prof__access_token(const char *token, const char *authorization)
{
    char credentials[MAX_CREDENTIALS];
    const char *rest;

    if (!authorization)
        return false;
    size_t scheme = strcspn(authorization, " ");
    rest = authorization + scheme;
    rest += strspn(rest, " ");
    if (scheme == 6 && strncasecmp(authorization, "bearer", scheme) == 0) {
        size_t size = strlen(rest);
        while (size && rest[size - 1] == ' ')
            size--;
        return equal_in_constant_time(token, rest, size);
    }
    if (scheme == 5 && strncasecmp(authorization, "basic", scheme) == 0) {
        long size = base64_decode(rest, credentials, sizeof(credentials));
        const char *colon = size > 0 ? memchr(credentials, ':', (size_t)size) : NULL;
        bool same = colon && equal_in_constant_time(token, colon + 1,
                                                    (size_t)(credentials + size - (colon + 1)));
        explicit_bzero(credentials, sizeof(credentials));
        return same;
    }
    return false;
}

int prof__access_check(const char *token, const char *hosts, const struct prof__caller *caller,
                       const char **ret_reason)
{
    if (caller->loopback && caller->fetch_site &&
        strcasecmp(caller->fetch_site, "cross-site") == 0) {
        *ret_reason = "refused: a browser sent this request for a page of another site";
        return -EPERM;
    }
    if (caller->control) {
        if (!caller->foreign_user)
            return 0;
        *ret_reason = "refused: only the user of this process, and root, may connect";
        return -EPERM;
    }
    if (token) {
        if (prof__access_token(token, caller->authorization))
            return 0;
        *ret_reason = "a token is needed: send it as \"Authorization: Bearer TOKEN\", or as the "
                      "password in http://user:TOKEN@host/";
        return -EACCES;
    }
    if (caller->foreign_user) {
        *ret_reason = "refused: without a token, only the user of this process may connect";
        return -EPERM;
    }
    if (!caller->unix_socket && caller->host && !prof__hosts_match(hosts, caller->host)) {
        *ret_reason = "refused: without a token, Host must be an IP address, localhost, a name of "
                      "this machine, or one that LIBPROF_HTTP_HOSTS or the option `hosts` allows";
        return -EPERM;
    }
    return 0;
}
