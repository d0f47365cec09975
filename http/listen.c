/*
 * listen.c - listening sockets: TCP on one or all interfaces, Unix, and inherited ones.
 *
 * Unix sockets are made with mode 0600 whatever the umask: Linux gives the file the mode of the
 * socket's own inode, so that one is narrowed before bind() and the file is never open to others,
 * not even for a moment.
 *
 * A socket file outlives its server. One that refuses connections is a dead server's, and is
 * replaced; but so does one between bind() and listen(), hence the lock on the directory: it
 * keeps two servers that start at once from taking each other's for dead.
 */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG       128
#define LOCK_TRIES    50 /* for somebody else's lock on the directory, LOCK_PAUSE_MS apart */
#define LOCK_PAUSE_MS 10

union sockaddr_any {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_storage storage;
};

__attribute__((format(printf, 3, 4))) static int fail(struct prof__listener *l, int error,
                                                      const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(l->reason, sizeof(l->reason), format, args);
    va_end(args);
    return error;
}

static int cannot_listen(struct prof__listener *l, const struct prof__address *a, int error)
{
    return fail(l, error, "cannot listen on %s: %s", a->text, strerror(-error));
}

static int new_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : fd;
}

/* Fill in l->name from what the kernel says, which is where port 0 becomes a number. */
static int find_name(struct prof__listener *l)
{
    union sockaddr_any addr;
    socklen_t size = sizeof(addr);
    char host[INET6_ADDRSTRLEN];

    memset(&addr, 0, sizeof(addr));
    if (getsockname(l->fd, &addr.sa, &size) < 0)
        return -errno;
    switch (addr.sa.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &addr.in.sin_addr, host, sizeof(host));
        snprintf(l->name, sizeof(l->name), "%s:%u", host, ntohs(addr.in.sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &addr.in6.sin6_addr, host, sizeof(host));
        snprintf(l->name, sizeof(l->name), "[%s]:%u", host, ntohs(addr.in6.sin6_port));
        break;
    case AF_UNIX:;
        size_t path = size > offsetof(struct sockaddr_un, sun_path)
                          ? size - offsetof(struct sockaddr_un, sun_path)
                          : 0;
        if (path && addr.un.sun_path[0] == '\0')
            snprintf(l->name, sizeof(l->name), "unix:@%.*s", (int)path - 1, addr.un.sun_path + 1);
        else
            snprintf(l->name, sizeof(l->name), "unix:%.*s", (int)path, addr.un.sun_path);
        break;
    default:
        break;
    }
    return 0;
}

static int bind_and_listen(int fd, const union sockaddr_any *addr, socklen_t size)
{
    if (bind(fd, &addr->sa, size) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    return 0;
}

/* --- TCP ------------------------------------------------------------------------------------ */

static int open_tcp(struct prof__listener *l, const union sockaddr_any *addr)
{
    int on = 1, off = 0;
    bool v6 = addr->sa.sa_family == AF_INET6;
    int fd = new_socket(addr->sa.sa_family);

    if (fd < 0)
        return fd;
    /* A restart finds connections of the one before in TIME_WAIT. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    int r = bind_and_listen(fd, addr, v6 ? sizeof(addr->in6) : sizeof(addr->in));
    if (r < 0) {
        close(fd);
        return r;
    }
    l->fd = fd;
    return 0;
}

/* One socket for IPv6 and IPv4; where there is no IPv6, one for IPv4. */
static int open_any(struct prof__listener *l, uint16_t port)
{
    union sockaddr_any v6 = { .in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) } };
    union sockaddr_any v4 = { .in = { .sin_family = AF_INET, .sin_port = htons(port) } };
    int r = open_tcp(l, &v6);

    if (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL || r == -EPROTONOSUPPORT)
        r = open_tcp(l, &v4);
    return r;
}

