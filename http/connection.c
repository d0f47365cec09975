/*
 * connection.c - one client of the server; the stages are in connection.h.
 *
 * Every connection has one deadline at any time, which is a total and not a silence: dripping a
 * byte a second does not extend it.
 *
 * What bounds it: 32 KiB of memory while headers come in, or for one whose headers are longer,
 * 4 MiB, which is counted with the answers under way; 1 MiB of body where one is allowed; the
 * deadlines; and answers are as large as profiles are.
 */
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "buffer.h"
#include "clock.h"
#include "metrics.h"
#include "peer.h"

#define NEVER UINT64_MAX

#define GRACE_NS         (SECOND_NS / 10) /* nobody is shown the door before that */
#define UPLOAD_NS        (30 * SECOND_NS) /* for the body of a request */
#define IDLE_NS          (75 * SECOND_NS) /* between requests: scrapers come once a minute */
#define SEND_NS          (60 * SECOND_NS) /* for an answer, and more for a large one: */
#define SEND_BYTES_PER_S (16 * 1024)
#define LEAVE_NS         (SECOND_NS / 2) /* as Go, for a refusal to arrive */

#define COMMON_HEAD   (16 * 1024)       /* a request line and headers that are no longer ... */
#define COMMON_MEMORY (32 * 1024)       /* ... fit in here; */
#define LONG_MEMORY   (4 * 1024 * 1024) /* longer ones in here: Go takes 1 MiB of them */

static void set_phase(struct prof__connection *c, enum prof__phase phase, uint64_t deadline_ns)
{
    c->phase = phase;
    c->since_ns = now_ns();
    c->deadline_ns = deadline_ns;
}

/* --- refusing what is no request -------------------------------------------------------------- */

/* In our words, as all other errors are. libmicrohttpd's are HTML, which pprof does not show. */
static const struct refusal {
    unsigned status;
    const char *name, *sentence;
} refusals[] = {
    { 400, "Bad Request", "the request is malformed" },
    { 413, "Content Too Large", "the request is too large" },
    { 414, "URI Too Long", "the request line is too long" },
    { 431, "Request Header Fields Too Large", "the headers are too long" },
    { 500, "Internal Server Error", "the request could not be read" },
    { 503, "Service Unavailable", "other requests take all the memory there is for them" },
    { 505, "HTTP Version Not Supported", "this server speaks HTTP/1.0 and HTTP/1.1" },
};

static const struct refusal *refusal_of(unsigned status)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        if (refusals[i].status == status)
            return &refusals[i];
    return &refusals[0];
}

/* The answer, past libmicrohttpd, which is about to close the connection or has never had it. */
static void refuse(struct prof__connection *c, unsigned status, const char *sentence)
{
    const struct refusal *r = refusal_of(status);
    char text[512];

    if (!sentence)
        sentence = r->sentence;
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 %u %s\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n"
                     "X-Content-Type-Options: nosniff\r\n"
                     "Cache-Control: no-store\r\n"
                     "X-Go-Pprof: 1\r\n"
                     "Connection: close\r\n"
                     "Content-Length: %zu\r\n"
                     "\r\n"
                     "%s\n",
                     r->status, r->name, strlen(sentence) + 1, sentence);
    send(c->left_fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(c->left_fd, SHUT_WR); /* the end of the answer; nothing else gets out */
    prof__metrics_count("other", r->status, 0);
}

/* Closing alone would not do while a child that was just forked has a copy. */
static void unwatch(struct prof__connection *c)
{
    if (c->watch_fd >= 0)
        epoll_ctl(c->watch_fd, EPOLL_CTL_DEL, c->fd, NULL);
    c->watch_fd = -1;
}

/* Whoever has sent no request at all. */
static void refuse_newcomer(struct prof__connection *c, unsigned status)
{
    unwatch(c);
    c->left_fd = c->fd;
    c->fd = -1;
    refuse(c, status, NULL);
    set_phase(c, PROF__LEAVING, now_ns() + LEAVE_NS);
}

/* Have the socket stay open when libmicrohttpd closes it. False: no descriptors. */
static bool outlive_daemon(struct prof__connection *c)
{
    c->left_fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 3);
    prof__fork_fds_add(c->fork_fds, c->left_fd);
    return c->left_fd >= 0;
}

