/*
 * address.c - reads the address forms of http.h.
 */
#include "address.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <prof/prof.h>

#define DEFAULT_ADDRESS "127.0.0.1:6060"

/* The bytes of a socket path that bind() takes: Linux wants no final NUL, but everything that
 * reads such a path back does. An abstract name has one byte less, for its leading NUL. */
#define MAX_SOCKET_NAME (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/* A decimal number of at most `max`, and nothing after it; -1 otherwise. */
static long parse_number(const char *text, long max)
{
    long value = 0;

    if (!*text)
        return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (*text - '0');
        if (value > max)
            return -1;
    }
    return value;
}

/* "unix:..." after the colon. "%p" stands for the process id, so that many processes started
 * from one environment do not fight for one path. */
static int parse_unix(const char *name, struct prof__address *a)
{
    size_t n = 0;

    a->kind = PROF__ADDRESS_UNIX;
    if (*name == '@') {
        a->kind = PROF__ADDRESS_ABSTRACT;
        name++;
    }
    if (!*name)
        return prof_set_last_error(-EINVAL, "no socket name in \"%s\"", a->text);
    for (; *name && n <= MAX_SOCKET_NAME; name++) {
        if (name[0] == '%' && name[1] == 'p') {
            n += (size_t)snprintf(a->host + n, sizeof(a->host) - n, "%d", (int)getpid());
            name++;
        } else {
            a->host[n++] = *name;
        }
    }
    a->host[n] = '\0';
    if (n > MAX_SOCKET_NAME - (a->kind == PROF__ADDRESS_ABSTRACT))
        return prof_set_last_error(-ENAMETOOLONG,
                                   "the name of the socket in \"%s\" is too long: the system's "
                                   "limit is %zu bytes",
                                   a->text, MAX_SOCKET_NAME);
    return 0;
}

/* "host:port", where a host with colons of its own stands in brackets. */
static int parse_host(const char *text, struct prof__address *a)
{
    const char *colon = strrchr(text, ':');
    const char *end = colon;

    if (!colon)
        return prof_set_last_error(-EINVAL,
                                   "no port in \"%s\": write HOST:PORT, or :PORT for all "
                                   "interfaces",
                                   a->text);
    long port = parse_number(colon + 1, UINT16_MAX);
    if (port < 0)
        return prof_set_last_error(-EINVAL, "the port in \"%s\" is not a number from 0 to 65535",
                                   a->text);
    a->port = (uint16_t)port;
    if (colon == text) {
        a->kind = PROF__ADDRESS_ANY;
        return 0;
    }
    if (*text == '[') {
        text++;
        end--;
        if (end <= text || *end != ']' || memchr(text, ']', (size_t)(end - text)))
            return prof_set_last_error(-EINVAL, "unmatched brackets in \"%s\"", a->text);
    } else if (memchr(text, ':', (size_t)(end - text))) {
        return prof_set_last_error(-EINVAL,
                                   "too many colons in \"%s\": an IPv6 address goes in "
                                   "brackets, [::1]:6060",
                                   a->text);
    }
    size_t size = (size_t)(end - text);
    if (size >= sizeof(a->host))
        return prof_set_last_error(-EINVAL, "the host name in \"%s\" is too long", a->text);
    if (strcspn(text, " \t\r\n/[]@") < size)
        return prof_set_last_error(-EINVAL, "\"%s\" is not an address to listen on", a->text);
    a->kind = PROF__ADDRESS_HOST;
    memcpy(a->host, text, size);
    a->host[size] = '\0';
    return 0;
}

int prof__address_parse(const char *text, struct prof__address *ret_address)
{
    struct prof__address a = { .fd = -1 };
    int r = 0;

    if (!text)
        text = DEFAULT_ADDRESS;
    snprintf(a.text, sizeof(a.text), "%s", text);
    if (strncmp(text, "unix:", 5) == 0) {
        r = parse_unix(text + 5, &a);
    } else if (strncmp(text, "fd:", 3) == 0) {
        a.kind = PROF__ADDRESS_FD;
        a.fd = (int)parse_number(text + 3, INT_MAX);
        if (a.fd < 0)
            r = prof_set_last_error(-EINVAL, "\"%s\" names no file descriptor", a.text);
    } else {
        r = parse_host(text, &a);
    }
    if (r == 0)
        *ret_address = a;
    return r;
}
