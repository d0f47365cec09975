/*
 * reach.c - a connection to what was named; reach.h says how it is found.
 */
#include "tool/reach.h"

#include <ctype.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/path.h"
#include "tool/ctl.h"

#define CONNECT_SECONDS 5

/* --- which one is meant ----------------------------------------------------------------------- */

static bool is_core(const char *path)
{
    Elf64_Ehdr h;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool core = fd >= 0 && read(fd, &h, sizeof(h)) == sizeof(h) &&
                memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 && h.e_type == ET_CORE;

    if (fd >= 0)
        close(fd);
    return core;
}

/* http://[USER@]HOST[:PORT][/PREFIX] */
static int parse_url(const char *url, struct target *t)
{
    const char *at = url + strlen("http://"), *end = at + strcspn(at, "/?#");
    const char *user = memchr(at, '@', (size_t)(end - at));

    if (user) {
        snprintf(t->user, sizeof(t->user), "%.*s", (int)(user - at), at);
        at = user + 1;
    }
    const char *colon = end;
    while (colon > at && isdigit((unsigned char)colon[-1]))
        colon--;
    bool has_port = colon > at && colon[-1] == ':' && colon < end;
    const char *host_end = has_port ? colon - 1 : end;
    snprintf(t->port, sizeof(t->port), "%.*s", has_port ? (int)(end - colon) : 2,
             has_port ? colon : "80");
    if (*at == '[' && host_end[-1] == ']') {
        at++;
        host_end--;
    }
    snprintf(t->host, sizeof(t->host), "%.*s", (int)(host_end - at), at);
    if (!*t->host)
        return ctl_say(CTL_USAGE, "%s has no host in it, as http://localhost:6060 has.", url);
    /* What follows the profiles' own path, as in a URL copied from a browser, is not wanted. */
    const char *root = strstr(end, "/debug/pprof");
    if (root)
        snprintf(t->prefix, sizeof(t->prefix), "%.*s/debug/pprof/", (int)(root - end), end);
    else if (*end == '/' && end[1])
        snprintf(t->prefix, sizeof(t->prefix), "%.*s%sdebug/pprof/", (int)strcspn(end, "?#"), end,
                 end[strcspn(end, "?#") - 1] == '/' ? "" : "/");
    return CTL_OK;
}

static int find_named(const char *name, struct target *t)
{
    struct proc *all;
    size_t n = proc_all(&all), found = 0;
    char which[256] = "";

    for (size_t i = 0; i < n; i++) {
        if (strncmp(all[i].name, name, 15) != 0 || strlen(name) < strlen(all[i].name) ||
            all[i].pid == getpid())
            continue;
        /* Of several, one that has libprof. */
        if (found++ == 0)
            t->proc = all[i];
        size_t used = strlen(which);
        snprintf(which + used, sizeof(which) - used, "%s%d", used ? ", " : "", (int)all[i].pid);
    }
    size_t prepared = 0;
    for (size_t i = 0; found > 1 && i < n; i++)
        if (strncmp(all[i].name, name, 15) == 0 && proc_has_libprof(all[i].pid) > 0) {
            t->proc = all[i];
            prepared++;
        }
    free(all);
    if (found == 0)
        return ctl_say(CTL_NOT_FOUND,
                       "There is no process and no file \"%s\". \"profctl list\" shows the "
                       "processes that can be asked.",
                       name);
    if (found > 1 && prepared != 1)
        return ctl_say(CTL_USAGE, "Several processes are called \"%s\": %s. Say which by its id.",
                       name, which);
    return CTL_OK;
}

int target_find(const char *text, struct target *ret)
{
    struct target t = { .text = text, .prefix = "/debug/pprof/" };
    int r = CTL_OK;

    if (!*text)
        return ctl_say(CTL_USAGE, "An empty argument names no process.");
    if (text[strspn(text, "0123456789")] == '\0') {
        if (strlen(text) > 9 || proc_read((pid_t)atoi(text), &t.proc) < 0)
            return ctl_say(CTL_NOT_FOUND, "There is no process %s.", text);
        if (t.proc.state == 'Z')
            return ctl_say(CTL_NOT_FOUND,
                           "Process %s (%s) has ended; its parent has not yet asked "
                           "how.",
                           text, t.proc.name);
    } else if (strncmp(text, "http://", 7) == 0) {
        t.kind = TARGET_ADDRESS;
        r = parse_url(text, &t);
    } else if (strncmp(text, "https://", 8) == 0) {
        return ctl_say(CTL_USAGE, "profctl speaks no TLS: fetch the profile with curl, and give "
                                  "profctl the file.");
    } else if (strncmp(text, "unix:", 5) == 0) {
        t.kind = TARGET_ADDRESS;
        snprintf(t.host, sizeof(t.host), "%s", text);
    } else if (access(text, F_OK) == 0) {
        t.kind = is_core(text) ? TARGET_CORE : TARGET_FILE;
    } else if (strchr(text, '/')) {
        return ctl_say(CTL_NOT_FOUND, "There is no file %s.", text);
    } else {
        r = find_named(text, &t);
    }
    if (r == CTL_OK)
        *ret = t;
    return r;
}

