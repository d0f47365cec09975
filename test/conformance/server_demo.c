/*
 * server_demo.c - a program that does what the conformance tests tell it, with libprof-http.
 *
 * One command a line on standard input, one line of answer on standard output:
 *
 *   start ADDR [TOKEN [HOSTS]]
 *                         0, or the errno and the reason; a TOKEN of "-" is none
 *   stop                  0, or the errno and the reason
 *   address               where it listens, or the errno
 *   restart N             start and stop on one port, N times; how often both went well
 *   contend N             two threads start and stop, N times each; 0, or the first odd errno
 *   options SIZE          start with options that claim SIZE bytes, all beyond the known ones set
 *   metrics NAME          a metric of that name on /metrics; "fail": one that fails; "hold": one
 *                         that does not return until it is released; 0
 *   held                  how many threads are in that one
 *   release               let it return; how many at most have been in it at a time
 *   profile NAME          make one; 0, or the errno and the reason
 *   symbols               addresses of two functions, and of their names
 *   add N                 N more keys in the profile my.custom
 *   feed N SIZE           N blocks fed to the heap profile
 *   label KEY VALUE       what is fed from now on carries it; 0
 *   spin N                N threads at work, the first labelled worker=A, the second worker=B; 0 to
 *                         end them
 *   wait NS WAITERS       watch waiting, every time; then a wait of NS, and an unlock for which
 *                         WAITERS had waited NS together; 0
 *   fork                  a child that serves an address of its own; where, once it does
 *   fork-idle             a child that just lives; its pid
 *   reap                  end that child; its exit status
 *   umask OCTAL           0
 *   close FROM            close every descriptor from FROM on; 0
 *   open N                open N descriptors; 0
 *   listen                make a listening socket; its number and its port
 *   deny-close-range      let close_range() fail from now on, as an old kernel or a filter does
 *   limit-files N         RLIMIT_NOFILE; 0
 *   exhaust               take all memory that malloc gives, down to the smallest blocks, with no
 *                         address space left; how many MiB that were
 *   drop-capabilities     of the main thread, by the system call; 0
 *   write-title           overwrite argv, as programs do that set their title for ps; 0
 *
 * At the end of input it returns from main(), still serving if it was.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "forbid.h"

static struct prof_profile *custom;
static pid_t child;
static int child_pipe[2] = { -1, -1 }; /* the child lives until this is closed */

__attribute__((noinline)) extern int known_function(int x);

int known_function(int x)
{
    return x * 3 + 1;
}

__attribute__((noinline)) static int static_function(int x)
{
    return x * 5 + 1;
}

static void answer(int r)
{
    if (r < 0)
        printf("%d %s\n", r, prof_last_error());
    else
        printf("%d\n", r);
}

static pthread_mutex_t hold_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hold_changed = PTHREAD_COND_INITIALIZER;
static int held, held_most;
static bool released;

static void hold(void)
{
    pthread_mutex_lock(&hold_lock);
    held++;
    if (held > held_most)
        held_most = held;
    while (!released)
        pthread_cond_wait(&hold_changed, &hold_lock);
    held--;
    pthread_mutex_unlock(&hold_lock);
}

static int count_held(void)
{
    pthread_mutex_lock(&hold_lock);
    int n = held;
    pthread_mutex_unlock(&hold_lock);
    return n;
}

static int release(void)
{
    pthread_mutex_lock(&hold_lock);
    released = true;
    pthread_cond_broadcast(&hold_changed);
    int most = held_most;
    pthread_mutex_unlock(&hold_lock);
    return most;
}

/* A family of the program's own; without its last newline, which the server is to add. */
static int own_metric(void *name, prof_sink_fn *sink, void *sink_arg)
{
    char text[256];

    if (strcmp(name, "fail") == 0)
        return -EIO;
    if (strcmp(name, "hold") == 0)
        hold();
    int n = snprintf(text, sizeof(text), "# HELP %s Made for a test.\n# TYPE %s counter\n%s 7",
                     (char *)name, (char *)name, (char *)name);
    return sink(sink_arg, text, (size_t)n);
}

static int start(const char *addr, const char *token, const char *hosts)
{
    struct prof_http_options opts = PROF_HTTP_OPTIONS_INIT;

    if (!token)
        return prof_http_start(strcmp(addr, "NULL") == 0 ? NULL : addr);
    opts.token = strcmp(token, "-") == 0 ? NULL : token;
    opts.hosts = hosts;
    return prof_http_start_options(addr, &opts);
}

static int restart(int n)
{
    char addr[64];
    int good = 0;

    if (prof_http_start("127.0.0.1:0") < 0)
        return 0;
    prof_http_address(addr, sizeof(addr));
    for (int i = 0; i < n; i++)
        good += prof_http_stop() == 0 && prof_http_start(addr) == 0;
    prof_http_stop();
    return good;
}

