/*
 * routes.h - from a request to an answer, with no notion of sockets or of libmicrohttpd.
 *
 * An exchange is one request and its answer:
 *
 *   prof__exchange_open()     the request line is known: what may its body be?
 *   prof__exchange_run()      the body is there too: answer, or ask to wait
 *   prof__exchange_go_on()    the wait is over: answer, or ask again
 *
 * Waiting is the server's business, since only it can do something else meanwhile. Long work asks
 * for a wait of no time between its parts, so that others have their turn.
 */
#ifndef PROF_HTTP_ROUTES_H
#define PROF_HTTP_ROUTES_H

#include <prof/prof.h>
#include <prof/trace.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "job.h"
#include "params.h"

struct prof__route;

/* What is sent back. `type` and `allow` are string constants. */
struct prof__reply {
    unsigned status;
    const char *type;
    const char *allow;    /* Allow of a 405; NULL: none */
    const char *location; /* Location of a redirection; NULL: none */
    const char *policy;   /* Content-Security-Policy of a page; NULL: none */
    const char *encoding; /* Content-Encoding of the body; NULL: none */
    const char *etag;     /* of what may be kept, if it is asked about each time; NULL: keep none */
    char attachment[256]; /* file name to save it under; "": none */
    bool error;           /* a sentence in plain text, which pprof shows its user */
    bool size_unknown;    /* HEAD of what takes its time: no body was made */
    struct prof__buffer body;
};

struct prof__exchange {
    char *raw_target; /* malloc'ed; `target` points into it */
    struct prof__target target;
    const struct prof__route *route;
    bool post;
    bool is_owner;       /* known to be the process's user, or root */
    bool head;           /* HEAD: the body will not be sent, so nothing waits for it */
    size_t upload_limit; /* bytes of body that the request may have */
    bool is_post;
    bool may_read_source;
    bool may_keep;                                      /* have a capture taken */
    bool thread_is_ours;                                /* it does nothing else but serve */
    const char *host, *accept_encoding, *if_none_match; /* headers; NULL: absent */
    struct prof__buffer upload;

    uint64_t busy_ns; /* spent on the answer so far */
    uint64_t wait_ns; /* after PROF__WAIT */
    int (*go_on)(struct prof__exchange *x);
    struct prof_window *window; /* open meanwhile */
    struct prof_trace *trace;   /* under way meanwhile */
    struct prof_trace_options trace_options;
    struct prof__job *job; /* at work meanwhile */
    char job_message[256]; /* why it failed */
    int capture;           /* number of the one waited for, until deadline_ns */
    const char *words;     /* addresses still to be looked up, */
    size_t words_size;
    uint64_t deadline_ns; /* until then */
    struct prof_write_options options;
    const char *name; /* of the profile */
    char folded[64];  /* options.folded points here, and trace_options.format */
    char site[300];   /* scan.site points here */
    struct prof_scan_options scan;
    char names[16]; /* and options.names, trace_options.as here */

    const char *message;         /* why a handler returned an error; NULL: take prof_last_error() */
    const atomic_bool *stopping; /* may be NULL; true ends the writing of a body */
    struct prof__reply reply;
};

#define PROF__WAIT 1

/* Take over `raw_target` (malloc'ed) and find the route. 0; or 1, and the reply is ready: nothing
 * is there, or not for this method. */
int prof__exchange_open(struct prof__exchange *x, const char *method, char *raw_target);

/* 0: the reply is ready. PROF__WAIT: go on in wait_ns, or refuse or close any time. */
int prof__exchange_run(struct prof__exchange *x);
int prof__exchange_go_on(struct prof__exchange *x);

/* A sink into the reply, which gives up when the server stops; `exchange` is one. */
int prof__exchange_write(void *exchange, const void *data, size_t size);

/* Make the reply an error: status by number, or by negative errno, with one sentence. */
void prof__exchange_refuse(struct prof__exchange *x, unsigned status, const char *sentence);
void prof__exchange_fail(struct prof__exchange *x, int error);

/* What answered, for /metrics: a built-in profile or one of a fixed set. */
const char *prof__exchange_handler(const struct prof__exchange *x);

/* Release everything; the struct is zeroed and may be used again. */
void prof__exchange_close(struct prof__exchange *x);

#endif