/* --- sockets ---------------------------------------------------------------------------------- */

static void set_timeout(int fd, int seconds)
{
    struct timeval tv = { seconds, 0 };

    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)); /* of connect(), too */
}

/* `name` begins with '@' for the abstract name space. A descriptor or a negative errno. */
static int connect_unix(const char *name)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    size_t n = strlen(name);

    if (n == 0 || n >= sizeof(un.sun_path))
        return -ENAMETOOLONG;
    memcpy(un.sun_path, name, n);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*name != '@'));
    if (*name == '@')
        un.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    set_timeout(fd, CONNECT_SECONDS);
    if (connect(fd, (struct sockaddr *)&un, size) < 0) {
        int r = errno == EAGAIN ? -ETIMEDOUT : -errno;

        close(fd);
        return r;
    }
    return fd;
}

static int connect_tcp(const char *host, const char *port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    int fd = -1, error = -EADDRNOTAVAIL;

    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -EADDRNOTAVAIL;
    for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        set_timeout(fd, CONNECT_SECONDS);
        if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            error = errno == EINPROGRESS ? -ETIMEDOUT : -errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd >= 0 ? fd : error;
}

/* Whose socket is at the other end: the process that listened. 0: not one that we see. */
static pid_t peer_of(int fd)
{
    struct ucred peer = { 0 };
    socklen_t size = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

/* --- another's namespace, another's rights -----------------------------------------------------
 */

static int send_fd(int over, int fd, int error)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec data = { &error, sizeof(error) };
    struct msghdr m = { .msg_iov = &data, .msg_iovlen = 1 };

    if (fd >= 0) {
        control.header = (struct cmsghdr) { .cmsg_level = SOL_SOCKET,
                                            .cmsg_type = SCM_RIGHTS,
                                            .cmsg_len = CMSG_LEN(sizeof(int)) };
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
    }
    return sendmsg(over, &m, 0) < 0 ? -errno : 0;
}

static int receive_fd(int over)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    int error = -EIO, fd = -1;
    struct iovec data = { &error, sizeof(error) };
    struct msghdr m = { .msg_iov = &data,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control) };

    if (recvmsg(over, &m, MSG_CMSG_CLOEXEC) != sizeof(error))
        return -EIO;
    if (error < 0)
        return error;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd >= 0 ? fd : -EIO;
}

static int enter(pid_t pid, const char *name, int kind)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = setns(fd, kind) < 0 ? -errno : 0;
    close(fd);
    return r;
}

/*
 * A child's work. Who is root becomes the user of the process at the end: in a user namespace of
 * its own it would not know root for root. And of a rootless container, whose user we are, the user
 * namespace comes first.
 */
static int connect_inside(const struct proc *p, bool other_net, const char *name, const char *port)
{
    int r = other_net ? enter(p->pid, "net", CLONE_NEWNET) : 0;

    if (r == -EPERM && enter(p->pid, "user", CLONE_NEWUSER) == 0)
        r = enter(p->pid, "net", CLONE_NEWNET);
    if (r < 0)
        return r;
    if (geteuid() == 0 && p->uid != 0 &&
        (setresgid(p->gid, p->gid, p->gid) < 0 || setresuid(p->uid, p->uid, p->uid) < 0))
        return -errno;
    return port ? connect_tcp(name, port) : connect_unix(name);
}

