/*
 * loop.c - the server at work: libmicrohttpd in one thread of ours.
 *
 * libmicrohttpd parses and sends; this file decides when. It runs in "external polling" mode on
 * its epoll descriptor, so the thread, its signals, its descriptors and its clock are ours:
 *
 *   wait for any of      libmicrohttpd's epoll descriptor, a client that leaves while its request
 *                        waits, the nearest deadline. With nobody connected that is for ever: an
 *                        idle server never wakes up
 *   expire               every connection has one deadline at any time (struct conn), which is a
 *                        total and not a silence: dripping a byte a second does not extend it
 *   MHD_run              reads, calls on_request(), sends
 *
 * A `?seconds=N` request is suspended, costs no thread, and is finished by its deadline. While it
 * is suspended libmicrohttpd does not look at its socket, so we do.
 *
 * What bounds it: max_connections, where a newcomer displaces whoever has been silent longest;
 * 32 KiB of memory a connection while headers come in; 1 MiB of body where one is allowed; the
 * deadlines; and answers are as large as profiles are.
 */
#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "access.h"
#include "clock.h"
#include "metrics.h"
#include "peer.h"
#include "respond.h"
#include "routes.h"

#define NEVER UINT64_MAX

#define REQUEST_NS       (10 * SECOND_NS) /* from connecting, or the first line, to all headers */
#define GRACE_NS         (SECOND_NS / 10) /* nobody is shown the door before that */
#define UPLOAD_NS        (30 * SECOND_NS) /* for the body of a request */
#define IDLE_NS          (75 * SECOND_NS) /* between requests: scrapers come once a minute */
#define SEND_NS          (60 * SECOND_NS) /* for an answer, and more for a large one: */
#define SEND_BYTES_PER_S (16 * 1024)
#define FAREWELL_NS      (SECOND_NS * 7 / 10) /* to send the last answers when stopping */
#define PAUSE_MS         50                   /* when connections cannot be accepted */

#define HEADER_MEMORY (32 * 1024) /* the longest request line and headers */
#define IGNORED_BODY  (64 * 1024) /* bytes of body taken, and ignored, where none belongs */

enum phase {
    FRESH,     /* connected, nothing asked yet */
    IDLE,      /* answered, and may ask again */
    READING,   /* a request line is there, the headers are not */
    RECEIVING, /* headers are there; the body, if any, is coming in */
    WAITING,   /* suspended until the deadline */
    READY,     /* the reply is ready to be queued */
    SENDING,   /* it is queued */
    CLOSING,   /* shut down by us; libmicrohttpd is about to notice */
};

struct conn {
    struct conn *prev, *next;
    struct prof__loop *loop;
    struct MHD_Connection *mhd;
    int fd;
    enum phase phase;
    uint64_t deadline_ns; /* what happens then depends on the phase; see expire() */
    bool loopback, foreign_user;
    bool in_flight;   /* a request, and the answer is not yet sent */
    bool refused;     /* the reply is an error found before the handler's turn */
    char *raw_target; /* until the exchange takes it */
    struct prof__exchange exchange;
};

struct prof__loop {
    struct MHD_Daemon *daemon;
    struct prof__listener listener;
    char *token;
    bool source;          /* source files may be read */
    const char *own_name; /* the host name of the address; NULL: it has none */
    struct prof__address address;
    int epoll_fd;
    atomic_bool stopping;

    struct conn conns; /* head of a ring; the one connected first comes first */
    unsigned count, max_connections, in_flight;
    unsigned long long accepted, closed;
    struct pollfd *polls; /* max_connections + 2 of each */
    struct conn **polled;

    /* Descriptors for prof__loop_forked(), -1 where free: a thread that forks reads it while this
     * one goes on. NULL when the table is our own. */
    _Atomic int *visible_fds;
    unsigned visible_count;
    ino_t listening_ino; /* to know our listening socket again */

    struct prof__loop *shelved; /* next in prof__loop_shelve()'s list */
};

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* --- descriptors that a fork copies ----------------------------------------------------------- */

