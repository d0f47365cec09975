/*
 * proc.c - what /proc tells of a process.
 */
#include "tool/proc.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A file of /proc/PID as text, from its beginning. */
static bool read_file(pid_t pid, const char *name, char *buf, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t n = fread(buf, 1, size - 1, f);
    fclose(f);
    buf[n] = '\0';
    return n > 0;
}

static ino_t namespace_of(pid_t pid, const char *name)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* The value of a line of /proc/PID/status. */
static const char *value_of(const char *status, const char *name)
{
    const char *at = strstr(status, name);

    return at ? at + strlen(name) : "";
}

static double seconds_up(unsigned long long start_ticks)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9 -
           (double)start_ticks / (double)sysconf(_SC_CLK_TCK);
}

int proc_read(pid_t pid, struct proc *ret)
{
    char stat[1024], status[8192];
    unsigned long long start;
    unsigned uid[4], gid[4];

    if (!read_file(pid, "stat", stat, sizeof(stat)) ||
        !read_file(pid, "status", status, sizeof(status)))
        return -ESRCH;
    struct proc p = { .pid = pid, .inner_pid = pid };
    char *open = strchr(stat, '('), *close = strrchr(stat, ')');
    if (!open || !close || close < open)
        return -ESRCH;
    snprintf(p.name, sizeof(p.name), "%.*s", (int)(close - open - 1), open + 1);
    /* Field 3 is the state, 22 the start. */
    if (sscanf(close + 2,
               "%c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
               "%*s %llu",
               &p.state, &start) != 2)
        return -ESRCH;
    p.up_seconds = seconds_up(start);
    p.threads = (unsigned)strtoul(value_of(status, "\nThreads:"), NULL, 10);
    p.rss_bytes = strtoull(value_of(status, "\nVmRSS:"), NULL, 10) * 1024;
    if (sscanf(value_of(status, "\nUid:"), "%u %u", &uid[0], &uid[1]) == 2)
        p.uid = uid[1];
    if (sscanf(value_of(status, "\nGid:"), "%u %u", &gid[0], &gid[1]) == 2)
        p.gid = gid[1];
    /* One for each namespace down to its own; the last counts. */
    const char *pids = value_of(status, "\nNSpid:");
    for (char *end;; pids = end) {
        long n = strtol(pids, &end, 10);

        if (end == pids || memchr(pids, '\n', (size_t)(end - pids)))
            break;
        p.inner_pid = (pid_t)n;
    }
    p.net = namespace_of(pid, "net");
    p.pidns = namespace_of(pid, "pid");
    *ret = p;
    return 0;
}

static int by_pid(const void *a, const void *b)
{
    const struct proc *p = a, *q = b;

    return (p->pid > q->pid) - (p->pid < q->pid);
}

size_t proc_all(struct proc **ret)
{
    struct proc *all = NULL;
    size_t n = 0, room = 0;
    struct dirent *e;
    DIR *d = opendir("/proc");

    while (d && (e = readdir(d))) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

        if (pid <= 0)
            continue;
        if (n == room) {
            struct proc *more = realloc(all, (room = room ? 2 * room : 256) * sizeof(*all));

            if (!more)
                break;
            all = more;
        }
        if (proc_read(pid, &all[n]) == 0)
            n++;
    }
    if (d)
        closedir(d);
    if (n)
        qsort(all, n, sizeof(*all), by_pid);
    *ret = all;
    return n;
}

int proc_has_libprof(pid_t pid)
{
    char path[64], line[4500];
    int found = 0;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return errno == ENOENT ? -ESRCH : -EACCES;
    while (!found && fgets(line, sizeof(line), f)) {
        const char *name = strrchr(line, '/');

        found =
            name && (strncmp(name, "/libprof.so", 11) == 0 || strncmp(name, "/libprof-", 9) == 0);
    }
    fclose(f);
    return found;
}

pid_t proc_thread_named(pid_t pid, const char *name)
{
    char path[64], comm[32], have[32];
    pid_t found = 0;
    struct dirent *e;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    while (d && !found && (e = readdir(d))) {
        pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);

        if (tid <= 0)
            continue;
        snprintf(comm, sizeof(comm), "task/%d/comm", (int)tid);
        if (read_file(pid, comm, have, sizeof(have)) && strcspn(have, "\n") == strlen(name) &&
            strncmp(have, name, strlen(name)) == 0)
            found = tid;
    }
    if (d)
        closedir(d);
    return found;
}

const char *proc_user(uid_t uid, char *buf, size_t size)
{
    const struct passwd *user = getpwuid(uid);

    if (user)
        snprintf(buf, size, "%s", user->pw_name);
    else
        snprintf(buf, size, "%u", (unsigned)uid);
    return buf;
}
