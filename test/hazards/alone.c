/*
 * alone.c - what a process of one thread may do, it may with a server in it.
 *
 * Guards: a thread that libprof has made refuses the program nothing, ends it over nothing, and
 * keeps nothing that the program has given up: namespaces, credentials, capabilities. And who is
 * connected meanwhile is served.
 *
 * Each case is a process of its own, with a client that is another. What this machine does not
 * allow without libprof is left out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <prof/http.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"
#include "proc.h"

enum { LIMIT_S = 90, NOBODY = 65534 };

int capset(void *header, const void *data);

static char address[64];

/* --- a client --------------------------------------------------------------------------------- */

static int connected(void)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t n = strlen(address + 6);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(to.sun_path + 1, address + 6, n); /* "unix:@NAME" */
    if (connect(fd, (struct sockaddr *)&to,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void send_request(int fd, const char *page)
{
    dprintf(fd, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", page);
}

/* The status of the next answer, which is read to its end; 0: there is none. */
static int answer(int fd)
{
    char head[4096], body[65536];
    size_t n = 0, left = 0;

    for (head[0] = '\0'; !strstr(head, "\r\n\r\n") && n < sizeof(head) - 1; head[n] = '\0')
        if (read(fd, head + n++, 1) != 1)
            return 0;
    const char *length = strcasestr(head, "\r\nContent-Length: ");
    for (left = length ? strtoul(length + 18, NULL, 10) : 0; left > 0;) {
        ssize_t got = read(fd, body, left < sizeof(body) ? left : sizeof(body));

        if (got <= 0)
            return 0;
        left -= (size_t)got;
    }
    return atoi(head + 9);
}

static int ask(const char *page)
{
    int fd = connected(), status = 0;

    if (fd >= 0) {
        send_request(fd, page);
        status = answer(fd);
        close(fd);
    }
    return status;
}

/* --- what is seen of a thread ----------------------------------------------------------------- */

/* The server's thread, or 0. */
static pid_t server_thread(void)
{
    pid_t tid = 0;

    proc_threads_named("prof-http", &tid);
    return tid;
}

static void line_of(pid_t tid, const char *name, char *ret, size_t size)
{
    char path[64], text[8192] = "";

    snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)tid);
    int fd = open(path, O_RDONLY);
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
        text[0] = '\0';
    close(fd);
    const char *line = strstr(text, name);
    snprintf(ret, size, "%.*s", line ? (int)strcspn(line, "\n") : 0, line ? line : "");
}

static void check_same_as_ours(const char *when)
{
    static const char *const lines[] = { "Uid:",    "Gid:",    "Groups:", "CapInh:",
                                         "CapPrm:", "CapEff:", "CapBnd:" };
    static const char *const spaces[] = { "user", "mnt", "pid", "net" };
    pid_t tid = server_thread(), own = (pid_t)syscall(SYS_gettid);

    CHECK(tid != 0, "%s: there is a server's thread", when);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char mine[4096], its[4096];

        line_of(own, lines[i], mine, sizeof(mine));
        line_of(tid, lines[i], its, sizeof(its));
        CHECK(*mine && strcmp(mine, its) == 0, "%s: its \"%s\", the program's \"%s\"", when, its,
              mine);
    }
    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
        char path[96], mine[64] = "", its[64] = "x";

        snprintf(path, sizeof(path), "/proc/self/task/%d/ns/%s", (int)own, spaces[i]);
        CHECK(readlink(path, mine, sizeof(mine) - 1) > 0, "%s", path);
        snprintf(path, sizeof(path), "/proc/self/task/%d/ns/%s", (int)tid, spaces[i]);
        CHECK(readlink(path, its, sizeof(its) - 1) > 0, "%s", path);
        CHECK(strcmp(mine, its) == 0, "%s: its %s, the program's %s", when, its, mine);
    }
}

static int count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* --- the calls -------------------------------------------------------------------------------- */

static int set_capabilities(uint32_t effective, uint32_t permitted)
{
    struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct d[2] = { { effective, permitted, 0 } };

    return capset(&h, d);
}

static int user_namespace(void)
{
    return unshare(CLONE_NEWUSER);
}

static int user_and_mounts(void)
{
    return unshare(CLONE_NEWUSER | CLONE_NEWNS);
}

static int mounts(void)
{
    return unshare(CLONE_NEWNS);
}

static int own_root(void)
{
    return unshare(CLONE_FS) == 0 && chroot("/proc/self/root") == 0 ? 0 : -1;
}