static void replace_visible_fd(struct prof__loop *loop, int old, int new)
{
    for (unsigned i = 0; i < loop->visible_count; i++)
        /* Relaxed: the number is all there is; fork() orders it for the child. */
        if (atomic_load_explicit(&loop->visible_fds[i], memory_order_relaxed) == old) {
            atomic_store_explicit(&loop->visible_fds[i], new, memory_order_relaxed);
            return;
        }
}

void prof__loop_forked(struct prof__loop *loop)
{
    for (unsigned i = 0; i < loop->visible_count; i++) {
        int fd = atomic_load_explicit(&loop->visible_fds[i], memory_order_relaxed);

        if (fd >= 0)
            close(fd);
    }
}

/* The program has closed every descriptor, ours with them, and may have given their numbers to
 * files of its own. libmicrohttpd would abort the process on that. */
static bool is_lost(const struct prof__loop *loop)
{
    struct stat st;

    return loop->visible_fds &&
           (fstat(loop->listener.fd, &st) < 0 || st.st_ino != loop->listening_ino);
}

/* --- connections ------------------------------------------------------------------------------ */

static struct conn *conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

static void set_phase(struct conn *c, enum phase phase, uint64_t deadline_ns)
{
    c->phase = phase;
    c->deadline_ns = deadline_ns;
}

/* There is one place more than max_connections, for whom room is made. */
static bool is_full(const struct prof__loop *loop)
{
    return loop->count > loop->max_connections;
}

/* End a connection; libmicrohttpd then sees its end and cleans up. */
static void cut(struct conn *c)
{
    shutdown(c->fd, SHUT_RDWR);
    set_phase(c, CLOSING, NEVER);
}

/* From when on a connection may be ended to make room for another. */
static uint64_t dispensable_ns(const struct conn *c)
{
    if (c->phase == FRESH)
        return c->deadline_ns - REQUEST_NS + GRACE_NS; /* its request may be on the way */
    return c->phase == IDLE ? c->deadline_ns - IDLE_NS : NEVER;
}

/* The house is full: whoever has been silent for the longest time makes room. */
static void make_room(struct prof__loop *loop, uint64_t now)
{
    struct conn *longest = NULL;

    for (struct conn *c = loop->conns.next; c != &loop->conns; c = c->next) {
        if (c->phase == CLOSING)
            return; /* one is leaving already, and one is all it takes */
        if (dispensable_ns(c) <= now && (!longest || dispensable_ns(c) < dispensable_ns(longest)))
            longest = c;
    }
    if (longest) {
        cut(longest);
        prof__metrics_displaced();
    }
}

static void open_conn(struct prof__loop *loop, struct MHD_Connection *mhd, void **socket_context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct conn *c = calloc(1, sizeof(*c));

    loop->accepted++;
    if (!c || !info) { /* on_request() refuses a connection without one */
        free(c);
        return;
    }
    c->loop = loop;
    c->mhd = mhd;
    c->fd = info->connect_fd;
    c->loopback = prof__peer_is_loopback(c->fd);
    c->foreign_user = loop->listener.abstract && prof__peer_is_foreign_user(c->fd);
    c->exchange.stopping = &loop->stopping;
    set_phase(c, FRESH, now_ns() + REQUEST_NS);
    c->prev = loop->conns.prev;
    c->next = &loop->conns;
    c->prev->next = c->next->prev = c;
    replace_visible_fd(loop, -1, c->fd);
    *socket_context = c;
    loop->count++;
}

static void end_request(struct conn *c)
{
    if (c->in_flight)
        prof__metrics_in_flight(--c->loop->in_flight);
    c->in_flight = false;
    prof__exchange_close(&c->exchange);
}

static void close_conn(struct conn *c)
{
    replace_visible_fd(c->loop, c->fd, -1);
    c->prev->next = c->next;
    c->next->prev = c->prev;
    c->loop->count--;
    c->loop->closed++;
    end_request(c);
    free(c->raw_target);
    free(c);
}

/* libmicrohttpd: a connection begins or ends; its descriptor is still open. */
static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        open_conn(cls, mhd, socket_context);
    else if (*socket_context)
        close_conn(*socket_context);
}

/* --- replies ---------------------------------------------------------------------------------- */