/* An address in figures, or "localhost", needs no resolver, with all that one would load. */
static bool known_host(const struct prof__address *a, union sockaddr_any *ret_addr)
{
    union sockaddr_any addr;
    const char *host = strcasecmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;

    memset(&addr, 0, sizeof(addr));
    if (inet_pton(AF_INET, host, &addr.in.sin_addr) == 1) {
        addr.in.sin_family = AF_INET;
        addr.in.sin_port = htons(a->port);
    } else if (inet_pton(AF_INET6, host, &addr.in6.sin6_addr) == 1) {
        addr.in6.sin6_family = AF_INET6;
        addr.in6.sin6_port = htons(a->port);
    } else {
        return false;
    }
    *ret_addr = addr;
    return true;
}

/* A name: its first IPv4 address, or else its first address, as Go chooses. */
static int look_up_host(struct prof__listener *l, const struct prof__address *a,
                        union sockaddr_any *ret_addr)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL, *best;
    int r = getaddrinfo(a->host, NULL, &hints, &found);

    if (r != 0)
        return fail(l,
                    r == EAI_SYSTEM   ? -errno
                    : r == EAI_MEMORY ? -ENOMEM
                                      : -EADDRNOTAVAIL,
                    "cannot listen on %s: cannot find that host: %s", a->text,
                    r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
    best = found;
    for (struct addrinfo *i = found; i; i = i->ai_next)
        if (i->ai_family == AF_INET) {
            best = i;
            break;
        }
    memset(ret_addr, 0, sizeof(*ret_addr));
    memcpy(ret_addr, best->ai_addr, best->ai_addrlen);
    if (ret_addr->sa.sa_family == AF_INET)
        ret_addr->in.sin_port = htons(a->port);
    else
        ret_addr->in6.sin6_port = htons(a->port);
    freeaddrinfo(found);
    return 0;
}

/* --- Unix ----------------------------------------------------------------------------------- */

/* Hold the directory of `path` while a socket file is looked at and made. Returns a descriptor to
 * close, or -1: without the lock all is well too, but for two that start at the same time. */
static int lock_directory(const char *path)
{
    char dir[sizeof(((struct prof__address *)0)->host)];
    const char *slash = strrchr(path, '/');

    snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    int fd = open(*dir ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && i < LOCK_TRIES; i++)
        poll(NULL, 0, LOCK_PAUSE_MS); /* not ours to wait for without end */
    return fd;
}

/* Nobody listens on the socket file at `un`. Only a socket is ever taken for dead: connecting to
 * a regular file is refused as well. */
static bool is_dead_socket(const union sockaddr_any *addr, socklen_t size)
{
    struct stat st;
    bool refused = false;

    if (lstat(addr->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = new_socket(AF_UNIX);
    if (fd >= 0) {
        refused = connect(fd, &addr->sa, size) < 0 && errno == ECONNREFUSED;
        close(fd);
    }
    return refused;
}

/* Remember which file is ours. */
static int remember_file(struct prof__listener *l, const char *path)
{
    struct prof__socket_file file;
    struct stat st;

    if (!realpath(path, file.path) || lstat(file.path, &st) < 0)
        return -errno;
    file.dev = st.st_dev;
    file.ino = st.st_ino;
    l->file = file;
    /* The umask can only have taken bits away. */
    if ((st.st_mode & 07777) != 0600 && chmod(file.path, 0600) < 0)
        return -errno;
    return 0;
}

static int open_unix(struct prof__listener *l, const struct prof__address *a)
{
    union sockaddr_any addr;
    socklen_t size;
    bool abstract = a->kind == PROF__ADDRESS_ABSTRACT;
    int dir_fd = -1, fd, r;

    memset(&addr, 0, sizeof(addr));
    addr.un.sun_family = AF_UNIX;
    /* Fits: prof__address_parse() has seen to it. */
    memcpy(addr.un.sun_path + abstract, a->host, strlen(a->host));
    size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a->host) + 1);

    fd = new_socket(AF_UNIX);
    if (fd < 0)
        return fd;
    if (!abstract) {
        dir_fd = lock_directory(a->host);
        if (fchmod(fd, 0600) < 0) {
            r = -errno;
            goto out;
        }
    }
    r = bind_and_listen(fd, &addr, size);
    if (r == -EADDRINUSE && !abstract && is_dead_socket(&addr, size)) {
        unlink(addr.un.sun_path);
        r = bind_and_listen(fd, &addr, size);
    }
    if (r == 0 && !abstract)
        r = remember_file(l, a->host);
    if (r == 0) {
        l->fd = fd;
        fd = -1;
    }
out:
    if (fd >= 0)
        close(fd);
    if (dir_fd >= 0)
        close(dir_fd);
    return r;
}

