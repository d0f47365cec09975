/*
 * relay.c - lets a browser on this machine read what only its owner may.
 *
 *   browser -> 127.0.0.1 -> a child for each connection: one request -> target
 *
 * Each connection is one request, as its end is then the answer's end, and nothing of an answer
 * need be understood.
 */
#include "tool/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool/profile_of.h"

enum { HEAD_MAX = 32768, CHILDREN_MAX = 64, HEAD_SECONDS = 10, KEY_SIZE = 33 };

static volatile sig_atomic_t is_ended;

static void on_end(int unused)
{
    (void)unused;
    is_ended = 1;
}

struct relay {
    const struct target *target;
    const struct relay_file *file;
    size_t n_files;
    const char *page;
    unsigned port;
    char key[KEY_SIZE];
};

static void send_text(int fd, const char *text, size_t size)
{
    for (ssize_t n; size > 0; text += n, size -= (size_t)n) {
        n = send(fd, text, size, MSG_NOSIGNAL);
        if (n <= 0)
            return;
    }
}

static void answer(int fd, const char *status, const char *headers, const char *type,
                   const char *body, size_t size)
{
    char head[1024];
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n%s"
                     "Connection: close\r\n\r\n",
                     status, type, size, headers);

    send_text(fd, head, (size_t)n);
    send_text(fd, body, size);
}

static void refuse(int fd, const char *status, const char *sentence)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "%s\n", sentence);

    answer(fd, status, "", "text/plain; charset=utf-8", text, (size_t)n);
}

/* --- the request -------------------------------------------------------------------------------
 */

/* Up to the empty line. */
static bool read_head(int fd, char head[HEAD_MAX])
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    size_t size = 0;

    while (size < HEAD_MAX - 1 && poll(&p, 1, HEAD_SECONDS * 1000) > 0) {
        ssize_t n = recv(fd, head + size, HEAD_MAX - 1 - size, 0);

        if (n <= 0)
            return false;
        size += (size_t)n;
        head[size] = '\0';
        if (strstr(head, "\r\n\r\n"))
            return true;
    }
    return false;
}

/* The next header after `line`, or NULL at the end. */
static char *next_line(char *line)
{
    char *end = strstr(line, "\r\n");

    return end && strncmp(end, "\r\n\r\n", 4) != 0 ? end + 2 : NULL;
}

static bool is_header(const char *line, const char *name)
{
    size_t n = strlen(name);

    return strncasecmp(line, name, n) == 0 && line[n] == ':';
}

/* Equal, in a time that does not depend on where they differ. */
static bool is_key(const struct relay *r, const char *given)
{
    unsigned char differ = 0;

    if (strlen(given) < KEY_SIZE - 1)
        return false;
    for (size_t i = 0; i < KEY_SIZE - 1; i++)
        differ |= (unsigned char)(r->key[i] ^ given[i]);
    return differ == 0;
}

/* By a cookie of this port's: those of another have the same host. */
static bool is_known(const struct relay *r, char *head)
{
    char name[32];

    snprintf(name, sizeof(name), "profctl-%u=", r->port);
    for (char *line = next_line(head); line; line = next_line(line)) {
        char *end = strstr(line, "\r\n"),
             *at = is_header(line, "Cookie") ? strstr(line, name) : NULL;

        if (at && at < end && is_key(r, at + strlen(name)))
            return true;
    }
    return false;
}

/* Of a page of another site; a browser says so. */
static bool is_foreign(char *head)
{
    for (char *line = next_line(head); line; line = next_line(line))
        if (is_header(line, "Sec-Fetch-Site") && strcasestr(line, "cross-site") &&
            strcasestr(line, "cross-site") < strstr(line, "\r\n"))
            return true;
    return false;
}

/* --- answers -----------------------------------------------------------------------------------
 */

static bool answer_file(const struct relay *r, int fd, const char *path)
{
    static const char root[] = "/debug/pprof/";
    char *data;
    size_t size;

    if (strncmp(path, root, strlen(root)) != 0)
        return false;
    path += strlen(root);
    for (size_t i = 0; i < r->n_files; i++) {
        size_t n = strlen(r->file[i].name);

        if (strncmp(path, r->file[i].name, n) != 0 || (path[n] && path[n] != '?'))
            continue;
        if (profile_load_file(r->file[i].path, &data, &size) == CTL_OK) {
            answer(fd, "200 OK", "", "application/octet-stream", data, size);
            free(data);
        } else {
            refuse(fd, "404 Not Found", "the file cannot be read any more");
        }
        return true;
    }
    return false;
}

/* The index as text, which the viewer asks for what there is. */
static bool answer_index(const struct relay *r, int fd, const char *path)
{
    char *text = NULL;
    size_t size;

    if (r->n_files == 0 || strcmp(path, "/debug/pprof/?debug=1") != 0)
        return false;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return false;
    fprintf(out, "program: %s\nprocess: 0\nhost: profctl\nseconds up: 0\n\n", r->file[0].path);
    for (size_t i = 0; i < r->n_files; i++)
        fprintf(out, "1\t%s\tThe file %s.\n", r->file[i].name, r->file[i].path);
    fclose(out);
    answer(fd, "200 OK", "", "text/plain; charset=utf-8", text, size);
    free(text);
    return true;
}