/* Hand the reply to libmicrohttpd. MHD_NO ends the connection. */
static enum MHD_Result send_reply(struct conn *c)
{
    struct prof__reply *reply = &c->exchange.reply;
    size_t size = reply->body.size;
    struct MHD_Response *response = prof__respond(reply);

    if (!response)
        return MHD_NO;
    prof__metrics_count(prof__exchange_handler(&c->exchange), reply->status, c->exchange.busy_ns);
    enum MHD_Result r = MHD_queue_response(c->mhd, reply->status, response);
    MHD_destroy_response(response); /* our reference to it */
    set_phase(c, SENDING, now_ns() + SEND_NS + size / SEND_BYTES_PER_S * SECOND_NS);
    return r;
}

/* --- requests --------------------------------------------------------------------------------- */

/* libmicrohttpd: the request line is complete. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct conn *c = conn_of(mhd);

    if (!c)
        return NULL;
    prof__exchange_close(&c->exchange);
    free(c->raw_target);
    c->raw_target = strdup(uri);
    if (c->phase == FRESH)
        c->phase = READING; /* its deadline counts from the connection on */
    else if (c->phase != CLOSING)
        set_phase(c, READING, now_ns() + REQUEST_NS);
    return c;
}

/* Bytes of body that the headers announce; UINT64_MAX when they only say that there is one. */
static uint64_t announced_body(struct conn *c)
{
    const char *length = MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "Content-Length");

    if (MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "Transfer-Encoding"))
        return UINT64_MAX;
    return length ? strtoull(length, NULL, 10) : 0; /* checked by libmicrohttpd */
}

static bool may_read(struct conn *c)
{
    struct prof__caller caller = {
        .loopback = c->loopback,
        .foreign_user = c->foreign_user,
        .authorization = MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "Authorization"),
        .host = MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "Host"),
        .fetch_site = MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "Sec-Fetch-Site"),
    };
    const char *reason;

    if (c->exchange.target.host) /* RFC 9112: the host in the target is the one that counts */
        caller.host = c->exchange.target.host;
    int r = prof__access_check(c->loop->token, c->loop->own_name, &caller, &reason);
    if (r == 0)
        return true;
    c->exchange.message = reason;
    prof__exchange_fail(&c->exchange, r);
    return false;
}

/* All headers are there. Returns false when the reply is ready and must not wait for the body. */
static bool begin_request(struct conn *c, const char *method)
{
    struct prof__exchange *x = &c->exchange;
    uint64_t body = announced_body(c);
    uint64_t most = IGNORED_BODY;

    set_phase(c, RECEIVING, now_ns() + UPLOAD_NS);
    c->in_flight = true;
    prof__metrics_in_flight(++c->loop->in_flight);
    char *raw_target = c->raw_target;
    c->raw_target = NULL;
    c->refused = prof__exchange_open(x, method, raw_target) != 0;
    x->may_read_source = c->loop->source;
    x->accept_encoding = MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "Accept-Encoding");
    x->if_none_match = MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "If-None-Match");
    if (!may_read(c))
        c->refused = true;
    if (x->upload_limit > most)
        most = x->upload_limit;
    if (!c->refused && body != UINT64_MAX && body > most) {
        prof__exchange_refuse(x, 413, "the request is too large");
        c->refused = true;
    }
    /* Answering before the body ends the connection, so only if there is a body. */
    return !(c->refused && body > 0);
}

static void receive(struct conn *c, const char *data, size_t size)
{
    struct prof__exchange *x = &c->exchange;

    if (c->refused || x->upload_limit == 0)
        return;
    if (x->upload.size + size > x->upload_limit) {
        prof__exchange_refuse(x, 413, "the request is too large");
        c->refused = true;
    } else if (prof__buffer_add(&x->upload, data, size) < 0) {
        prof__exchange_refuse(x, 503, "out of memory");
        c->refused = true;
    }
}

