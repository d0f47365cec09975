/*
 * sandboxed.c - a sandbox of the kind that browsers have: a seccomp filter answers what is
 * forbidden by SIGSYS (SECCOMP_RET_TRAP), and a handler makes an error of it, in every thread.
 *
 * To a thread that blocks SIGSYS the kernel does not deliver it: it ends the process. So none of
 * libprof's threads, no handler of its, and no moment in which it holds signals off may block it.
 * Which call is forbidden does not matter, each is in turn, before the server starts or after (in a
 * long run: both); nor what is answered then, as long as the program lives.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <prof/http.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "burn.h"
#include "check.h"
#include "long_run.h"

/* What libprof asks the kernel for, and this program can do without. Not clone3() and madvise():
 * libc itself blocks all signals when it makes them, so a sandbox of this kind cannot forbid them.
 */
static const struct {
    const char *name;
    int number;
} calls[] = {
#define CALL(name)        \
    {                     \
#name, SYS_##name \
    }
    CALL(openat),        CALL(close),        CALL(newfstatat),   CALL(fstat),
    CALL(pread64),       CALL(readlink),     CALL(getdents64),   CALL(process_vm_readv),
    CALL(mmap),          CALL(munmap),       CALL(prctl),        CALL(rt_sigpending),
    CALL(tgkill),        CALL(gettid),       CALL(timer_create), CALL(rt_tgsigqueueinfo),
    CALL(timer_settime), CALL(timer_delete), CALL(close_range),  CALL(epoll_create1),
    CALL(sched_yield),   CALL(rt_sigaction), CALL(fcntl),        CALL(clock_nanosleep),
    CALL(getrusage),     CALL(sysinfo),      CALL(getsockname),  CALL(accept4),
#undef CALL
};

enum { N_CALLS = sizeof(calls) / sizeof(calls[0]) };

static atomic_int stop;
static atomic_long trapped;

static void on_sigsys(int signal, siginfo_t *info, void *context)
{
    atomic_fetch_add(&trapped, 1);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = -EPERM;
}

/* In all threads there are. 0 or an errno. */
static int forbid(int number)
{
    struct sigaction a = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

    sigaction(SIGSYS, &a, NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return errno;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0
               ? 0
               : errno;
}

/* At work in all that is sampled. */
static void *works(void *lock)
{
    while (!atomic_load(&stop)) {
        pthread_mutex_lock(lock);
        free(malloc(1000));
        burn(0.0005);
        pthread_mutex_unlock(lock);
        poll(NULL, 0, 1);
    }
    return NULL;
}

static void ask(const char *path, const char *page)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    char buf[4096];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct pollfd p = { fd, POLLIN, 0 };

    strcpy(to.sun_path, path);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
        dprintf(fd, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", page);
        while (poll(&p, 1, 2000) > 0 && read(fd, buf, sizeof(buf)) > 0)
            ;
    }
    syscall(SYS_shutdown, fd, SHUT_RDWR);
}

static int sink(void *arg, const void *data, size_t size)
{
    return 0;
}

static void use_everything(const char *path)
{
    static const char *const pages[] = { "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2",
                                         "/debug/pprof/mutex?debug=1", "/metrics",
                                         "/debug/pprof/profile?seconds=1" };
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    struct prof_window *window;

    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        ask(path, pages[i]);
    if (prof_window_open("profile", &window) == 0) { /* in a thread of the program's, too */
        burn(0.05);
        prof_window_write(window, &options, sink, NULL);
        prof_window_close(window);
    }
    prof_profile_write(prof_lookup("threads"), &options, sink, NULL);
}

/* In a process of its own, which exits by 0. `when`: 'b' before the server is started, 'a' after.
 */
static void live_without(int number, int when)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread[2];
    char path[64], address[80];

    alarm(60);
    snprintf(path, sizeof(path), "/tmp/sandboxed.%d.sock", (int)getpid());
    snprintf(address, sizeof(address), "unix:%s", path);
    prof_set_heap_rate(1);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, works, &lock);
    if (when == 'b' && forbid(number) != 0)
        _exit(2);
    prof_http_start(address); /* or not */
    if (when == 'a' && forbid(number) != 0)
        _exit(2);
    use_everything(path);
    unlink(path);
    _exit(0);
}

static void test_each_call(void)
{
    enum { AT_ONCE = 8 };
    size_t ways = (size_t)long_run(1, 2), n = N_CALLS * ways;

    for (size_t first = 0; first < n; first += AT_ONCE) {
        pid_t child[AT_ONCE];

        for (size_t i = first; i < n && i < first + AT_ONCE; i++) {
            child[i - first] = fork();
            if (child[i - first] == 0)
                live_without(calls[i / ways].number, i % 2 ? 'a' : 'b');
        }
        for (size_t i = first; i < n && i < first + AT_ONCE; i++) {
            int status = 0;

            waitpid(child[i - first], &status, 0);
            CHECK(status == 0, "%s forbidden %s the server starts: status 0x%x",
                  calls[i / ways].name, i % 2 ? "after" : "before", (unsigned)status);
        }
    }
}

int main(void)
{
    test_each_call();
    return check_report();
}