/*
 * libmicrohttpd has something to say. When it is that it answers for itself, with a status and a
 * page, then our answer goes out instead, and its own finds the connection shut. In another
 * language the words are others, but what is filled in is the same.
 */
static void on_log(void *cls, const char *format, va_list args)
{
    struct prof__connection *c = cls;
    const char *first = strchr(format, '%'), *second = first ? strchr(first + 1, '%') : NULL;

    if (!second || strncmp(first, "%u", 2) != 0 || strncmp(second, "%s", 2) != 0 ||
        c->phase == PROF__SENDING || c->left_fd >= 0)
        return;
    unsigned status = va_arg(args, unsigned);
    const char *page = va_arg(args, const char *);

    if (status < 400 || status > 599 || strncmp(page, "<html>", 6) != 0)
        return;
    if (outlive_daemon(c))
        refuse(c, status,
               strstr(page, "Host:") ? "a request of HTTP/1.1 must have a Host header" : NULL);
}

/* --- replies and requests --------------------------------------------------------------------- */

/* MHD_NO ends the connection. */
static enum MHD_Result send_reply(struct prof__connection *c)
{
    size_t size = c->request.exchange.reply.body.size;

    c->request.last = c->counted > 0;
    enum MHD_Result r = prof__request_send(&c->request);
    set_phase(c, PROF__SENDING, now_ns() + SEND_NS + size / SEND_BYTES_PER_S * SECOND_NS);
    return r;
}

/* All headers are there. */
static enum MHD_Result begin_request(struct prof__connection *c, struct MHD_Connection *mhd,
                                     const char *method)
{
    char *raw_target = c->raw_target;

    if (!raw_target)
        return MHD_NO; /* out of memory */
    c->raw_target = NULL;
    set_phase(c, PROF__RECEIVING, now_ns() + UPLOAD_NS);
    prof__request_open(&c->request, c->site, mhd, method, raw_target);
    int r = prof__request_admit(&c->request, c->site);
    if (r < 0)
        prof__request_refuse(&c->request, r);
    if (!prof__request_begin(&c->request))
        return MHD_YES;
    outlive_daemon(c); /* the body is still to come */
    return send_reply(c);
}

/* The request has run, or gone on. */
static void settle(struct prof__connection *c, bool waits)
{
    if (waits) {
        set_phase(c, PROF__WAITING, c->request.deadline_ns);
        return;
    }
    set_phase(c, PROF__READY, now_ns() + SEND_NS);
    c->is_due = true;
}

/* libmicrohttpd: the request line is complete. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct prof__connection *c = cls;

    prof__request_close(&c->request);
    free(c->raw_target);
    c->raw_target = strdup(uri);
    if (c->phase == PROF__IDLE) /* else its deadline counts from the connection on */
        set_phase(c, PROF__READING, now_ns() + PROF__REQUEST_NS);
    return NULL;
}

/* libmicrohttpd: once when the headers are there, for each piece of body, when the request is
 * complete, and again after a wait. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    struct prof__connection *c = cls;

    switch (c->phase) {
    case PROF__READING:
        return begin_request(c, mhd, method);
    case PROF__RECEIVING:
        if (*upload_size) {
            prof__request_receive(&c->request, upload, *upload_size);
            *upload_size = 0;
            return MHD_YES;
        }
        settle(c, prof__request_run(&c->request));
        return c->phase == PROF__READY ? send_reply(c) : MHD_YES; /* we come back, or do not yet */
    case PROF__READY:
        return send_reply(c);
    case PROF__WAITING:
        return MHD_YES;
    default:
        return MHD_NO;
    }
}

/* libmicrohttpd: the reply is sent, or the connection is lost. */
static void on_completed(void *cls, struct MHD_Connection *mhd, void **request,
                         enum MHD_RequestTerminationCode how)
{
    struct prof__connection *c = cls;

    prof__request_close(&c->request);
    set_phase(c, PROF__IDLE, now_ns() + IDLE_NS);
}

/* libmicrohttpd: the connection begins or ends. It closes the descriptor after that. */
static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct prof__connection *c = cls;

    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        return;
    prof__fork_fds_remove(c->fork_fds, c->fd);
    c->fd = -1;
    if (c->left_fd < 0) {
        set_phase(c, PROF__GONE, NEVER);
        return;
    }
    shutdown(c->left_fd, SHUT_WR);
    set_phase(c, PROF__LEAVING, now_ns() + LEAVE_NS);
}

