/*
 * mount.c - the endpoints in the program's own libmicrohttpd daemon.
 *
 * The daemon, its threads and its limits are the program's; what is asked and how it is answered is
 * the same as in the server of our own: routes.c. All that is added here is how to wait, for which
 * there are two ways, as the daemon is made:
 *
 *   MHD_ALLOW_SUSPEND_RESUME     the connection is suspended. One thread of ours, started with the
 *                                first that waits, ends the waits, writes the profiles, and
 *                                resumes: so the daemon's threads are never held up
 *   a thread per connection      that thread waits, and writes the profile
 *
 * Any other daemon has one thread for many connections, which must not sleep: 501.
 *
 * A suspended connection is libmicrohttpd's to keep and ours to resume; stopping the daemon before
 * that aborts the process. So prof_http_handler_stop() returns only when all are resumed, and none
 * waits after that. Nobody but the waiting thread resumes.
 *
 * No call of libmicrohttpd is made under the lock, since it may call us under locks of its own.
 */
#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <poll.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "clock.h"
#include "guard.h"
#include "options.h"
#include "peer.h"
#include "respond.h"
#include "routes.h"

#define ROOT         "/debug/pprof/"
#define LOOK_NS      SECOND_NS     /* while somebody waits: how often we look who has left */
#define IGNORED_BODY (64 * 1024)   /* bytes of body taken, and ignored, where none belongs */
#define STACK_BYTES  (1024 * 1024) /* names are looked up in debug information there */

enum phase {
    RECEIVING,  /* headers are there; the body, if any, is coming in */
    SUSPENDING, /* libmicrohttpd is being told */
    WAITING,    /* suspended, until the deadline */
    FINISHING,  /* the waiting thread makes the reply */
    READY,      /* the reply is there */
};

/* One request. Only `phase` and the list are shared; the rest belongs to the waiting thread while
 * WAITING and FINISHING, and to the daemon's thread otherwise. */
struct request {
    struct request *next;
    struct MHD_Connection *mhd;
    int fd;
    enum phase phase;
    uint64_t deadline_ns;
    bool refused;    /* the reply is an error found before the handler's turn */
    char *directory; /* where to send who forgot the last slash; NULL: they did not */
    struct prof__exchange exchange;
};

enum thread_state { NO_THREAD, STARTING, RUNNING };

/* Guarded by guard.h's lock. */
static struct {
    struct request *requests;
    char *token;
    bool source; /* source files may be read */
    bool started;
    bool ending; /* prof_http_handler_stop() is at work */
    enum thread_state thread_state;
    pthread_t thread;
} mounted;

static const char stopping_text[] = "the server is stopping";
static atomic_bool stopping; /* written under the lock; writers of bodies look at it without */

static bool is_stopping(void)
{
    /* Relaxed: who must not miss it reads it under the lock. */
    return atomic_load_explicit(&stopping, memory_order_relaxed);
}

/* --- fork ------------------------------------------------------------------------------------- */

/* The threads, the daemon's and ours, stayed with the parent, and so did their requests: the list
 * stays, since memory that nothing points at is a leak to a leak checker, but nobody waits. */
static void forked(void)
{
    for (struct request *q = mounted.requests; q; q = q->next)
        q->phase = READY;
    mounted.started = mounted.ending = false;
    mounted.thread_state = NO_THREAD;
}

__attribute__((constructor)) static void set_up(void)
{
    prof__guard_in_child(forked);
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* The client has closed its side, or all. As in Go, that ends a wait. */
static bool has_left(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };

    return poll(&p, 1, 0) > 0;
}

/* Why a wait is over before its time; NULL: it is not. */
static const char *why_over(const struct request *q)
{
    if (is_stopping())
        return stopping_text;
    return has_left(q->fd) ? "the client has left" : NULL;
}

static void make_reply(struct request *q, const char *why_not)
{
    if (why_not)
        prof__exchange_refuse(&q->exchange, 503, why_not);
    else
        prof__exchange_finish(&q->exchange);
    prof_window_close(q->exchange.window);
    q->exchange.window = NULL;
}