static void *contend(void *arg)
{
    for (long i = 0; i < (long)arg; i++) {
        int r = i % 2 ? prof_http_stop() : prof_http_start("127.0.0.1:0");

        if (r != 0 && r != -EALREADY)
            return (void *)(long)r;
    }
    return NULL;
}

static long contend_all(long n)
{
    pthread_t threads[2];
    long first = 0;

    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, contend, (void *)n);
    for (int i = 0; i < 2; i++) {
        void *r;

        pthread_join(threads[i], &r);
        first = first ? first : (long)r;
    }
    prof_http_stop();
    return first;
}

static int start_with_options(size_t size)
{
    unsigned char bytes[256] = { 0 };
    struct prof_http_options known = PROF_HTTP_OPTIONS_INIT;

    memcpy(bytes, &known, sizeof(known));
    memset(bytes + sizeof(known), 1, sizeof(bytes) - sizeof(known));
    memcpy(bytes, &size, sizeof(size));
    return prof_http_start_options("127.0.0.1:0", (const struct prof_http_options *)bytes);
}

/* The child writes its address, or an errno, into `ready`, and lives until its pipe closes. */
__attribute__((noreturn)) static void live_as_child(int ready, const char *addr)
{
    char line[128], byte;
    int r = 0;

    close(child_pipe[1]);
    if (addr) {
        if (prof_http_address(line, sizeof(line)) != -ENOTCONN)
            _exit(2); /* the parent's server is not ours */
        r = prof_http_start(addr);
        if (r < 0)
            snprintf(line, sizeof(line), "%d %s", r, prof_last_error());
        else
            prof_http_address(line, sizeof(line));
        dprintf(ready, "%s\n", line);
    }
    close(ready);
    while (read(child_pipe[0], &byte, 1) < 0 && errno == EINTR)
        ;
    if (addr && r == 0)
        r = prof_http_stop();
    exit(r < 0);
}

static void make_child(const char *addr)
{
    int ready[2];
    char line[256] = "the child said nothing\n";

    if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(child_pipe, O_CLOEXEC) < 0) {
        printf("%d no pipe\n", -errno);
        return;
    }
    fflush(stdout);
    child = fork();
    if (child == 0) {
        close(ready[0]);
        live_as_child(ready[1], addr);
    }
    close(ready[1]);
    close(child_pipe[0]);
    if (addr) {
        ssize_t n = read(ready[0], line, sizeof(line) - 1);
        if (n > 0)
            line[n] = '\0';
        fputs(line, stdout);
    } else {
        printf("%d\n", (int)child);
    }
    close(ready[0]);
}

static int reap(void)
{
    int status = 0;

    close(child_pipe[1]);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int make_listener(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, size) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &size) < 0)
        return -errno;
    printf("%d %d\n", fd, ntohs(addr.sin_port));
    return 0;
}

static int feed(long n, size_t size)
{
    static char blocks[65536]; /* only their addresses matter */
    static size_t used;

    for (long i = 0; i < n && used < sizeof(blocks); i++)
        if (prof_heap_alloc(&blocks[used++], size) < 0)
            return -1;
    return 0;
}

static atomic_bool spinning;
static pthread_t spinners[16];
static long spinner_count;

__attribute__((noinline)) static void *spin(void *worker)
{
    volatile unsigned work = 0;

    if (worker)
        prof_labels_push("worker", worker);
    /* Relaxed: a flag and nothing behind it. */
    while (atomic_load_explicit(&spinning, memory_order_relaxed))
        work++;
    if (worker)
        prof_labels_pop();
    return NULL;
}

static int spin_threads(long n)
{
    static char workers[][2] = { "A", "B" };
    int r = 0;

    atomic_store_explicit(&spinning, false, memory_order_relaxed);
    while (spinner_count > 0)
        pthread_join(spinners[--spinner_count], NULL);
    atomic_store_explicit(&spinning, true, memory_order_relaxed);
    for (; spinner_count < n && spinner_count < 16 && r == 0; spinner_count += r == 0)
        r = pthread_create(&spinners[spinner_count], NULL, spin,
                           spinner_count < 2 ? workers[spinner_count] : NULL);
    return -r;
}

static int record_waits(int64_t wait_ns, int waiters)
{
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    int r = prof_block_record(wait_ns, 0);
    return r < 0 ? r : prof_mutex_record(wait_ns, waiters, 0);
}

static int add_keys(long n)
{
    static char keys[65536];
    static size_t used;

    for (long i = 0; i < n && used < sizeof(keys); i++)
        if (prof_profile_add(custom, &keys[used++], 0) < 0)
            return -1;
    return 0;
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2];

    memset(none, 0, sizeof(none));
    return syscall(SYS_capset, &h, none) == 0 ? 0 : -errno;
}

