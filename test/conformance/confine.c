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
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "forbid.h"

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

static int refuse(const char *what)
{
    const char *colon = strchr(what, ':');

    for (size_t i = 0; colon && i < sizeof(calls) / sizeof(calls[0]); i++)
        if (strncmp(what, calls[i].name, (size_t)(colon - what)) == 0 &&
            strlen(calls[i].name) == (size_t)(colon - what))
            return forbid(calls[i].number, atoi(colon + 1));
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