static int enter_mounts(void)
{
    int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), r = setns(fd, CLONE_NEWNS);

    close(fd);
    return r;
}

/* With a root of its own, which nobody has seen it take, and so not refused; and with no word of
 * what kind of namespace it is. */
static int enter_other_mounts(void)
{
    char path[64], byte;
    int ready[2], r = -1;

    if (pipe(ready) != 0)
        return -1;
    pid_t other = (pid_t)syscall(SYS_fork); /* without handlers, with nothing of ours in it */
    if (other == 0) {
        if (unshare(CLONE_NEWNS) == 0 && write(ready[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) == 1) {
        snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)other);
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        r = syscall(SYS_unshare, CLONE_FS) == 0 ? setns(fd, 0) : -1;
        close(fd);
    }
    close(ready[0]);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    return r;
}

static int nobody(void)
{
    return setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
                   setresuid(NOBODY, NOBODY, NOBODY) == 0
               ? 0
               : -1;
}

/* As a service does that keeps a right or two. */
static int nobody_with_capabilities(void)
{
    uint32_t keep = 1u << CAP_SETGID | 1u << CAP_NET_BIND_SERVICE;

    return prctl(PR_SET_KEEPCAPS, 1) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0 &&
                   set_capabilities(keep, keep) == 0 && setgroups(0, NULL) == 0 &&
                   initgroups("nobody", NOBODY) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0
               ? 0
               : -1;
}

/* The kernel's call itself, which nobody hooks: only the next one shows what it did. */
static int nobody_by_system_calls(void)
{
    struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct d[2] = { { 1u << CAP_SETGID, 1u << CAP_SETGID, 0 } };

    return prctl(PR_SET_KEEPCAPS, 1) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0 &&
                   syscall(SYS_capset, &h, d) == 0 && setgroups(0, NULL) == 0
               ? 0
               : -1;
}

static int no_capabilities(void)
{
    return set_capabilities(0, 0);
}

static const struct {
    const char *name;
    int (*call)(void);
} calls[] = {
    { "unshare(CLONE_NEWUSER)", user_namespace },
    { "unshare(CLONE_NEWUSER | CLONE_NEWNS)", user_and_mounts },
    { "unshare(CLONE_NEWNS)", mounts },
    { "unshare(CLONE_FS), chroot()", own_root },
    { "setns(CLONE_NEWNS)", enter_mounts },
    { "unshare(CLONE_FS), setns(0)", enter_other_mounts },
    { "setgroups(), setresgid(), setresuid()", nobody },
    { "the same, keeping capabilities", nobody_with_capabilities },
    { "the same, by system calls", nobody_by_system_calls },
    { "capset(nothing)", no_capabilities },
};

/* --- each of them, with clients --------------------------------------------------------------- */

static void serve(void)
{
    alarm(LIMIT_S);
    snprintf(address, sizeof(address), "unix:@alone-%d", (int)getpid());
    CHECK_INT(prof_http_start(address), 0, prof_last_error());
}

static int sink(void *arg, const void *data, size_t size)
{
    return 0;
}

static int in_child(void (*body)(size_t), size_t i)
{
    int status = 0;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        check_passed = check_failed = 0;
        body(i);
        if (check_failed == 0)
            _exit(0);
        fflush(stdout);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    return status;
}

static void alone_without_libprof(size_t i)
{
    CHECK_INT(calls[i].call(), 0, "without libprof");
}

static void call_with_clients(size_t i)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    struct prof_window *window = NULL;

    serve();
    int before = count_descriptors();
    int idle = connected(), waiting = connected(), profile = connected();
    send_request(idle, "/debug/pprof/heap");
    CHECK_INT(answer(idle), 200, "a first request");
    send_request(waiting, "/debug/pprof/heap?seconds=1");
    send_request(profile, "/debug/pprof/profile?seconds=1");
    CHECK_INT(ask("/debug/pprof/cmdline"), 200, "those before have been read");
    CHECK_INT(prof_window_open("profile", &window), 0, "a CPU profile of the program's own");

    CHECK_INT(calls[i].call(), 0, strerror(errno));

    CHECK_INT(prof_window_write(window, &options, sink, NULL), 0, "the CPU profile went on");
    prof_window_close(window);
    send_request(idle, "/debug/pprof/heap");
    CHECK_INT(answer(idle), 200, "an idle connection goes on");
    CHECK_INT(answer(waiting), 200, "a wait goes on");
    CHECK_INT(answer(profile), 200, "a CPU profile goes on");
    CHECK_INT(ask("/metrics"), 200, "a new connection");
    check_same_as_ours(calls[i].name);
    close(idle);
    close(waiting);
    close(profile);
    CHECK_INT(count_descriptors(), before, "descriptors of the program's");
    CHECK_INT(prof_http_stop(), 0, "stop");
    CHECK_INT(ask("/"), 0, "nobody answers any more");
}