/* Until `end_ns`, or the next look at who has left, or a change. The lock is held. */
static void wait_until(uint64_t end_ns)
{
    uint64_t look_ns = now_ns() + LOOK_NS;

    prof__guard_wait(end_ns < look_ns ? end_ns : look_ns);
}

/* End one wait whose time has come, leaving the lock meanwhile. False: there is none, and then
 * *ret_next_ns is when there will be; UINT64_MAX: nobody waits. */
static bool end_one(uint64_t *ret_next_ns)
{
    uint64_t now = now_ns();

    *ret_next_ns = UINT64_MAX;
    for (struct request *q = mounted.requests; q; q = q->next) {
        const char *why = q->phase == WAITING ? why_over(q) : NULL;

        if (q->phase == SUSPENDING) /* a matter of moments, which ends with a change */
            *ret_next_ns = *ret_next_ns < now + LOOK_NS ? *ret_next_ns : now + LOOK_NS;
        if (q->phase != WAITING)
            continue;
        if (!why && q->deadline_ns > now) {
            *ret_next_ns = *ret_next_ns < q->deadline_ns ? *ret_next_ns : q->deadline_ns;
            continue;
        }
        q->phase = FINISHING;
        prof__guard_unlock();
        make_reply(q, why);
        prof__guard_lock();
        q->phase = READY;
        struct MHD_Connection *mhd = q->mhd;
        prof__guard_unlock();
        MHD_resume_connection(mhd); /* from here on the request may be gone any time */
        prof__guard_lock();
        return true;
    }
    return false;
}

static void *end_waits(void *unused)
{
    uint64_t next_ns;

    (void)unused;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    prof__guard_lock();
    for (;;) {
        if (end_one(&next_ns))
            continue;
        if (next_ns != UINT64_MAX)
            wait_until(next_ns);
        else if (is_stopping())
            break;
        else
            prof__guard_wait(UINT64_MAX);
    }
    prof__guard_unlock();
    return NULL;
}

/* There is a thread that ends waits when this returns 0, and prof_http_handler_stop() waits for it.
 * The lock is held, and left meanwhile. */
static int need_thread(void)
{
    int r = 0;

    while (mounted.thread_state == STARTING)
        prof__guard_wait(UINT64_MAX);
    if (is_stopping())
        return -ECANCELED;
    if (mounted.thread_state == NO_THREAD) {
        struct prof_helper helper = PROF_HELPER_INIT;

        helper.name = "prof-mount";
        helper.stack_bytes = STACK_BYTES;
        helper.run = end_waits;
        mounted.thread_state = STARTING;
        prof__guard_unlock(); /* starting a thread allocates */
        r = prof_helper_start(&helper, &mounted.thread);
        prof__guard_lock();
        mounted.thread_state = r == 0 ? RUNNING : NO_THREAD;
        prof__guard_changed();
    }
    return is_stopping() ? -ECANCELED : r;
}

/* Returns true when the request is suspended; else the reply is ready. */
static bool suspend_request(struct request *q)
{
    struct prof__shield shield;

    prof__guard_enter(&shield);
    bool may = need_thread() == 0;
    bool stopped = is_stopping();
    if (may)
        q->phase = SUSPENDING; /* prof_http_handler_stop() does not pass it from here on */
    prof__guard_leave(&shield);
    if (!may) {
        make_reply(q, stopped ? stopping_text : "out of threads");
        return false;
    }
    MHD_suspend_connection(q->mhd);
    prof__guard_enter(&shield);
    q->phase = WAITING;
    prof__guard_changed();
    prof__guard_leave(&shield);
    return true;
}

/* In a thread that has only this connection. */
static void wait_here(struct request *q)
{
    const char *why = NULL;

    while (!(why = why_over(q)) && now_ns() < q->deadline_ns) {
        struct prof__shield shield;

        prof__guard_enter(&shield);
        if (!is_stopping())
            wait_until(q->deadline_ns);
        prof__guard_leave(&shield);
    }
    make_reply(q, why);
}