/* --- from the kernel to libmicrohttpd --------------------------------------------------------- */

struct prof__connection *prof__connection_new(int fd, const struct prof__site *site,
                                              struct prof__fork_fds *fork_fds, int watch_fd)
{
    struct prof__connection *c = calloc(1, sizeof(*c));
    struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = c };

    if (!c || epoll_ctl(watch_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        free(c);
        close(fd);
        return NULL;
    }
    c->site = site;
    c->fork_fds = fork_fds;
    c->watch_fd = watch_fd;
    c->fd = fd;
    c->left_fd = c->daemon_fd = -1;
    prof__peer_tell(fd, &c->request.caller);
    prof__fork_fds_add(fork_fds, fd);
    set_phase(c, PROF__FRESH, now_ns() + PROF__REQUEST_NS);
    return c;
}

static struct MHD_Daemon *start_daemon(struct prof__connection *c, size_t memory)
{
    struct MHD_OptionItem options[] = {
        /* First, so that what the others have to say goes there too. */
        { MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_log, c },
        { MHD_OPTION_CONNECTION_LIMIT, 1, NULL },
        { MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)memory, NULL },
        { MHD_OPTION_CONNECTION_TIMEOUT, 0, NULL },
        { MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL },
        { MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, c },
        { MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, c },
        { MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, c },
        { MHD_OPTION_END, 0, NULL },
    };

    return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG, 0, NULL,
                            NULL, on_request, c, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

static void hand_over(struct prof__connection *c, size_t memory)
{
    struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
    socklen_t size = sizeof(peer);

    if (memory > COMMON_MEMORY && prof__buffers_full(memory)) {
        refuse_newcomer(c, 503);
        return;
    }
    unwatch(c);
    getpeername(c->fd, (struct sockaddr *)&peer, &size);
    c->daemon = start_daemon(c, memory);
    if (!c->daemon) {
        set_phase(c, PROF__GONE, NEVER);
        return;
    }
    if (memory > COMMON_MEMORY) {
        c->counted = memory;
        prof__buffers_count(memory);
    }
    c->daemon_fd = MHD_get_daemon_info(c->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    prof__fork_fds_add(c->fork_fds, c->daemon_fd);
    c->phase = PROF__READING; /* the deadline is that of the connection */
    if (MHD_add_connection(c->daemon, c->fd, (struct sockaddr *)&peer, size) != MHD_YES)
        on_connection(c, NULL, NULL, MHD_CONNECTION_NOTIFY_CLOSED); /* it has closed it */
    c->is_due = true;
}

/* Where the headers end, if they do. */
static bool is_complete(const char *head, size_t size)
{
    for (const char *at = head; (at = memchr(at, '\n', size - (size_t)(at - head))) != NULL;) {
        at++;
        size_t left = size - (size_t)(at - head);
        if ((left >= 1 && at[0] == '\n') || (left >= 2 && at[0] == '\r' && at[1] == '\n'))
            return true;
    }
    return false;
}

/* "METHOD TARGET HTTP/1.1". What is none is refused as soon as it is there. */
static bool is_request_line(const char *line, size_t size)
{
    static const char version[] = " HTTP/1.";

    while (size && (line[size - 1] == '\r' || line[size - 1] == ' '))
        size--;
    return size > sizeof(version) &&
           memcmp(line + size - sizeof(version), version, sizeof(version) - 1) == 0;
}

/* Of what libmicrohttpd would end without a word. */
static bool may_be_http(const char *line, size_t size, bool is_whole)
{
    bool letter = (*line | 0x20) >= 'a' && (*line | 0x20) <= 'z';

    return letter && (!is_whole || memchr(line, ' ', size));
}

void prof__connection_look(struct prof__connection *c, bool at_end)
{
    char head[COMMON_HEAD];
    ssize_t n = recv(c->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);

    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            set_phase(c, PROF__GONE, NEVER);
        return;
    }
    size_t size = (size_t)n, from = 0;
    while (from < size && (head[from] == '\r' || head[from] == '\n'))
        from++; /* as after the body of a request before */
    const char *line = head + from, *end = memchr(line, '\n', size - from);
    size_t line_size = end ? (size_t)(end - line) : size - from;

    if (from < size ? !may_be_http(line, line_size, end) : size == sizeof(head))
        refuse_newcomer(c, 400);
    else if (end && (is_complete(line, size - from) || !is_request_line(line, line_size)))
        hand_over(c, COMMON_MEMORY);
    else if (size == sizeof(head))
        hand_over(c, LONG_MEMORY);
    else if (at_end)
        set_phase(c, PROF__GONE, NEVER);
}

