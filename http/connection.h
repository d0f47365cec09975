/*
 * connection.h - one client of the server, from accept() to close().
 *
 * Three stages. At first the kernel keeps what the client sends, and we look at it without taking
 * it: a client costs a descriptor and this struct until it has asked something. Then a
 * libmicrohttpd of its own reads, parses and sends: one daemon a connection, so that what it has
 * to say, and what it is given to do, is about that one client; and who waits is simply not run.
 * That costs 2 KiB beside the 32 for headers, and some 4,000 instructions when it begins. In the
 * end, if a request was refused half way, what still comes is read and thrown away for a moment:
 * closing at once would take the refusal away from the client too.
 *
 * Everything here is for the server's thread alone.
 */
#ifndef PROF_HTTP_CONNECTION_H
#define PROF_HTTP_CONNECTION_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "fork_fds.h"
#include "request.h"

enum prof__phase {
    PROF__FRESH,     /* connected; no request is there yet, or a part of one */
    PROF__READING,   /* libmicrohttpd reads request line and headers */
    PROF__RECEIVING, /* headers are there; the body, if any, is coming in */
    PROF__WAITING,   /* until the deadline */
    PROF__READY,     /* the reply is ready to be queued */
    PROF__SENDING,   /* it is queued */
    PROF__IDLE,      /* answered, and may ask again */
    PROF__LEAVING,   /* refused; what it sends is thrown away */
    PROF__GONE,      /* to be closed */
};

struct prof__connection {
    struct prof__connection *prev, *next; /* in the loop's ring */
    const struct prof__site *site;
    struct prof__fork_fds *fork_fds;
    int watch_fd;              /* the loop's epoll descriptor, which watches newcomers; or -1 */
    int fd;                    /* the client's socket; libmicrohttpd's while there is a daemon */
    int left_fd;               /* a second one, for when libmicrohttpd has closed its own; or -1 */
    struct MHD_Daemon *daemon; /* NULL: not yet, or no more */
    int daemon_fd;             /* its epoll descriptor */
    size_t counted;            /* bytes of headers it may hold, beyond the few of a common one */
    bool is_due;               /* libmicrohttpd has something to do */
    enum prof__phase phase;
    uint64_t since_ns;    /* when the phase began */
    uint64_t deadline_ns; /* what happens then depends on the phase: prof__connection_expire() */
    char *raw_target;     /* of the request line, until the request takes it */
    struct prof__request request;
};

/* How long a client may take for its request, from connecting or its first line on. */
#define PROF__REQUEST_NS (10 * SECOND_NS)

/* Take over the socket, and have `watch_fd` tell of it as it comes, with the connection as data.
 * NULL: out of memory or the like, and it is closed. */
struct prof__connection *prof__connection_new(int fd, const struct prof__site *site,
                                              struct prof__fork_fds *fork_fds, int watch_fd);

/* The newcomer has sent something; or nothing will follow. */
void prof__connection_look(struct prof__connection *c, bool at_end);

/* What to wait for; returns how many of `ret` are filled in, at most PROF__CONNECTION_POLLS. */
#define PROF__CONNECTION_POLLS 2
nfds_t prof__connection_polls(const struct prof__connection *c, struct pollfd *ret);

/* One of those has happened. */
void prof__connection_event(struct prof__connection *c, const struct pollfd *p);

/* libmicrohttpd has something to do without anything having happened. */
bool prof__connection_is_busy(const struct prof__connection *c);

/* Let it read, answer, and send. */
void prof__connection_run(struct prof__connection *c);

/* Its deadline has come. */
void prof__connection_expire(struct prof__connection *c);

/* A wait ends before its time. */
void prof__connection_give_up(struct prof__connection *c, const char *why);

/* From when on it may be ended to make room for another; UINT64_MAX: not. */
uint64_t prof__connection_dispensable_ns(const struct prof__connection *c);

/* Close everything. */
void prof__connection_free(struct prof__connection *c);

#endif