/* Let the exchange run. Returns true when it waits. */
static bool run_request(struct conn *c)
{
    struct prof__exchange *x = &c->exchange;

    if (c->refused)
        return false;
    if (atomic_load_explicit(&c->loop->stopping, memory_order_relaxed)) {
        prof__exchange_refuse(x, 503, "the server is stopping");
        return false;
    }
    if (prof__exchange_run(x) != PROF__WAIT)
        return false;
    uint64_t now = now_ns();
    uint64_t wait = x->wait_seconds > (NEVER - now) / SECOND_NS - 1 ? NEVER - now - 1
                                                                    : x->wait_seconds * SECOND_NS;
    set_phase(c, WAITING, now + wait);
    MHD_suspend_connection(c->mhd);
    return true;
}

/* libmicrohttpd: once when the headers are there, for each piece of body, when the request is
 * complete, and again after a wait. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    struct conn *c = conn_of(mhd);

    if (!c)
        return MHD_NO;
    switch (c->phase) {
    case READING:
        if (!c->raw_target)
            return MHD_NO; /* out of memory */
        return begin_request(c, method) ? MHD_YES : send_reply(c);
    case RECEIVING:
        if (*upload_size) {
            receive(c, upload, *upload_size);
            *upload_size = 0;
            return MHD_YES;
        }
        return run_request(c) ? MHD_YES : send_reply(c);
    case READY:
        return send_reply(c);
    default:
        return MHD_NO; /* being closed */
    }
}

/* libmicrohttpd: the reply is sent, or the connection is lost. */
static void on_completed(void *cls, struct MHD_Connection *mhd, void **request,
                         enum MHD_RequestTerminationCode how)
{
    struct conn *c = conn_of(mhd);

    if (!c)
        return;
    end_request(c);
    if (c->phase != CLOSING)
        set_phase(c, IDLE, now_ns() + IDLE_NS);
}

static void on_log(void *cls, const char *format, va_list args)
{
    /* Nothing prints in the host; what goes wrong for a client, the client sees. */
}

/* --- the loop --------------------------------------------------------------------------------- */

/* A wait is over; MHD_run() then asks for the reply. */
static void end_wait(struct conn *c, const char *why_not)
{
    if (why_not)
        prof__exchange_refuse(&c->exchange, 503, why_not);
    else
        prof__exchange_finish(&c->exchange);
    prof_window_close(c->exchange.window);
    c->exchange.window = NULL;
    set_phase(c, READY, now_ns() + SEND_NS);
    MHD_resume_connection(c->mhd);
}

static void expire(struct prof__loop *loop)
{
    uint64_t now = now_ns();

    for (struct conn *c = loop->conns.next; c != &loop->conns; c = c->next) {
        if (c->deadline_ns > now)
            continue;
        if (c->phase == WAITING)
            end_wait(c, NULL);
        else
            cut(c);
    }
    if (is_full(loop))
        make_room(loop, now);
}

/* Milliseconds to the nearest deadline, rounded up; -1: there is none. */
static int timeout_ms(struct prof__loop *loop)
{
    MHD_UNSIGNED_LONG_LONG mhd_ms;
    uint64_t now = now_ns(), next = NEVER, ms = UINT64_MAX;

    for (struct conn *c = loop->conns.next; c != &loop->conns; c = c->next) {
        next = earlier(next, c->deadline_ns);
        if (is_full(loop))
            next = earlier(next, dispensable_ns(c));
    }
    if (next != NEVER)
        ms = next > now ? (next - now + 999999) / 1000000 : 0;
    if (MHD_get_timeout(loop->daemon, &mhd_ms) == MHD_YES && mhd_ms < ms)
        ms = mhd_ms;
    return ms == UINT64_MAX ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;
}

/* The client has closed its side, or all. As in Go, that ends a wait. Any other request can still
 * be complete: in the socket, or read already if libmicrohttpd has more to do. */
