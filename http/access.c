/*
 * access.c - who may read the profiles; the rules are in access.h.
 */
#include "access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

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

bool prof__access_host(const char *host, const char *own_name)
{
    unsigned char address[sizeof(struct in6_addr)];
    char name[256];
    size_t size = strlen(host);
    const char *colon = strrchr(host, ':');
    bool brackets = *host == '[';

    if (brackets) { /* [::1] or [::1]:6060 */
        const char *close = strchr(host, ']');

        if (!close || (close[1] != '\0' && close[1] != ':'))
            return false;
        host++;
        size = (size_t)(close - host);
    } else if (colon) {
        size = (size_t)(colon - host);
    }
    if (size == 0 || size >= sizeof(name))
        return false;
    memcpy(name, host, size);
    name[size] = '\0';
    if (brackets)
        name[strcspn(name, "%")] = '\0'; /* the zone of a link-local address */
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
        return true;
    if (name[size - 1] == '.') /* a fully qualified "localhost." */
        name[--size] = '\0';
    if (own_name && strcasecmp(name, own_name) == 0)
        return true;
    static const char suffix[] = ".localhost"; /* RFC 6761: never leaves the machine */
    return strcasecmp(name, suffix + 1) == 0 ||
           (size >= sizeof(suffix) && strcasecmp(name + size - (sizeof(suffix) - 1), suffix) == 0);
}

int prof__access_check(const char *token, const char *own_name, const struct prof__caller *caller,
                       const char **ret_reason)
{
    if (caller->loopback && caller->fetch_site &&
        strcasecmp(caller->fetch_site, "cross-site") == 0) {
        *ret_reason = "refused: a browser sent this request for a page of another site";
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
    if (caller->loopback && caller->host && !prof__access_host(caller->host, own_name)) {
        *ret_reason = "refused: over loopback, without a token, Host must be an IP address or "
                      "localhost";
        return -EPERM;
    }
    return 0;
}