/* --- what happens to it ----------------------------------------------------------------------- */

nfds_t prof__connection_polls(const struct prof__connection *c, struct pollfd *ret)
{
    nfds_t n = 0;

    if (c->phase == PROF__LEAVING)
        ret[n++] = (struct pollfd) { .fd = c->left_fd, .events = POLLIN };
    if (!c->daemon || c->phase == PROF__GONE || c->phase == PROF__LEAVING)
        return n;
    if (c->phase != PROF__WAITING)
        ret[n++] = (struct pollfd) { .fd = c->daemon_fd, .events = POLLIN };
    /* libmicrohttpd does not look while it is not run, and it misses an end that comes together
     * with a part of a request. */
    if (c->phase == PROF__WAITING || c->phase == PROF__READING || c->phase == PROF__RECEIVING)
        ret[n++] = (struct pollfd) { .fd = c->fd, .events = POLLRDHUP };
    return n;
}

bool prof__connection_is_busy(const struct prof__connection *c)
{
    MHD_UNSIGNED_LONG_LONG ms;

    if (!c->daemon || c->phase == PROF__WAITING || c->phase >= PROF__LEAVING)
        return false;
    return c->is_due || (MHD_get_timeout(c->daemon, &ms) == MHD_YES && ms == 0);
}

/* The client has closed its side, or all. As in Go, that ends a wait. Any other request can still
 * be complete: in the socket, or read already if libmicrohttpd has more to do. */
static void client_left(struct prof__connection *c)
{
    char byte;

    if (c->phase == PROF__WAITING)
        prof__connection_give_up(c, "the client has left");
    else if (!prof__connection_is_busy(c) && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
        set_phase(c, PROF__GONE, NEVER);
}

static void throw_away(struct prof__connection *c)
{
    char bytes[16 * 1024];
    ssize_t n = recv(c->left_fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        set_phase(c, PROF__GONE, NEVER);
}

void prof__connection_event(struct prof__connection *c, const struct pollfd *p)
{
    if (c->phase == PROF__LEAVING)
        throw_away(c);
    else if (p->fd == c->daemon_fd)
        c->is_due = true;
    else
        client_left(c);
}

void prof__connection_run(struct prof__connection *c)
{
    c->is_due = false;
    MHD_run(c->daemon);
}

void prof__connection_expire(struct prof__connection *c)
{
    if (c->phase == PROF__WAITING)
        settle(c, prof__request_go_on(&c->request));
    else
        set_phase(c, PROF__GONE, NEVER);
}

void prof__connection_give_up(struct prof__connection *c, const char *why)
{
    prof__request_give_up(&c->request, 503, why);
    settle(c, false);
}

uint64_t prof__connection_dispensable_ns(const struct prof__connection *c)
{
    if (c->phase == PROF__FRESH)
        return c->since_ns + GRACE_NS; /* its request may be on the way */
    return c->phase == PROF__IDLE || c->phase == PROF__LEAVING ? c->since_ns : NEVER;
}

void prof__connection_free(struct prof__connection *c)
{
    prof__fork_fds_remove(c->fork_fds, c->daemon_fd);
    if (c->daemon)
        MHD_stop_daemon(c->daemon); /* closes c->fd, if it has not yet */
    if (c->fd >= 0) {
        unwatch(c);
        prof__fork_fds_remove(c->fork_fds, c->fd);
        close(c->fd);
    }
    if (c->left_fd >= 0) {
        prof__fork_fds_remove(c->fork_fds, c->left_fd);
        close(c->left_fd);
    }
    prof__buffers_uncount(c->counted);
    prof__request_close(&c->request);
    free(c->raw_target);
    free(c);
}