static int limit_files(rlim_t n)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = n;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

/* In a list, from the largest blocks to the smallest. */
static long exhaust(void)
{
    static void **all;
    struct rlimit limit;
    char text[64] = "";
    size_t taken = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    close(fd);
    if (n <= 0 || getrlimit(RLIMIT_AS, &limit) < 0)
        return -1;
    limit.rlim_cur = strtoul(text, NULL, 10) * 4096;
    setrlimit(RLIMIT_AS, &limit);
    for (size_t size = 1 << 20; size >= 16; size /= 2)
        for (void **p; (p = malloc(size)) != NULL; all = p, taken += size)
            *p = all;
    return (long)(taken >> 20);
}

static void obey(const char *command, const char *a, const char *b, const char *c, char **argv)
{
    struct prof_profile *made;
    char address[512];
    long n = a ? strtol(a, NULL, 0) : 0;

    if (strcmp(command, "start") == 0 && a) {
        answer(start(a, b, c));
    } else if (strcmp(command, "stop") == 0) {
        answer(prof_http_stop());
    } else if (strcmp(command, "address") == 0) {
        int r = prof_http_address(address, sizeof(address));
        printf(r < 0 ? "%d\n" : "%.0d%s\n", r < 0 ? r : 0, address);
    } else if (strcmp(command, "restart") == 0) {
        answer(restart((int)n));
    } else if (strcmp(command, "contend") == 0) {
        printf("%ld\n", contend_all(n));
    } else if (strcmp(command, "options") == 0) {
        answer(start_with_options((size_t)n));
    } else if (strcmp(command, "symbols") == 0) {
        printf("%#lx known_function %#lx static_function\n", (unsigned long)known_function,
               (unsigned long)static_function);
    } else if (strcmp(command, "add") == 0) {
        answer(add_keys(n));
    } else if (strcmp(command, "metrics") == 0 && a) {
        answer(prof_metrics_add(own_metric, strdup(a))); /* kept for good */
    } else if (strcmp(command, "held") == 0) {
        answer(count_held());
    } else if (strcmp(command, "release") == 0) {
        answer(release());
    } else if (strcmp(command, "profile") == 0) {
        answer(prof_profile_new(a, &made));
    } else if (strcmp(command, "feed") == 0 && b) {
        answer(feed(n, strtoul(b, NULL, 0)));
    } else if (strcmp(command, "label") == 0 && b) {
        answer(prof_labels_push(a, b));
    } else if (strcmp(command, "spin") == 0) {
        answer(spin_threads(n));
    } else if (strcmp(command, "wait") == 0 && b) {
        answer(record_waits(n, (int)strtol(b, NULL, 0)));
    } else if (strcmp(command, "fork") == 0) {
        make_child("127.0.0.1:0");
    } else if (strcmp(command, "fork-idle") == 0) {
        make_child(NULL);
    } else if (strcmp(command, "reap") == 0) {
        printf("%d\n", reap());
    } else if (strcmp(command, "umask") == 0 && a) {
        umask((mode_t)strtol(a, NULL, 8));
        answer(0);
    } else if (strcmp(command, "close") == 0) {
        for (int fd = (int)n; fd < 1024; fd++)
            close(fd);
        answer(0);
    } else if (strcmp(command, "open") == 0) {
        for (long i = 0; i < n; i++)
            (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
        answer(0);
    } else if (strcmp(command, "listen") == 0) {
        int r = make_listener();
        if (r < 0)
            answer(r);
    } else if (strcmp(command, "deny-close-range") == 0) {
        answer(forbid(SYS_close_range, EPERM));
    } else if (strcmp(command, "limit-files") == 0) {
        answer(limit_files((rlim_t)n));
    } else if (strcmp(command, "exhaust") == 0) {
        printf("%ld\n", exhaust());
    } else if (strcmp(command, "drop-capabilities") == 0) {
        answer(drop_capabilities());
    } else if (strcmp(command, "write-title") == 0) {
        memset(argv[0], 'X', strlen(argv[0]));
        answer(0);
    } else {
        printf("unknown command\n");
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[2048];

    signal(SIGPIPE, SIG_IGN); /* a test that ended early is no crash of ours */
    prof_set_heap_rate(1);
    if (prof_profile_new("my.custom", &custom) < 0 || add_keys(1) < 0)
        return 1;
    while (fgets(line, sizeof(line), stdin)) {
        char *rest = line;
        const char *command = strsep(&rest, " \n");
        const char *a = rest ? strsep(&rest, " \n") : NULL;
        const char *b = rest ? strsep(&rest, " \n") : NULL;
        const char *c = rest ? strsep(&rest, " \n") : NULL;

        obey(command, a && *a ? a : NULL, b && *b ? b : NULL, c && *c ? c : NULL, argv);
    }
    return known_function(argc) + static_function(argc) == 0;
}
