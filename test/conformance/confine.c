/*
 * confine.c - runs a program as a locked-down container would: without /proc, and with system calls
 * refused.
 *
 *   confine [no-proc] [CALL:ERRNO].. PROGRAM
 *
 * The program has the same process id and may become nothing more privileged. Exit status 77:
 * something asked for cannot be had here; standard error says what.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    const char *name;
    long number;
} calls[] = {
    { "getdents64", SYS_getdents64 },
    { "process_vm_readv", SYS_process_vm_readv },
    { "timer_create", SYS_timer_create },
};

/* An empty directory in place of /proc, seen by nobody else. */
static int hide_proc(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "/proc", "tmpfs", MS_RDONLY, NULL) < 0)
        return -errno;
    return 0;
}

static int refuse_call(long number, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return -errno;
    return 0;
}

static int refuse(const char *what)
{
    const char *colon = strchr(what, ':');

    for (size_t i = 0; colon && i < sizeof(calls) / sizeof(calls[0]); i++)
        if (strncmp(what, calls[i].name, (size_t)(colon - what)) == 0 &&
            strlen(calls[i].name) == (size_t)(colon - what))
            return refuse_call(calls[i].number, atoi(colon + 1));
    return -EINVAL;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc - 1; i++) {
        int r = strcmp(argv[i], "no-proc") == 0 ? hide_proc() : refuse(argv[i]);

        if (r < 0) {
            fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
            return 77;
        }
    }
    if (argc > 1)
        execv(argv[argc - 1], argv + argc - 1);
    perror("exec");
    return 1;
}