/* Connect from where the process is, as who it is. */
static int connect_there(const struct proc *p, const char *name, const char *port)
{
    static ino_t own_net;
    struct stat st;
    int pair[2];

    if (!own_net)
        own_net = stat("/proc/self/ns/net", &st) == 0 ? st.st_ino : 1;
    bool other_net = p->net && p->net != own_net;
    if (!other_net && (geteuid() != 0 || p->uid == 0))
        return port ? connect_tcp(name, port) : connect_unix(name);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    pid_t child = fork();
    if (child == 0) {
        int fd = connect_inside(p, other_net, name, port);

        _exit(send_fd(pair[1], fd, fd < 0 ? fd : 0) == 0 ? 0 : 1);
    }
    close(pair[1]);
    int fd = child < 0 ? -errno : receive_fd(pair[0]);
    close(pair[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
    return fd;
}

/* --- what else it serves -----------------------------------------------------------------------
 */

/* The socket files and loopback ports that a thread listens on: /proc/PID/net/unix and tcp list
 * those of the whole namespace, and the thread's descriptors say which of them are its own. */
static bool owns_socket(pid_t pid, pid_t tid, unsigned long inode)
{
    char path[300], link[64], want[64];
    struct dirent *e;
    bool found = false;

    snprintf(want, sizeof(want), "socket:[%lu]", inode);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/fd", (int)pid, (int)tid);
    DIR *d = opendir(path);
    while (d && !found && (e = readdir(d))) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

        if (n > 0) {
            link[n] = '\0';
            found = strcmp(link, want) == 0;
        }
    }
    if (d)
        closedir(d);
    return found;
}

/* A file in the process's own root, by a path that is short enough however long that one is. */
static int connect_path(const struct proc *p, const char *path)
{
    char full[512], link[64];

    snprintf(full, sizeof(full), "/proc/%d/root%s", (int)p->pid, path);
    int at = open(full, O_PATH | O_CLOEXEC);
    if (at < 0)
        return -errno;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
    int fd = connect_unix(link);
    close(at);
    return fd;
}

static int connect_served_unix(const struct proc *p, pid_t tid)
{
    char table[64], line[512], path[256];
    unsigned long inode;
    unsigned flags;
    int fd = -ENOENT;

    snprintf(table, sizeof(table), "/proc/%d/net/unix", (int)p->pid);
    FILE *f = fopen(table, "re");
    while (f && fd < 0 && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%*s %*s %*s %x %*s %*s %lu %255s", &flags, &inode, path) != 3 ||
            !(flags & 0x10000) /* it listens */ || !owns_socket(p->pid, tid, inode))
            continue;
        fd = *path == '/' ? connect_path(p, path) : connect_there(p, path, NULL);
    }
    if (f)
        fclose(f);
    return fd;
}

static int connect_served_tcp(const struct proc *p, pid_t tid, const char *version)
{
    char table[64], line[512], local[80], port[16];
    unsigned long inode;
    unsigned state;
    int fd = -ENOENT;

    snprintf(table, sizeof(table), "/proc/%d/net/%s", (int)p->pid, version);
    FILE *f = fopen(table, "re");
    while (f && fd < 0 && fgets(line, sizeof(line), f)) {
        if (sscanf(line, " %*s %79s %*s %x %*s %*s %*s %*s %*s %lu", local, &state, &inode) != 3 ||
            state != 0x0a /* listens */ || !owns_socket(p->pid, tid, inode))
            continue;
        snprintf(port, sizeof(port), "%lu", strtoul(strrchr(local, ':') + 1, NULL, 16));
        fd = connect_there(p, strcmp(version, "tcp6") == 0 ? "::1" : "127.0.0.1", port);
        if (fd < 0)
            fd = connect_there(p, "127.0.0.1", port);
    }
    if (f)
        fclose(f);
    return fd;
}

static int connect_served(const struct proc *p)
{
    pid_t tid = proc_thread_named(p->pid, "prof-http");
    int fd = -ENOENT;

    if (!tid)
        return -ENOENT;
    fd = connect_served_unix(p, tid);
    if (fd < 0)
        fd = connect_served_tcp(p, tid, "tcp");
    if (fd < 0)
        fd = connect_served_tcp(p, tid, "tcp6");
    return fd;
}

/* --- processes -------------------------------------------------------------------------------- */

/* By the name that it opens. -ESTALE: another process has it. */
static int connect_control(const struct proc *p)
{
    char name[64];

    for (int i = 0; i < 2; i++) {
        /* The second where two pid namespaces share one of the network. */
        if (i == 0)
            snprintf(name, sizeof(name), "@libprof-%d", (int)p->inner_pid);
        else
            snprintf(name, sizeof(name), "@libprof-%d-%lu", (int)p->inner_pid,
                     (unsigned long)p->pidns);
        int fd = connect_there(p, name, NULL);
        if (fd == -ECONNREFUSED)
            continue;
        if (fd < 0 || peer_of(fd) == p->pid)
            return fd;
        close(fd);
    }
    return -ECONNREFUSED;
}