/* The exchange wants to wait. Returns true when the reply comes later. */
static bool begin_wait(struct request *q)
{
    struct MHD_Daemon *daemon = MHD_get_connection_info(q->mhd, MHD_CONNECTION_INFO_DAEMON)->daemon;
    unsigned flags = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_FLAGS)->flags;
    uint64_t now = now_ns(), most = (INT64_MAX - now) / SECOND_NS;
    uint64_t seconds = q->exchange.wait_seconds;

    q->deadline_ns = now + (seconds < most ? seconds : most) * SECOND_NS;
    if (flags & MHD_USE_THREAD_PER_CONNECTION) {
        wait_here(q);
        return false;
    }
    if ((flags & MHD_ALLOW_SUSPEND_RESUME) == MHD_ALLOW_SUSPEND_RESUME)
        return suspend_request(q);
    prof_window_close(q->exchange.window);
    q->exchange.window = NULL;
    prof__exchange_refuse(&q->exchange, 501,
                          "this server cannot wait: its program needs to start it with "
                          "MHD_ALLOW_SUSPEND_RESUME");
    return false;
}

/* --- targets ---------------------------------------------------------------------------------- */

/* libmicrohttpd hands over a decoded path and decoded parameters; routes.c reads a raw target. So
 * encode again what it has decoded. A ';' and a ' ' are as they were: the one is never special to
 * libmicrohttpd, the other was a '+'. */
static void add_encoded(struct prof__buffer *out, const char *text, const char *plain)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (word || strchr(plain, c))
            prof__buffer_add(out, text, 1);
        else if (c == ' ' && *plain == ';')
            prof__buffer_puts(out, "+");
        else
            prof__buffer_printf(out, "%%%02X", c);
    }
}

static enum MHD_Result add_parameter(void *buffer, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    struct prof__buffer *out = buffer;

    (void)kind;
    prof__buffer_puts(out, out->size && out->data[out->size - 1] == '?' ? "" : "&");
    add_encoded(out, name, ";-_.~");
    if (value) {
        prof__buffer_puts(out, "=");
        add_encoded(out, value, ";-_.~");
    }
    return MHD_YES;
}

/* The target below our own root. malloc'ed; NULL: out of memory. */
static char *raw_target(struct MHD_Connection *mhd, const char *below)
{
    struct prof__buffer out = { 0 };

    prof__buffer_puts(&out, ROOT);
    add_encoded(&out, below, "/-_.~");
    prof__buffer_puts(&out, "?");
    MHD_get_connection_values(mhd, MHD_GET_ARGUMENT_KIND, add_parameter, &out);
    if (prof__buffer_add(&out, "", 1) == 0)
        return out.data;
    prof__buffer_free(&out);
    return NULL;
}

/* --- requests --------------------------------------------------------------------------------- */

/* Takes it off the list and frees it. */
static void forget(struct request *q)
{
    struct prof__shield shield;

    prof__guard_enter(&shield);
    for (struct request **at = &mounted.requests; *at; at = &(*at)->next)
        if (*at == q) {
            *at = q->next;
            break;
        }
    prof__guard_leave(&shield);
    prof__exchange_close(&q->exchange);
    free(q->directory);
    free(q);
}

/* `request` if it is one of ours, on this connection. The program's are never looked into. */
static struct request *find(const struct MHD_Connection *mhd, const void *request)
{
    struct prof__shield shield;
    struct request *q;

    prof__guard_enter(&shield);
    for (q = mounted.requests; q && (q != request || q->mhd != mhd); q = q->next)
        ;
    prof__guard_leave(&shield);
    return q;
}

static int send_reply(struct request *q, void **request)
{
    struct MHD_Response *response = prof__respond(&q->exchange.reply);
    int r = 0;

    if (response) {
        r = MHD_queue_response(q->mhd, q->exchange.reply.status, response) == MHD_YES;
        MHD_destroy_response(response); /* our reference to it */
    }
    forget(q);
    *request = NULL;
    return r;
}

