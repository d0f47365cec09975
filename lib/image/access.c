/*
 * access.c - may that process be read? ptrace(2), "Ptrace access mode checking", in sentences.
 */
#include <errno.h>
#include <fcntl.h>
#include <prof/prof.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/foreign.h"

enum { CAP_SYS_PTRACE_BIT = 19 }; /* linux/capability.h */

static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

    if (fd >= 0)
        close(fd);
    text[PROF_MAX(n, 0)] = '\0';
    return n > 0;
}

/* A line of /proc/PID/status, "Name:\tvalue". */
static bool status_number(const char *status, const char *name, int base, unsigned long long *ret)
{
    const char *line = strstr(status, name);

    if (!line)
        return false;
    *ret = strtoull(line + strlen(name), NULL, base);
    return true;
}

static bool may_trace_all(void)
{
    char status[4096];
    unsigned long long set = 0;

    return read_text("/proc/self/status", status, sizeof(status)) &&
           status_number(status, "\nCapEff:\t", 16, &set) && set >> CAP_SYS_PTRACE_BIT & 1;
}

static const char *user_name(uid_t uid, char *buf, size_t size)
{
    struct passwd *p = getpwuid(uid);

    if (p)
        snprintf(buf, size, "%s", p->pw_name);
    else
        snprintf(buf, size, "uid %u", (unsigned)uid);
    return buf;
}

int prof__image_refused(pid_t pid)
{
    char path[64], status[4096], scope[16] = "", whose[64];
    unsigned long long uid = 0, traced_by = 0;
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (!read_text(path, status, sizeof(status)))
        return prof_set_last_error(-ESRCH, "there is no process %d", (int)pid);
    status_number(status, "\nUid:\t", 10, &uid);
    status_number(status, "\nTracerPid:\t", 10, &traced_by);
    read_text("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof(scope));
    if (may_trace_all())
        return prof_set_last_error(
            -EPERM,
            scope[0] == '3'
                ? "process %d may not be read: kernel.yama.ptrace_scope is 3, which lasts until "
                  "the "
                  "machine is started again"
                : "process %d may not be read, though profctl has CAP_SYS_PTRACE: a security "
                  "module "
                  "(see dmesg) or a user namespace that is not an ancestor's forbids it; try it on "
                  "the host",
            (int)pid);
    if (uid != geteuid())
        return prof_set_last_error(
            -EPERM, "process %d is %s's: sudo profctl ..., or sudo -u %s profctl ...", (int)pid,
            user_name((uid_t)uid, whose, sizeof(whose)), whose);
    if (scope[0] == '2' || scope[0] == '3')
        return prof_set_last_error(-EPERM,
                                   "process %d may not be read: kernel.yama.ptrace_scope is %c; "
                                   "%s",
                                   (int)pid, scope[0],
                                   scope[0] == '2' ? "sudo profctl ..."
                                                   : "that lasts until the machine is started "
                                                     "again");
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    if (stat(path, &st) == 0 && st.st_uid != geteuid())
        return prof_set_last_error(-EPERM,
                                   "process %d has asked the kernel not to be read (it has changed "
                                   "its user or capabilities, or prctl(PR_SET_DUMPABLE, 0)): sudo "
                                   "profctl ...",
                                   (int)pid);
    if (scope[0] == '1')
        return prof_set_last_error(-EPERM,
                                   "process %d may be read only by its parents "
                                   "(kernel.yama.ptrace_scope is 1): sudo profctl ..., or sudo "
                                   "sysctl kernel.yama.ptrace_scope=0",
                                   (int)pid);
    return prof_set_last_error(-EPERM,
                               "process %d may not be read: sudo profctl ..., or in a container "
                               "--cap-add=SYS_PTRACE",
                               (int)pid);
}
