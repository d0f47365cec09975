/*
 * client.c - asks a process over HTTP.
 *
 * HTTP/1.0, one request a connection: the answer ends where the connection does, or where its
 * length says. While it takes time a bar shows how much.
 */
#include "tool/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tool/term.h"

enum {
    PATIENCE_S = 60, /* beyond the seconds asked for: symbols of a large program take some */
    HEADERS_MAX = 16384,
};
#define BODY_MAX ((size_t)1 << 30)

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* "Basic" credentials of a URL. */
static void add_basic(char *out, size_t size, const char *user)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(user), at = 0;

    for (size_t i = 0; i < n && at + 5 < size; i += 3) {
        unsigned long bits = (unsigned long)(unsigned char)user[i] << 16;

        bits |= i + 1 < n ? (unsigned long)(unsigned char)user[i + 1] << 8 : 0;
        bits |= i + 2 < n ? (unsigned long)(unsigned char)user[i + 2] : 0;
        for (int k = 0; k < 4; k++)
            out[at++] = k > (int)(n - i) ? '=' : digits[bits >> (18 - 6 * k) & 63];
    }
    out[at] = '\0';
}

static int send_all(int fd, const char *data, size_t size)
{
    for (ssize_t n; size > 0; data += n, size -= (size_t)n) {
        n = send(fd, data, size, MSG_NOSIGNAL);
        if (n <= 0)
            return -errno;
    }
    return 0;
}

static int send_request(int fd, const struct target *t, const struct ask *a)
{
    char head[4096], basic[512];
    const char *body = a->body ? a->body : "";
    bool is_tcp = t->kind == TARGET_ADDRESS && strncmp(t->host, "unix:", 5) != 0;
    int n = snprintf(head, sizeof(head),
                     "%s %s%s HTTP/1.0\r\nHost: %s\r\nUser-Agent: profctl\r\n"
                     "Content-Length: %zu\r\n",
                     a->method ? a->method : "GET", t->prefix, a->path,
                     is_tcp ? t->host : "localhost", strlen(body));

    if (a->token && *a->token) {
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Authorization: Bearer %s\r\n", a->token);
    } else if (*t->user) {
        add_basic(basic, sizeof(basic), t->user);
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Authorization: Basic %s\r\n", basic);
    }
    if ((size_t)n + 3 > sizeof(head))
        return -EMSGSIZE;
    strcpy(head + n, "\r\n");
    int r = send_all(fd, head, strlen(head));
    return r < 0 ? r : send_all(fd, body, strlen(body));
}

/* What has come so far. */
struct answer {
    char *data;
    size_t size, room;
    size_t head; /* bytes of status line and headers; 0: not all there */
    size_t want; /* of the body; SIZE_MAX: until the end */
    int status;
};

static bool parse_head(struct answer *a)
{
    char *end = memmem(a->data, a->size, "\r\n\r\n", 4);

    if (!end)
        return a->size < HEADERS_MAX;
    if (sscanf(a->data, "HTTP/1.%*d %d", &a->status) != 1)
        return false;
    a->head = (size_t)(end - a->data) + 4;
    a->want = SIZE_MAX;
    for (char *line = a->data; line < end; line++) {
        line = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (!line)
            break;
        line++; /* at the line feed */
        if (strncasecmp(line + 1, "content-length:", 15) == 0)
            a->want = strtoull(line + 16, NULL, 10);
    }
    return true;
}

static bool is_whole(const struct answer *a)
{
    return a->head && a->want != SIZE_MAX && a->size - a->head >= a->want;
}

/* Read on. 1: there may be more, 0: it is whole, or a negative errno. */
static int read_on(int fd, struct answer *a)
{
    if (a->room - a->size < 65536) {
        size_t room = PROF_MAX(2 * a->room, (size_t)1 << 17);
        char *data = room <= 2 * BODY_MAX ? realloc(a->data, room) : NULL;

        if (!data)
            return -ENOMEM;
        a->data = data;
        a->room = room;
    }
    ssize_t n = recv(fd, a->data + a->size, a->room - a->size - 1, 0);
    if (n < 0)
        return errno == EINTR ? 1 : -errno;
    if (n == 0)
        return a->head && (a->want == SIZE_MAX || is_whole(a)) ? 0 : -EPIPE;
    a->size += (size_t)n;
    a->data[a->size] = '\0';
    if (!a->head && !parse_head(a))
        return -EPROTO;
    return is_whole(a) ? 0 : 1;
}