static void check_access(struct request *q)
{
    struct prof__shield shield;
    struct prof__caller caller = {
        .loopback = prof__peer_is_loopback(q->fd),
        .foreign_user = prof__peer_is_abstract(q->fd) && prof__peer_is_foreign_user(q->fd),
        .authorization = MHD_lookup_connection_value(q->mhd, MHD_HEADER_KIND, "Authorization"),
        .host = MHD_lookup_connection_value(q->mhd, MHD_HEADER_KIND, "Host"),
        .fetch_site = MHD_lookup_connection_value(q->mhd, MHD_HEADER_KIND, "Sec-Fetch-Site"),
    };

    prof__guard_enter(&shield);
    bool started = mounted.started;
    int r = prof__access_check(mounted.token, NULL, &caller, &q->exchange.message);
    prof__guard_leave(&shield);
    if (!started)
        prof__exchange_refuse(&q->exchange, 503, "profiles are not served now");
    else if (r < 0)
        prof__exchange_fail(&q->exchange, r);
    q->refused |= !started || r < 0;
}

/* Bytes of body that the headers announce; UINT64_MAX when they only say that there is one. */
static uint64_t announced_body(struct MHD_Connection *mhd)
{
    const char *length = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Content-Length");

    if (MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Transfer-Encoding"))
        return UINT64_MAX;
    return length ? strtoull(length, NULL, 10) : 0; /* checked by libmicrohttpd */
}

/* Send who left the last slash out to the index. */
static void redirect(struct request *q, const char *prefix)
{
    struct prof__reply *reply = &q->exchange.reply;

    q->refused = true;
    q->directory = strdup(prefix);
    prof__exchange_refuse(&q->exchange, 301, prefix);
    reply->error = false;
    reply->location = q->directory; /* NULL: out of memory, and the body says where to go */
}

/* All headers are there. `below` is what follows the prefix; NULL: even its last slash is missing.
 * NULL: out of memory. */
static struct request *begin(struct MHD_Connection *mhd, const char *prefix, const char *below,
                             const char *method)
{
    struct prof__shield shield;
    struct request *q = calloc(1, sizeof(*q));
    char *target = raw_target(mhd, below ? below : "");

    if (!q || !target) {
        free(q);
        free(target);
        return NULL;
    }
    struct prof__exchange *x = &q->exchange;
    q->mhd = mhd;
    q->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    x->stopping = &stopping;
    q->refused = prof__exchange_open(x, method, target) != 0;
    x->accept_encoding = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Accept-Encoding");
    x->if_none_match = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "If-None-Match");
    if (!below && !q->refused)
        redirect(q, prefix);
    check_access(q);

    prof__guard_enter(&shield);
    q->next = mounted.requests;
    mounted.requests = q;
    x->may_read_source = mounted.source;
    prof__guard_leave(&shield);
    return q;
}

static void refuse_body(struct request *q)
{
    q->refused = true;
    prof__exchange_refuse(&q->exchange, 413, "the request is too large");
}

static void receive(struct request *q, const char *data, size_t size)
{
    struct prof__exchange *x = &q->exchange;

    if (q->refused || x->upload_limit == 0)
        return;
    if (x->upload.size + size > x->upload_limit) {
        refuse_body(q);
    } else if (prof__buffer_add(&x->upload, data, size) < 0) {
        q->refused = true;
        prof__exchange_refuse(x, 503, "out of memory");
    }
}

/* The request is complete. Returns true when it waits. */
static bool run(struct request *q)
{
    if (q->refused)
        return false;
    if (is_stopping()) {
        prof__exchange_refuse(&q->exchange, 503, stopping_text);
        return false;
    }
    return prof__exchange_run(&q->exchange) == PROF__WAIT && begin_wait(q);
}

/* --- the program's side ----------------------------------------------------------------------- */

