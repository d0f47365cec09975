/*
 * no_files.c - RLIMIT_NOFILE is 0, as in a sandbox that needs no more files: a client that comes
 * then cannot be let in, and costs nothing; who was let in before is answered; and when files are
 * to be had again, so is the one that waits.
 *
 *   no_files THREAD        the one that serves, by name: a server's, or the control socket's
 *   no_files THREAD poll   the same where a filter of system calls refuses poll()
 *   no_files THREAD sleep  where it refuses clock_nanosleep(), too
 *
 * poll(2) refuses more files than that limit says, and accept(2) any; a loop around them would use
 * a whole processor for ever. Whether the thread sleeps the kernel tells, by counting, and its CPU
 * clock.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <prof/http.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "proc.h"

enum { WATCHDOG_MS = 20000, SLEEPS = 5 };

static const char request[] = "GET /debug/pprof/cmdline HTTP/1.1\r\nHost: localhost\r\n\r\n";

/* Nothing that the filter refuses. */
static void pause_ms(int ms)
{
    unsigned word = 0;

    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &(struct timespec) { 0, ms * 1000000L }, NULL,
            0);
}

/* A file of /proc that tells how often the thread has slept. */
static int open_status(const char *thread)
{
    char path[64];
    pid_t tid = 0;

    for (int ms = 0; proc_threads_named(thread, &tid) == 0 && ms < WATCHDOG_MS; ms += 10)
        pause_ms(10);
    snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)tid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static long number(int status, const char *line)
{
    char text[4096] = "";
    ssize_t n = pread(status, text, sizeof(text) - 1, 0);
    const char *at = n > 0 ? strstr(text, line) : NULL;

    return at ? strtol(strchr(at, ':') + 1, NULL, 10) : -1;
}

static long sleeps(int status)
{
    return number(status, "\nvoluntary_ctxt_switches:");
}

/* Else there is a control socket only, in a process that knows nothing of libprof. */
#ifndef SERVES
#define SERVES 0
#endif

static struct sockaddr_un address;
static socklen_t address_size;

static void find_address(void)
{
    char name[64];

#if SERVES
    snprintf(name, sizeof(name), "unix:@no-files-%d", (int)getpid());
    CHECK_INT(prof_http_start(name), 0, "start");
    memmove(name, name + 6, strlen(name + 6) + 1);
#else
    snprintf(name, sizeof(name), "libprof-%d", (int)getpid());
#endif
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path + 1, name, strlen(name));
    address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}

static bool is_connected(int fd)
{
    int r = -1;

    for (int ms = 0; r != 0 && ms < WATCHDOG_MS; ms++) {
        r = connect(fd, (struct sockaddr *)&address, address_size);
        pause_ms(r != 0);
    }
    return r == 0;
}

/* recv() takes no file, and poll() none where there may be none. */
static void check_answer(int fd, const char *what)
{
    char text[16 * 1024] = "";
    ssize_t n = -1;

    for (int ms = 0; n < 0 && ms < WATCHDOG_MS; ms++) {
        n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
        pause_ms(n < 0);
    }
    CHECK(n > 12 && strncmp(text, "HTTP/1.", 7) == 0, "%s: %.40s", what, n > 0 ? text : "nothing");
}

static void limit_files(rlim_t n)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0, "limit");
}

/* --- poll() is refused ------------------------------------------------------------------------ */

#ifdef SYS_poll
#define SYS_poll_or_ppoll SYS_poll
#else
#define SYS_poll_or_ppoll SYS_ppoll
#endif

static int refuse_poll(bool and_sleep)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_poll_or_ppoll, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, and_sleep ? SYS_clock_nanosleep : SYS_ppoll, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ppoll, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t = { 0 };

    CHECK_INT(clock_gettime(clock, &t), 0, "clock");
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* It was there before the thread. */
static int without_poll(const char *thread)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    find_address();
    int status = open_status(thread);
    /* Its CPU clock, as the kernel numbers them. */
    clockid_t cpu = (clockid_t)(~(unsigned)number(status, "\nPid:") << 3 | 6);
    CHECK(status >= 0, "%s is there", thread);
    int64_t wall_ns = clock_ns(CLOCK_MONOTONIC), cpu_ns = clock_ns(cpu);
    long first = sleeps(status);
    for (int ms = 0; sleeps(status) < first + SLEEPS && ms < WATCHDOG_MS; ms++)
        pause_ms(1);
    CHECK(first >= 0 && sleeps(status) >= first + SLEEPS, "it sleeps: %ld times, then %ld", first,
          sleeps(status));
    cpu_ns = clock_ns(cpu) - cpu_ns;
    wall_ns = clock_ns(CLOCK_MONOTONIC) - wall_ns;
    CHECK(cpu_ns < wall_ns / 2, "idle, it used %ld of %ld us", (long)cpu_ns / 1000,
          (long)wall_ns / 1000);
    CHECK(is_connected(fd), "connected");
    send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
    check_answer(fd, "answered all the same");
    return check_report();
}

int main(int argc, char **argv)
{
    bool and_sleep = argc == 3 && strcmp(argv[2], "sleep") == 0;

    if (and_sleep || (argc == 3 && strcmp(argv[2], "poll") == 0)) {
        if (refuse_poll(and_sleep) < 0)
            return 77;
        execl("/proc/self/exe", argv[0], argv[1], "refused", (char *)NULL);
        return 1;
    }
    if (argc == 3)
        return without_poll(argv[1]);
    int inside = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int outside = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK_INT(argc, 2, "the thread's name");
    find_address();
    int status = open_status(argv[1]);
    CHECK(status >= 0, "%s is there", argv[1]);
    if (SERVES) {
        CHECK(is_connected(inside), "connected before");
        send(inside, request, sizeof(request) - 1, MSG_NOSIGNAL);
        check_answer(inside, "before");
    }

    limit_files(0);
    CHECK(is_connected(outside), "connected");
    send(outside, request, sizeof(request) - 1, MSG_NOSIGNAL);
    for (int i = 0; SERVES && i < 2; i++) {
        send(inside, request, sizeof(request) - 1, MSG_NOSIGNAL);
        check_answer(inside, "let in before");
    }
    long first = sleeps(status);
    for (int ms = 0; sleeps(status) < first + SLEEPS && ms < WATCHDOG_MS; ms++)
        pause_ms(1);
    CHECK(first >= 0 && sleeps(status) >= first + SLEEPS, "it sleeps: %ld times, then %ld", first,
          sleeps(status));

    limit_files(1024);
    check_answer(outside, "let in when there are files");
    return check_report();
}