/* The request again, without what is ours. */
static void forward(const struct relay *r, int fd, char *head)
{
    char buf[16384];
    int to = target_connect(r->target, true);

    if (to < 0) {
        refuse(fd, "502 Bad Gateway", "The process has ended, or cannot be reached any more.");
        return;
    }
    char *end = strstr(head, "\r\n");
    send_text(to, head, (size_t)(end + 2 - head));
    for (char *line = next_line(head); line; line = next_line(line)) {
        end = strstr(line, "\r\n");
        if (!is_header(line, "Cookie") && !is_header(line, "Connection") &&
            !is_header(line, "Host") && !is_header(line, "Authorization") &&
            !is_header(line, "Content-Length") && !is_header(line, "Transfer-Encoding"))
            send_text(to, line, (size_t)(end + 2 - line));
    }
    int n = snprintf(buf, sizeof(buf), "Host: localhost\r\nConnection: close\r\n\r\n");
    send_text(to, buf, (size_t)n);
    /* A client that leaves ends its window in the process, too. */
    struct pollfd p[2] = { { .fd = to, .events = POLLIN }, { .fd = fd, .events = POLLRDHUP } };
    while (poll(p, 2, -1) > 0 && !(p[1].revents & (POLLRDHUP | POLLHUP | POLLERR))) {
        ssize_t got = recv(to, buf, sizeof(buf), 0);

        if (got <= 0)
            break;
        send_text(fd, buf, (size_t)got);
    }
    close(to);
}

static void serve_one(const struct relay *r, int fd)
{
    static char head[HEAD_MAX];
    char method[8], path[4096], headers[512], want[128];

    if (!read_head(fd, head))
        return;
    if (sscanf(head, "%7s %4095s HTTP/1.", method, path) != 2) {
        refuse(fd, "400 Bad Request", "that is not a request");
        return;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        refuse(fd, "405 Method Not Allowed", "nothing can be changed from here");
        return;
    }
    int n = snprintf(want, sizeof(want), "/?key=");
    if (strncmp(path, want, (size_t)n) == 0 && is_key(r, path + n)) {
        snprintf(headers, sizeof(headers),
                 "Set-Cookie: profctl-%u=%s; Path=/; HttpOnly; SameSite=Strict\r\n"
                 "Location: /debug/pprof/%s\r\n",
                 r->port, r->key, r->page);
        answer(fd, "303 See Other", headers, "text/plain", "", 0);
        return;
    }
    if (!is_known(r, head)) {
        refuse(fd, "403 Forbidden", "This page is opened by the URL that profctl has printed.");
        return;
    }
    if (is_foreign(head)) {
        refuse(fd, "403 Forbidden", "refused: a browser sent this for a page of another site");
        return;
    }
    if (!answer_file(r, fd, path) && !answer_index(r, fd, path))
        forward(r, fd, head);
}

/* -------------------------------------------------------------------------------------------- */

static int listen_on(uint16_t port, unsigned *ret_port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
    socklen_t size = sizeof(in);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&in, &size) < 0) {
        int r = -errno;

        if (fd >= 0)
            close(fd);
        return r;
    }
    *ret_port = ntohs(in.sin_port);
    return fd;
}

static bool make_key(char key[KEY_SIZE])
{
    unsigned char random[(KEY_SIZE - 1) / 2];

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return false;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(key + 2 * i, 3, "%02x", random[i]);
    return true;
}

int relay_run(const struct target *t, const struct relay_file *file, size_t n_files, uint16_t port,
              const char *page)
{
    struct relay r = { .target = t, .file = file, .n_files = n_files, .page = page };
    struct sigaction end = { .sa_handler = on_end };
    int fd = listen_on(port, &r.port), children = 0;

    if (fd < 0)
        return ctl_say(CTL_FAILED, "127.0.0.1:%u cannot be listened on: %s.", port, strerror(-fd));
    if (!make_key(r.key)) {
        close(fd);
        return ctl_say(CTL_FAILED, "There are no random numbers to be had.");
    }
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGHUP, &end, NULL);
    printf("http://127.0.0.1:%u/?key=%s\n", r.port, r.key);
    fflush(stdout);
    fprintf(stderr, "profctl: open this in a browser; Ctrl-C ends it\n");
    while (!is_ended) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        while (children > 0 && waitpid(-1, NULL, children < CHILDREN_MAX ? WNOHANG : 0) > 0)
            children--;
        if (poll(&p, 1, 1000) <= 0)
            continue;
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            continue;
        pid_t child = fork();
        if (child == 0) {
            close(fd);
            serve_one(&r, client);
            shutdown(client, SHUT_WR);
            _exit(0);
        }
        children += child > 0;
        close(client);
    }
    close(fd);
    return CTL_OK;
}