static void test_each_call(void)
{
    long n = 0;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        int null = open("/dev/null", O_WRONLY), out = dup(1);

        dup2(null, 1); /* its complaint is no news */
        int without = in_child(alone_without_libprof, i);
        dup2(out, 1);
        close(out);
        close(null);
        if (without != 0) {
            printf("skipped, not allowed here: %s\n", calls[i].name);
            continue;
        }
        CHECK(in_child(call_with_clients, i) == 0, "%s", calls[i].name);
        n++;
    }
    MEASURED("%ld of %zu calls are allowed here", n, sizeof(calls) / sizeof(calls[0]));
}

/* --- odd moments ------------------------------------------------------------------------------ */

/* A thread that no profile shows is the program's all the same. */
static void by_a_hidden_thread(size_t ignored)
{
    serve();
    CHECK_INT(ask("/metrics"), 200, "before");
    prof_thread_hide();
    CHECK_INT(unshare(CLONE_NEWUSER), 0, strerror(errno));
    CHECK_INT(ask("/metrics"), 200, "after");
    check_same_as_ours("a hidden thread");
    prof_http_stop();
}

/* Where a thread can be made no more, serving ends, and with it who is connected. */
static void no_more_threads(size_t ignored)
{
    char where[64];

    serve();
    int fd = connected();
    send_request(fd, "/debug/pprof/heap?seconds=600");
    CHECK_INT(ask("/debug/pprof/cmdline"), 200, "that before has been read");
    CHECK_INT(unshare(CLONE_NEWUSER | CLONE_NEWPID), 0, strerror(errno));
    CHECK_INT(answer(fd), 0, "the client sees an end");
    CHECK_INT(prof_http_address(where, sizeof(where)), -ENOTCONN, "and so does the program");
    CHECK_INT(ask("/"), 0, "nobody listens");
}

static void *waits(void *pipe)
{
    char byte;

    return (void *)(intptr_t)read(*(int *)pipe, &byte, 1);
}

/* A program with threads of its own is told what it would be without libprof, and is left alone. */
static void threads_of_its_own(size_t ignored)
{
    int fds[2];
    pthread_t thread;

    CHECK_INT(pipe(fds), 0, "a pipe");
    pthread_create(&thread, NULL, waits, fds);
    serve();
    pid_t before = server_thread();
    CHECK(unshare(CLONE_NEWUSER) < 0 && errno == EINVAL, "refused as ever");
    CHECK(server_thread() == before, "the server's thread stayed");
    CHECK_INT(ask("/metrics"), 200, "and serves");
    close(fds[1]);
    pthread_join(thread, NULL);
}

/* Children, of any kind, have no thread of ours: their calls are not the parent's affair. */
static void children(size_t ignored)
{
    int status;

    serve();
    pid_t before = server_thread(), pid = vfork();
    if (pid == 0)
        _exit(setuid(getuid()) != 0 || unshare(CLONE_NEWUSER) != 0);
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0, "a child of vfork()");
    pid = fork();
    if (pid == 0)
        _exit(setuid(getuid()) != 0 || unshare(CLONE_NEWUSER) != 0);
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0, "a child of fork()");
    pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(setuid(getuid()) != 0 || unshare(CLONE_NEWUSER) != 0);
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0, "a child of clone()");
    CHECK(server_thread() == before, "the server's thread stayed");
    CHECK_INT(ask("/metrics"), 200, "and serves");
}

static atomic_int *asked;

/* Clients all the while, each with one connection or many. */
static pid_t client(bool one_connection)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    int fd = connected();
    for (;;) {
        int status = 0;

        if (one_connection) {
            send_request(fd, "/debug/pprof/heap");
            status = answer(fd);
        } else {
            status = ask("/debug/pprof/mutex");
        }
        if (status != 200)
            _exit(1);
        atomic_fetch_add(asked, 1);
    }
}