/* True when `url` is the prefix, with or without its last slash, or below it. */
static bool is_below(const char *url, const char *prefix, const char **ret_below)
{
    size_t size = strlen(prefix);

    if (strncmp(url, prefix, size) == 0)
        *ret_below = url + size;
    else if (strlen(url) == size - 1 && strncmp(url, prefix, size - 1) == 0)
        *ret_below = NULL;
    else
        return false;
    return true;
}

int prof_http_handler(struct MHD_Connection *connection, const char *prefix, const char *url,
                      const char *method, const char *upload, size_t *upload_size, void **request)
{
    const char *below, *end = prefix ? strstr(prefix, ROOT) : NULL;

    if (!connection || !url || !method || !upload_size || !request)
        return prof_set_last_error(-EINVAL, "prof_http_handler() needs all that a handler is "
                                            "given");
    while (end && end[strlen(ROOT)])
        end = strstr(end + 1, ROOT);
    if (!end || *prefix != '/')
        return prof_set_last_error(-EINVAL, "a prefix begins with a slash and ends in " ROOT);

    struct request *q = *request ? find(connection, *request) : NULL;
    if (!q) {
        if (*request || !is_below(url, prefix, &below))
            return -ENOENT;
        q = begin(connection, prefix, below, method);
        if (!q)
            return 0;
        *request = q;
        uint64_t body = announced_body(connection);
        uint64_t most =
            q->exchange.upload_limit > IGNORED_BODY ? q->exchange.upload_limit : IGNORED_BODY;
        if (!q->refused && body != UINT64_MAX && body > most)
            refuse_body(q);
        /* Answering before the body ends the connection, so only if there is a body. */
        return q->refused && body > 0 ? send_reply(q, request) : 1;
    }
    if (q->phase == RECEIVING && *upload_size) {
        receive(q, upload, *upload_size);
        *upload_size = 0;
        return 1;
    }
    return q->phase == RECEIVING && run(q) ? 1 : send_reply(q, request);
}

void prof_http_handler_completed(struct MHD_Connection *connection, void **request)
{
    struct request *q = request && *request ? find(connection, *request) : NULL;

    if (!q)
        return;
    forget(q);
    *request = NULL;
}

int prof_http_handler_start(const struct prof_http_options *opts)
{
    struct prof_http_options known;
    struct prof__shield shield;
    int r = prof__options_read(opts, &known);

    if (r < 0)
        return r;
    char *token = known.token ? strdup(known.token) : NULL;
    if (known.token && !token)
        return prof_set_last_error(-ENOMEM, "out of memory");
    prof__guard_enter(&shield);
    if (mounted.started || mounted.ending)
        r = -EALREADY;
    if (r == 0) {
        char *old = mounted.token;

        mounted.token = token;
        mounted.source = known.source > 0;
        token = old;
        mounted.started = true;
        atomic_store_explicit(&stopping, false, memory_order_relaxed);
    }
    prof__guard_leave(&shield);
    if (token)
        explicit_bzero(token, strlen(token));
    free(token);
    return r < 0 ? prof_set_last_error(r, "started already") : 0;
}

int prof_http_handler_stop(void)
{
    struct prof__shield shield;

    prof__guard_enter(&shield);
    if (!mounted.started) {
        prof__guard_leave(&shield);
        return prof_set_last_error(-EALREADY, "not started");
    }
    mounted.started = false;
    mounted.ending = true;
    atomic_store_explicit(&stopping, true, memory_order_relaxed);
    prof__guard_changed();
    while (mounted.thread_state == STARTING)
        prof__guard_wait(UINT64_MAX);
    bool has_thread = mounted.thread_state == RUNNING;
    pthread_t thread = mounted.thread;
    prof__guard_unlock();
    if (has_thread)
        pthread_join(thread, NULL); /* it is done when nobody is suspended */
    prof__guard_lock();
    mounted.thread_state = NO_THREAD;
    mounted.ending = false;
    prof__guard_leave(&shield);
    return 0;
}
