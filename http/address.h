/*
 * address.h - where to listen, as text: the forms that http.h lists.
 *
 * Only syntax: nothing is looked up or opened, so this runs in the caller's thread and a slip in
 * an address is told at once. listen.h makes a socket of it.
 */
#ifndef PROF_HTTP_ADDRESS_H
#define PROF_HTTP_ADDRESS_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

enum prof__address_kind {
    PROF__ADDRESS_ANY,      /* every interface */
    PROF__ADDRESS_HOST,     /* a name or an address, in `host` */
    PROF__ADDRESS_UNIX,     /* a path, in `host` */
    PROF__ADDRESS_ABSTRACT, /* a name in the abstract name space, in `host`, without the '@' */
    PROF__ADDRESS_FD,       /* a descriptor the program was handed */
};

struct prof__address {
    enum prof__address_kind kind;
    uint16_t port;
    int fd;
    char host[256];      /* longer than any host name or sun_path */
    char text[256 + 16]; /* as it was given, for messages */
};

/* Read `text`; NULL is "127.0.0.1:6060". -EINVAL or -ENAMETOOLONG, with prof_last_error() set. */
int prof__address_parse(const char *text, struct prof__address *ret_address);

#endif