static void again_and_again(size_t ignored)
{
    long n = long_run(40, 2000);
    pid_t clients[4];
    int status;

    if (set_capabilities(1u << CAP_SETUID, 1u << CAP_SETUID) != 0)
        CHECK_INT(unshare(CLONE_NEWUSER), 0, "some capabilities are to be had");
    asked = mmap(NULL, sizeof(*asked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    serve();
    for (int i = 0; i < 4; i++)
        clients[i] = client(i % 2);
    for (long i = 0; i < n; i++) { /* each way another set, so that the thread must leave */
        int before = atomic_load(asked);

        CHECK_INT(set_capabilities(i % 2 ? 0 : 1u << CAP_SETUID, 1u << CAP_SETUID), 0, "capset()");
        while (atomic_load(asked) < before + 2 && waitpid(-1, &status, WNOHANG) == 0)
            sched_yield();
    }
    for (int i = 0; i < 4; i++) {
        CHECK(waitpid(clients[i], &status, WNOHANG) == 0, "client %d has always been answered", i);
        kill(clients[i], SIGKILL);
        waitpid(clients[i], NULL, 0);
    }
    check_same_as_ours("at the end");
    MEASURED("%ld times the server's thread made room, while %d requests were answered", n,
             atomic_load(asked));
}

/* A request is being answered. */
static struct {
    atomic_bool entered, may_end;
    int ms; /* 0: until it may */
} slow;

static int slow_metrics(void *arg, prof_sink_fn *to, void *to_arg)
{
    atomic_store(&slow.entered, true);
    for (int ms = 0; slow.ms ? ms < slow.ms : !atomic_load(&slow.may_end); ms += 5)
        usleep(5000);
    return 0;
}

static int ask_slowly(int ms)
{
    int fd = connected();

    slow.ms = ms;
    atomic_store(&slow.entered, false);
    send_request(fd, "/metrics");
    while (!atomic_load(&slow.entered))
        sched_yield();
    return fd;
}

static void deep_in_a_request(size_t ignored)
{
    prof_metrics_add(slow_metrics, NULL);
    serve();
    int fd = ask_slowly(300);
    CHECK_INT(unshare(CLONE_NEWUSER), 0, strerror(errno));
    CHECK_INT(answer(fd), 200, "a request under way is answered");
    check_same_as_ours("after a request");
    close(fd);
    fd = connected(); /* a scan, in a thread of its own, cannot be taken up by another */
    send_request(fd, "/debug/pprof/leaks");
    CHECK_INT(ask("/debug/pprof/cmdline"), 200, "that before has been read");
    CHECK_INT(set_capabilities(0, 0), 0, "capset()");
    int status = answer(fd);
    CHECK(status == 200 || status == 503, "it is done, or ends with a word: %d", status);
    CHECK_INT(ask("/debug/pprof/leaks"), 200, "and there are others");
    close(fd);
}

/* For longer than the program is made to wait: then its call is refused, and nothing else happens.
 */
static void too_deep_in_a_request(size_t ignored)
{
    prof_metrics_add(slow_metrics, NULL);
    serve();
    int idle = connected(), fd;
    send_request(idle, "/debug/pprof/heap");
    CHECK_INT(answer(idle), 200, "a first request");
    fd = ask_slowly(0);
    CHECK(unshare(CLONE_NEWUSER) < 0 && errno == EINVAL, "refused");
    atomic_store(&slow.may_end, true);
    CHECK_INT(answer(fd), 200, "the request is answered");
    send_request(idle, "/debug/pprof/heap");
    CHECK_INT(answer(idle), 200, "another connection goes on");
    CHECK_INT(unshare(CLONE_NEWUSER), 0, "when it is over, so is the refusal");
    CHECK_INT(ask("/debug/pprof/heap"), 200, "and there are new connections");
    check_same_as_ours("after a long request");
    CHECK_INT(prof_http_stop(), 0, "stop");
}

int main(void)
{
    test_each_call();
    CHECK_INT(in_child(by_a_hidden_thread, 99), 0, "by a hidden thread");
    CHECK_INT(in_child(threads_of_its_own, 99), 0, "threads of its own");
    CHECK_INT(in_child(children, 99), 0, "children");
    CHECK_INT(in_child(again_and_again, 99), 0, "again and again");
    CHECK_INT(in_child(no_more_threads, 99), 0, "no more threads");
    CHECK_INT(in_child(deep_in_a_request, 99), 0, "deep in a request");
    if (long_run(0, 1))
        CHECK_INT(in_child(too_deep_in_a_request, 99), 0, "too deep in a request");
    return check_report();
}