static void client_left(struct conn *c, bool more_to_do)
{
    char byte;

    if (c->phase == WAITING)
        end_wait(c, "the client has left");
    else if (!more_to_do && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
        cut(c);
}

/* A client that leaves in the middle of things. libmicrohttpd does not look at the socket while a
 * request is suspended, and it misses an end that comes together with a part of a request. */
static bool is_watched(const struct conn *c)
{
    return c->phase != READY && c->phase != SENDING && c->phase != CLOSING;
}

/* The frames that a cancelled thread leaves without returning. AddressSanitizer would go on
 * guarding what lay in them. */
#define LEFT_WHEN_CANCELLED __attribute__((no_sanitize_address))

/*
 * poll(), and the one place where the thread can be cancelled, which is how it is told to stop: no
 * other thread has a descriptor of its table to write to. What poll() itself does to be cancelled
 * is done by hand, since ThreadSanitizer replaces that function by one that must not be left so.
 */
LEFT_WHEN_CANCELLED static int cancellable_poll(struct pollfd *polls, nfds_t n, int ms)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    int r = (int)syscall(SYS_poll, polls, n, ms);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
    return r;
}

/* Wait for something to do. Returns the number of events. */
LEFT_WHEN_CANCELLED static int wait_for_events(struct prof__loop *loop)
{
    nfds_t n = 0;

    loop->polls[n++] = (struct pollfd) { .fd = loop->epoll_fd, .events = POLLIN };
    for (struct conn *c = loop->conns.next; c != &loop->conns; c = c->next)
        if (is_watched(c)) {
            loop->polled[n] = c;
            loop->polls[n++] = (struct pollfd) { .fd = c->fd, .events = POLLRDHUP };
        }
    int ms = timeout_ms(loop);
    int r = cancellable_poll(loop->polls, n, ms);
    if (r <= 0 || is_lost(loop))
        return r;
    for (nfds_t i = 1; i < n; i++)
        if (loop->polls[i].revents)
            client_left(loop->polled[i], ms == 0);
    return r;
}

/* A connection that ends may make room for one that could not be accepted, which libmicrohttpd
 * sees only on its next turn, and nothing would wake us for that. */
static void run_mhd(struct prof__loop *loop)
{
    unsigned long long closed;

    do {
        closed = loop->closed;
        MHD_run(loop->daemon);
    } while (loop->closed != closed);
}

LEFT_WHEN_CANCELLED void prof__loop_run(struct prof__loop *loop)
{
    for (;;) {
        unsigned long long accepted = loop->accepted, closed = loop->closed;
        int events = wait_for_events(loop);

        if (is_lost(loop))
            return;
        expire(loop);
        run_mhd(loop);
        if (events > 0 && loop->count == 0 && loop->accepted == accepted && loop->closed == closed)
            /* Accepting fails, for want of descriptors or memory; the listening socket stays
             * readable, and nobody's leaving would help: do not spin, look again in a while. */
            cancellable_poll(NULL, 0, PAUSE_MS);
    }
}

/* Answer who waits, and give everybody a moment to take the answer. */
static void say_farewell(struct prof__loop *loop)
{
    uint64_t end = now_ns() + FAREWELL_NS;
    MHD_UNSIGNED_LONG_LONG mhd_ms;

    for (struct conn *c = loop->conns.next; c != &loop->conns; c = c->next)
        if (c->phase == WAITING)
            end_wait(c, "the server is stopping");
    for (;;) {
        bool busy = false;

        run_mhd(loop);
        for (struct conn *c = loop->conns.next; c != &loop->conns; c = c->next)
            busy |= c->phase == READY || c->phase == SENDING;
        uint64_t now = now_ns();
        if (!busy || now >= end)
            return;
        struct pollfd p = { .fd = loop->epoll_fd, .events = POLLIN };
        uint64_t left_ms = (end - now) / 1000000 + 1;
        if (MHD_get_timeout(loop->daemon, &mhd_ms) == MHD_YES)
            left_ms = earlier(left_ms, mhd_ms);
        poll(&p, 1, (int)left_ms);
    }
}

/* --- lifecycle -------------------------------------------------------------------------------- */

static int start_daemon(struct prof__loop *loop)
{
    struct MHD_OptionItem options[] = {
        /* First, so that what the others have to say goes there too. */
        { MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_log, NULL },
        { MHD_OPTION_LISTEN_SOCKET, loop->listener.fd, NULL },
        { MHD_OPTION_CONNECTION_LIMIT, (intptr_t)loop->max_connections + 1, NULL },
        { MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADER_MEMORY, NULL },
        { MHD_OPTION_CONNECTION_TIMEOUT, 0, NULL },
        { MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL },
        { MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, loop },
        { MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, loop },
        { MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, loop },
        { MHD_OPTION_END, 0, NULL },
    };

    errno = 0;
    loop->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
                                    on_request, loop, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!loop->daemon)
        return errno ? -errno : -ENOMEM;
    loop->epoll_fd = MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return 0;
}