/* --- inherited ------------------------------------------------------------------------------ */

static int open_inherited(struct prof__listener *l, const struct prof__address *a, int inherited_fd)
{
    int listening = 0;
    socklen_t size = sizeof(listening);
    int fd = fcntl(inherited_fd, F_DUPFD_CLOEXEC, 0); /* the program's own stays as it is */

    if (fd < 0)
        return -errno;
    int r = getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 ? -errno : 0;
    if (r == 0 && !listening)
        r = fail(l, -EINVAL, "cannot listen on %s: the socket is not a listening one", a->text);
    /* Another process may share the socket and take the connection that we were woken for. */
    if (r == 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    l->fd = fd;
    return 0;
}

/* -------------------------------------------------------------------------------------------- */

int prof__listener_open(struct prof__listener *l, const struct prof__address *a, int inherited_fd)
{
    union sockaddr_any addr;
    int r = 0;

    *l = (struct prof__listener) { .fd = -1 };
    snprintf(l->name, sizeof(l->name), "%s", a->text);
    switch (a->kind) {
    case PROF__ADDRESS_ANY:
        r = open_any(l, a->port);
        break;
    case PROF__ADDRESS_HOST:
        if (!known_host(a, &addr))
            r = look_up_host(l, a, &addr);
        if (r == 0)
            r = open_tcp(l, &addr);
        break;
    case PROF__ADDRESS_UNIX:
    case PROF__ADDRESS_ABSTRACT:
        r = open_unix(l, a);
        break;
    case PROF__ADDRESS_FD:
        r = open_inherited(l, a, inherited_fd);
        break;
    }
    if (r == 0)
        r = find_name(l);
    if (r < 0) {
        prof__listener_close(l);
        return l->reason[0] ? r : cannot_listen(l, a, r);
    }
    return 0;
}

int prof__listener_open_control(struct prof__listener *l, int fd)
{
    struct prof__address a = { .kind = PROF__ADDRESS_ABSTRACT };
    struct stat st;

    if (fd >= 0) {
        snprintf(a.text, sizeof(a.text), "the control socket");
        a.kind = PROF__ADDRESS_FD;
        return prof__listener_open(l, &a, fd);
    }
    snprintf(a.host, sizeof(a.host), "libprof-%d", (int)getpid());
    snprintf(a.text, sizeof(a.text), "unix:@%s", a.host);
    int r = prof__listener_open(l, &a, -1);
    if (r == -EADDRINUSE && stat("/proc/self/ns/pid", &st) == 0) {
        snprintf(a.host, sizeof(a.host), "libprof-%d-%llu", (int)getpid(),
                 (unsigned long long)st.st_ino);
        r = prof__listener_open(l, &a, -1);
    }
    return r;
}

void prof__socket_file_remove(const struct prof__socket_file *file)
{
    struct stat st;

    if (*file->path && lstat(file->path, &st) == 0 && st.st_dev == file->dev &&
        st.st_ino == file->ino)
        unlink(file->path);
}

void prof__listener_close(struct prof__listener *l)
{
    prof__socket_file_remove(&l->file); /* first: who finds the file can still connect */
    l->file.path[0] = '\0';
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}
