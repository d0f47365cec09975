/*
 * hook.c - a shell in a process of its own, made twice over without a copy of memory.
 *
 * CLONE_VM | CLONE_VFORK: the child runs in our memory, on a stack of its own, while we wait, and
 * no page is copied, no handler of fork() called. It has no exit signal, and ends as soon as its
 * own child has gone over to the shell; so that one belongs to nobody that waits for children.
 */
#include "capture/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/signals.h"

enum { STACK_BYTES = 16 * 1024 };

static const char script[] =
    "while IFS='\t' read -r f r v p; do \"$0\" \"$f\" \"$r\" \"$v\" \"$p\" </dev/null; done";

struct making {
    char *stack; /* two of them */
    const char *path;
    int in, null; /* descriptors of the shell's */
    int error;    /* of execve() */
};

/* In the child's child, which shares our memory until execve(). Signals are blocked, and its
 * handlers would be the program's: they go before signals are let in. */
static int become_shell(void *arg)
{
    struct making *m = arg;
    char *argv[] = { (char[]) { "sh" }, (char[]) { "-c" }, (char *)(uintptr_t)script,
                     (char *)(uintptr_t)m->path, NULL };
    char *envp[] = {
        (char[]) { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }, NULL
    };
    struct sigaction normal = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int s = 1; s < 32; s++)
        syscall(SYS_rt_sigaction, s, &normal, NULL, 8); /* SIGKILL and SIGSTOP: refused */
    syscall(SYS_dup3, m->in, 0, 0);
    syscall(SYS_dup3, m->null, 1, 0);
    syscall(SYS_dup3, m->null, 2, 0);
    syscall(SYS_setsid);
    sigemptyset(&none);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
    syscall(SYS_execve, "/bin/sh", argv, envp);
    m->error = -errno;
    syscall(SYS_exit, 127);
    return 127;
}

/* In the child. */
static int make_shell(void *arg)
{
    struct making *m = arg;

    if (clone(become_shell, m->stack + 2 * STACK_BYTES, CLONE_VM | CLONE_VFORK, m) < 0)
        m->error = -errno;
    syscall(SYS_exit, 0);
    return 0;
}

static int make(struct making *m)
{
    int status;
    pid_t child = clone(make_shell, m->stack + STACK_BYTES, CLONE_VM | CLONE_VFORK, m);

    if (child < 0)
        return -errno;
    while (waitpid(child, &status, __WALL) < 0 && errno == EINTR)
        ;
    return m->error;
}

int prof__hook_start(struct prof__hook *ret, const char *path)
{
    struct making m = { .path = path, .null = -1 };
    int ends[2] = { -1, -1 }, r;

    ret->pipe = -1;
    if (syscall(SYS_pipe2, ends, O_CLOEXEC) < 0)
        return -errno;
    m.in = ends[0];
    m.null = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
    /* Above those that it is given as. */
    int high = (int)syscall(SYS_fcntl, m.in, F_DUPFD_CLOEXEC, 3);
    int out = (int)syscall(SYS_fcntl, ends[1], F_DUPFD_CLOEXEC, 3);
    int null = m.null < 0 ? -1 : (int)syscall(SYS_fcntl, m.null, F_DUPFD_CLOEXEC, 3);
    syscall(SYS_close, ends[0]);
    syscall(SYS_close, ends[1]);
    if (m.null >= 0)
        syscall(SYS_close, m.null);
    m.in = high;
    m.null = null;
    m.stack = prof__pages_map(2 * STACK_BYTES);
    r = high < 0 || out < 0 || null < 0 ? -EMFILE : !m.stack ? -ENOMEM : make(&m);
    if (m.stack)
        prof__pages_unmap(m.stack, 2 * STACK_BYTES);
    if (high >= 0)
        syscall(SYS_close, high);
    if (null >= 0)
        syscall(SYS_close, null);
    if (r == 0) {
        syscall(SYS_fcntl, out, F_SETFL, O_NONBLOCK);
        ret->pipe = out;
    } else if (out >= 0) {
        syscall(SYS_close, out);
    }
    return r;
}

void prof__hook_stop(struct prof__hook *h)
{
    if (h->pipe >= 0)
        syscall(SYS_close, h->pipe);
    h->pipe = -1;
}

bool prof__hook_tell(const struct prof__hook *h, const char *file, const char *rule,
                     const char *value)
{
    char line[1024];
    int n = snprintf(line, sizeof(line), "%s\t%s\t%s\t%d\n", file, rule, *value ? value : "-",
                     (int)getpid());

    /* At most PIPE_BUF bytes go whole or not at all. prof__write(): a shell that has died must not
     * send us SIGPIPE. */
    return h->pipe >= 0 && n > 0 && n < (int)sizeof(line) &&
           prof__write(h->pipe, line, (size_t)n) == n;
}
