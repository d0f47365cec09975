/*
 * request.h - one request on a connection of libmicrohttpd's, whoever's daemon that is: the steps
 * between libmicrohttpd's callbacks and the exchange of routes.h.
 *
 *   open      the headers are there: what is asked for, and by whom
 *   admit     may they?
 *   begin     what is left to receive, or the answer at once
 *   receive   a piece of the body
 *   run       it is complete: the answer, or a wait until deadline_ns
 *   go_on     the wait is over: the answer, or another wait
 *   give_up   it is not over, but will not be waited for
 *   send      hand the answer to libmicrohttpd
 *   close     sent, or the client is lost
 *
 * Who waits, and how, is the business of the caller: connection.c and mount_wait.c. Context: one
 * thread at a time for one request.
 */
#ifndef PROF_HTTP_REQUEST_H
#define PROF_HTTP_REQUEST_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "access.h"
#include "routes.h"

/* What is served, and to whom. Outlives its requests. */
struct prof__site {
    const char *token; /* NULL: none is asked for */
    const char *hosts; /* names that Host may have; hosts.h */
    bool source;       /* source files may be read */
    bool own_thread;   /* served by a thread that does nothing else */
    const atomic_bool *stopping;
};

struct prof__request {
    struct MHD_Connection *mhd;
    struct prof__caller caller; /* loopback and the like are the connection's, and stay */
    bool refused;               /* the reply is an error found before the handler's turn */
    bool last;                  /* the connection ends after it */
    bool in_flight;             /* counted as a request that is not yet answered */
    uint64_t deadline_ns;       /* when a wait is over */
    struct prof__exchange exchange;
};

extern const char prof__stopping_text[];

/* Take over `raw_target` (malloc'ed). The headers stay valid until the reply is sent. */
void prof__request_open(struct prof__request *q, const struct prof__site *site,
                        struct MHD_Connection *mhd, const char *method, char *raw_target);

/* 0, or a negative errno, with the sentence in place, for prof__request_refuse(). */
int prof__request_admit(struct prof__request *q, const struct prof__site *site);

/* Instead of what was asked for. */
void prof__request_refuse(struct prof__request *q, int error);

/* True: there is a body that nobody will read, so the answer is to be sent now, which ends the
 * connection. */
bool prof__request_begin(struct prof__request *q);

void prof__request_receive(struct prof__request *q, const char *data, size_t size);

/* True: it waits, until deadline_ns, for prof__request_go_on() or prof__request_give_up(). A wait
 * for a deadline that has come already is there to let others have their turn. False: the reply is
 * ready. */
bool prof__request_run(struct prof__request *q);
bool prof__request_go_on(struct prof__request *q);

/* The reply is that status, with that sentence. */
void prof__request_give_up(struct prof__request *q, unsigned status, const char *why);

/* Queue the reply. MHD_NO ends the connection. */
enum MHD_Result prof__request_send(struct prof__request *q);

/* Release everything but what is the connection's; to be opened again. */
void prof__request_close(struct prof__request *q);

#endif
