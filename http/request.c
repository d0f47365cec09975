/*
 * request.c - one request on a connection of libmicrohttpd's; the steps are in request.h.
 */
#include "request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buffer.h"
#include "clock.h"
#include "metrics.h"
#include "respond.h"

#define IGNORED_BODY (64 * 1024) /* bytes of body taken, and ignored, where none belongs */

const char prof__stopping_text[] = "the server is stopping";
static const char full_text[] = "answers that are not yet read take all the memory there is for "
                                "them: try again";

static const char *header(const struct prof__request *q, const char *name)
{
    return MHD_lookup_connection_value(q->mhd, MHD_HEADER_KIND, name);
}

static enum MHD_Result count_host(void *count, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    (void)kind, (void)value;
    *(unsigned *)count += strcasecmp(name, "Host") == 0;
    return MHD_YES;
}

static void refuse(struct prof__request *q, unsigned status, const char *sentence)
{
    prof__exchange_refuse(&q->exchange, status, sentence);
    q->refused = true;
}

void prof__request_open(struct prof__request *q, const struct prof__site *site,
                        struct MHD_Connection *mhd, const char *method, char *raw_target)
{
    struct prof__exchange *x = &q->exchange;
    unsigned hosts = 0;

    q->mhd = mhd;
    q->in_flight = true;
    prof__metrics_in_flight(1);
    q->refused = prof__exchange_open(x, method, raw_target) != 0;
    x->stopping = site->stopping;
    x->may_read_source = site->source;
    x->thread_is_ours = site->own_thread;
    x->is_owner = q->caller.control && !q->caller.foreign_user;
    x->may_keep = q->caller.unix_socket || (q->caller.loopback && site->token);
    x->accept_encoding = header(q, "Accept-Encoding");
    x->if_none_match = header(q, "If-None-Match");
    q->caller.authorization = header(q, "Authorization");
    q->caller.fetch_site = header(q, "Sec-Fetch-Site");
    /* RFC 9112: the host in the target is the one that counts. */
    x->host = q->caller.host = x->target.host ? x->target.host : header(q, "Host");
    /* Of two, whoever forwards it may have looked at the other one. */
    MHD_get_connection_values(mhd, MHD_HEADER_KIND, count_host, &hosts);
    if (hosts > 1)
        refuse(q, 400, "too many Host headers");
}

int prof__request_admit(struct prof__request *q, const struct prof__site *site)
{
    return prof__access_check(site->token, site->hosts, &q->caller, &q->exchange.message);
}

void prof__request_refuse(struct prof__request *q, int error)
{
    prof__exchange_fail(&q->exchange, error);
    q->refused = true;
}

/* Bytes of body that the headers announce; UINT64_MAX when they only say that there is one. */
static uint64_t announced_body(const struct prof__request *q)
{
    const char *length = header(q, "Content-Length");

    if (header(q, "Transfer-Encoding"))
        return UINT64_MAX;
    return length ? strtoull(length, NULL, 10) : 0; /* checked by libmicrohttpd */
}

bool prof__request_begin(struct prof__request *q)
{
    uint64_t body = announced_body(q), most = q->exchange.upload_limit;

    if (most < IGNORED_BODY)
        most = IGNORED_BODY;
    if (!q->refused && body != UINT64_MAX && body > most)
        refuse(q, 413, "the request is too large");
    if (!q->refused && prof__buffers_full(0))
        refuse(q, 503, full_text);
    return q->refused && body > 0;
}

void prof__request_receive(struct prof__request *q, const char *data, size_t size)
{
    struct prof__exchange *x = &q->exchange;

    if (q->refused || x->upload_limit == 0)
        return;
    if (x->upload.size + size > x->upload_limit)
        refuse(q, 413, "the request is too large");
    else if (prof__buffers_full(size))
        refuse(q, 503, full_text);
    else if (prof__buffer_add(&x->upload, data, size) < 0)
        refuse(q, 503, "out of memory");
}

static bool waits(struct prof__request *q, int r)
{
    uint64_t now = now_ns(), most = UINT64_MAX - 1 - now;

    if (r != PROF__WAIT)
        return false;
    q->deadline_ns = now + (q->exchange.wait_ns < most ? q->exchange.wait_ns : most);
    return true;
}

bool prof__request_run(struct prof__request *q)
{
    const atomic_bool *stopping = q->exchange.stopping;

    if (q->refused)
        return false;
    /* Relaxed: nothing else is read on the strength of it. */
    if (atomic_load_explicit(stopping, memory_order_relaxed)) {
        prof__request_give_up(q, 503, prof__stopping_text);
        return false;
    }
    return waits(q, prof__exchange_run(&q->exchange));
}

bool prof__request_go_on(struct prof__request *q)
{
    return waits(q, prof__exchange_go_on(&q->exchange));
}

void prof__request_give_up(struct prof__request *q, unsigned status, const char *why)
{
    refuse(q, status, why);
    prof_window_close(q->exchange.window);
    q->exchange.window = NULL;
}

enum MHD_Result prof__request_send(struct prof__request *q)
{
    struct prof__reply *reply = &q->exchange.reply;
    struct MHD_Response *response = prof__respond(reply, q->last);

    if (!response)
        return MHD_NO;
    prof__metrics_count(prof__exchange_handler(&q->exchange), reply->status, q->exchange.busy_ns);
    enum MHD_Result r = MHD_queue_response(q->mhd, reply->status, response);
    MHD_destroy_response(response); /* our reference to it */
    return r;
}

void prof__request_close(struct prof__request *q)
{
    if (q->in_flight)
        prof__metrics_in_flight(-1);
    q->in_flight = false;
    prof__exchange_close(&q->exchange);
}