static int tell_process(const struct proc *p, int error)
{
    int pid = (int)p->pid, has = proc_has_libprof(p->pid);
    char user[64];

    if (has == -ESRCH)
        return ctl_say(CTL_NO_ANSWER, "Process %d (%s) has ended.", pid, p->name);
    if (geteuid() != 0 && geteuid() != p->uid)
        return ctl_say(CTL_NOT_ALLOWED,
                       "Process %d (%s) is of the user %s: only that user and root may ask it.",
                       pid, p->name, proc_user(p->uid, user, sizeof(user)));
    if (error == -EPERM || error == -EACCES)
        return ctl_say(CTL_NOT_ALLOWED,
                       "Process %d (%s) is in a network namespace of its own, and may not be "
                       "entered: run profctl as root.",
                       pid, p->name);
    if (error == -ETIMEDOUT)
        return ctl_say(CTL_NO_ANSWER, "Process %d (%s) does not answer%s.", pid, p->name,
                       p->state == 'T' ? ": it is stopped" : "");
    if (has == 0)
        return ctl_say(CTL_NO_LIBPROF,
                       "Process %d (%s) has no libprof in it. Start it by \"profrun --dormant -- "
                       "PROGRAM\", and it can be asked whenever you want to.",
                       pid, p->name);
    return ctl_say(CTL_NO_LIBPROF,
                   "Process %d (%s) has libprof in it, but does not listen: LIBPROF_CONTROL=0 was "
                   "set, or it is a forked child, which with LIBPROF_CONTROL=children would, or a "
                   "program that has not called prof_http_start(). heap, allocs, mutex, block, "
                   "leaks, holders and threads are told from outside.",
                   pid, p->name);
}

static int connect_process(const struct proc *p)
{
    bool ours = geteuid() == 0 || geteuid() == p->uid;
    int fd = ours ? connect_control(p) : -EPERM;

    if (fd == -ECONNREFUSED || fd == -ENOENT) {
        int served = connect_served(p);

        fd = served == -ENOENT ? fd : served;
    }
    return fd;
}

/* One that has just begun has libprof in it before that listens. */
static int connect_begun(const struct proc *p)
{
    const struct timespec pause = { 0, 50 * 1000 * 1000 };
    int fd = connect_process(p);

    for (int i = 0; i < 20 && p->up_seconds < 2 && (fd == -ECONNREFUSED || fd == -ENOENT) &&
                    proc_has_libprof(p->pid) == 1;
         i++) {
        nanosleep(&pause, NULL);
        fd = connect_process(p);
    }
    return fd;
}

int target_connect(const struct target *t, bool quiet)
{
    int fd;

    if (t->kind == TARGET_PROCESS) {
        fd = quiet ? connect_process(&t->proc) : connect_begun(&t->proc);
        if (fd < 0)
            return quiet ? -CTL_FAILED : -tell_process(&t->proc, fd);
        return fd;
    }
    fd = strncmp(t->host, "unix:", 5) == 0 ? connect_unix(t->host + 5)
                                           : connect_tcp(t->host, t->port);
    if (fd >= 0)
        return fd;
    if (quiet)
        return -CTL_FAILED;
    if (fd == -EACCES || fd == -EPERM)
        return -ctl_say(CTL_NOT_ALLOWED, "%s may not be connected to by you.", t->text);
    if (fd == -EADDRNOTAVAIL)
        return -ctl_say(CTL_NOT_FOUND, "There is no host \"%s\".", t->host);
    return -ctl_say(fd == -ENOENT ? CTL_NOT_FOUND : CTL_NO_ANSWER, "Nobody answers at %s: %s.",
                    t->text, strerror(-fd));
}

int target_is_prepared(const struct target *t)
{
    if (t->kind == TARGET_ADDRESS)
        return 1;
    if (t->kind != TARGET_PROCESS)
        return 0;
    int r = proc_has_libprof(t->proc.pid);
    if (r == 0) { /* linked into the program: no file of that name */
        int fd = connect_control(&t->proc);

        if (fd >= 0)
            close(fd);
        r = fd >= 0;
    }
    return r;
}

bool target_answers(const struct target *t)
{
    int has = target_is_prepared(t), fd;

    if (t->kind != TARGET_PROCESS || has != 1)
        return has != 0;
    fd = connect_begun(&t->proc);
    if (fd >= 0)
        close(fd);
    return fd >= 0 || (fd != -ECONNREFUSED && fd != -ENOENT);
}