void prof__loop_free(struct prof__loop *loop)
{
    if (loop->token)
        explicit_bzero(loop->token, strlen(loop->token));
    free(loop->token);
    free(loop->polls);
    free(loop->polled);
    free(loop->visible_fds);
    free(loop);
}

static int allocate(struct prof__loop *loop, const struct prof__loop_setup *setup)
{
    size_t n = (size_t)setup->max_connections + 2; /* the newcomer, and the epoll descriptor */

    loop->polls = calloc(n, sizeof(*loop->polls));
    loop->polled = calloc(n, sizeof(*loop->polled));
    if (!loop->polls || !loop->polled)
        return -ENOMEM;
    if (setup->token && !(loop->token = strdup(setup->token)))
        return -ENOMEM;
    if (setup->own_descriptors)
        return 0;
    loop->visible_fds = calloc(n + 1, sizeof(*loop->visible_fds));
    if (!loop->visible_fds)
        return -ENOMEM;
    loop->visible_count = (unsigned)n + 1;
    for (unsigned i = 0; i < loop->visible_count; i++)
        atomic_init(&loop->visible_fds[i], -1);
    return 0;
}

int prof__loop_open(struct prof__loop **ret_loop, const struct prof__loop_setup *setup,
                    char *reason, size_t size)
{
    struct prof__loop *loop = calloc(1, sizeof(*loop));
    struct stat st;
    int r;

    if (!loop || (r = allocate(loop, setup)) < 0) {
        snprintf(reason, size, "cannot serve: out of memory");
        if (loop)
            prof__loop_free(loop);
        return -ENOMEM;
    }
    loop->conns.next = loop->conns.prev = &loop->conns;
    loop->max_connections = setup->max_connections;
    loop->source = setup->source;
    loop->address = *setup->address;
    if (loop->address.kind == PROF__ADDRESS_HOST)
        loop->own_name = loop->address.host;
    r = prof__listener_open(&loop->listener, setup->address, setup->inherited_fd);
    if (r < 0) {
        snprintf(reason, size, "%s", loop->listener.reason);
        prof__loop_free(loop);
        return r;
    }
    r = start_daemon(loop);
    if (r < 0) {
        snprintf(reason, size, "cannot serve on %s: %s", loop->listener.name, strerror(-r));
        prof__listener_close(&loop->listener);
        prof__loop_free(loop);
        return r;
    }
    if (fstat(loop->listener.fd, &st) == 0)
        loop->listening_ino = st.st_ino;
    replace_visible_fd(loop, -1, loop->listener.fd);
    replace_visible_fd(loop, -1, loop->epoll_fd);
    *ret_loop = loop;
    return 0;
}

const struct prof__listener *prof__loop_listener(const struct prof__loop *loop)
{
    return &loop->listener;
}

void prof__loop_stop_soon(struct prof__loop *loop)
{
    /* Relaxed: says only "soon"; what orders the end is the thread's own end. */
    atomic_store_explicit(&loop->stopping, true, memory_order_relaxed);
}

void prof__loop_shelve(struct prof__loop *loop, struct prof__loop **list)
{
    loop->shelved = *list;
    *list = loop;
}

bool prof__loop_close(struct prof__loop *loop)
{
    prof__loop_stop_soon(loop);
    if (is_lost(loop)) { /* closing those numbers could hit the program's files: leave it all */
        prof__socket_file_remove(&loop->listener.file);
        return false;
    }
    MHD_quiesce_daemon(loop->daemon); /* gives the listening socket back */
    replace_visible_fd(loop, loop->listener.fd, -1);
    prof__listener_close(&loop->listener);
    say_farewell(loop);
    replace_visible_fd(loop, loop->epoll_fd, -1);
    MHD_stop_daemon(loop->daemon);
    return true;
}