static int read_answer(int fd, const struct ask *ask, struct answer *a)
{
    double start = now(), limit = ask->seconds + PATIENCE_S;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int r = 1;

    while (r == 1) {
        double t = now() - start;

        if (t > limit) {
            r = -ETIMEDOUT;
        } else if (poll(&p, 1, 100) > 0) {
            r = read_on(fd, a);
        } else if (ask->is_over && ask->is_over(ask->arg)) {
            r = -EINTR;
        } else if (!ask->quiet) {
            term_progress(ask->what, t, t < ask->seconds ? ask->seconds : 0);
        }
    }
    term_progress_end();
    return r;
}

/* --- what went wrong ---------------------------------------------------------------------------
 */

static const char *name_of(const struct target *t, char *buf, size_t size)
{
    if (t->kind != TARGET_PROCESS)
        return t->text;
    snprintf(buf, size, "Process %d (%s)", (int)t->proc.pid, t->proc.name);
    return buf;
}

static int tell_error(const struct target *t, int error)
{
    char name[64];
    struct proc p;

    if (error == -EINTR)
        return CTL_FAILED;
    name_of(t, name, sizeof(name));
    if (t->kind == TARGET_PROCESS && proc_read(t->proc.pid, &p) < 0)
        return ctl_say(CTL_NO_ANSWER, "%s ended before it had answered.", name);
    if (error == -ETIMEDOUT)
        return ctl_say(CTL_NO_ANSWER, "%s has not answered in time%s.",
                       name_of(t, name, sizeof(name)),
                       t->kind == TARGET_PROCESS && p.state == 'T' ? ": it is stopped" : "");
    if (error == -ENOMEM)
        return ctl_no_memory();
    return ctl_say(CTL_NO_ANSWER, "%s: %s.", name_of(t, name, sizeof(name)),
                   error == -EPIPE || error == -ECONNRESET ? "the answer was cut off"
                   : error == -EPROTO                      ? "that is not HTTP"
                                                           : strerror(-error));
}

/* What the server says, in one line. */
static int tell_status(const struct target *t, int status, char *body)
{
    char name[64];
    int r = status == 404                    ? CTL_NOT_FOUND
            : status == 401 || status == 403 ? CTL_NOT_ALLOWED
            : status == 400 || status == 405 ? CTL_USAGE
            : status == 501                  ? CTL_NO_LIBPROF
                                             : CTL_FAILED;

    for (char *c = body; *c; c++)
        if (*c == '\n')
            *c = c[1] ? ' ' : '\0';
        else if ((unsigned char)*c < ' ')
            *c = '?';
    return ctl_say(r, "%s answers: %.400s%s", name_of(t, name, sizeof(name)),
                   *body ? body : "(nothing)",
                   status == 401 ? " (profctl --token, or LIBPROF_HTTP_TOKEN)" : "");
}

static int ask_once(const struct target *t, const struct ask *ask, bool is_last, struct reply *ret)
{
    struct answer a = { 0 };
    int fd = target_connect(t, ask->quiet);

    if (fd < 0)
        return -fd;
    int r = send_request(fd, t, ask);
    if (r == 0 || r == -EPIPE) /* it may have refused, and said so, before it had all */
        r = read_answer(fd, ask, &a);
    close(fd);
    ret->status = a.status;
    if (r < 0 || a.status != 200) {
        int status = ask->quiet || (a.status == 503 && !is_last) ? CTL_FAILED
                     : r < 0                                     ? tell_error(t, r)
                             : tell_status(t, a.status, a.data + a.head);

        free(a.data);
        return status;
    }
    ret->status = a.status;
    ret->size = a.want == SIZE_MAX ? a.size - a.head : a.want;
    ret->body = a.data;
    memmove(a.data, a.data + a.head, ret->size);
    a.data[ret->size] = '\0';
    return CTL_OK;
}

/* A process that just then starts its server, or gives its socket away, asks for patience. */
int client_ask(const struct target *t, const struct ask *ask, struct reply *ret)
{
    static const struct timespec moment = { 0, 150000000 };
    int r = CTL_FAILED;

    for (int i = 0; i < 4; i++) {
        bool is_last = i == 3;

        ret->status = 0;
        r = ask_once(t, ask, is_last, ret);
        if (ret->status != 503)
            break;
        if (!is_last)
            nanosleep(&moment, NULL);
    }
    return r;
}
