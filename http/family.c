/*
 * family.c - the kernel's list of Unix sockets tells who serves, /proc whose children they are.
 * Normal context.
 */
#include "family.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"

#define MAX_SOCKETS ((size_t)4 << 20) /* bytes of the list: some 60,000 sockets */

enum { GENERATIONS = 64, MAX_STAT = 1024, MAX_ENVIRONMENT = 1 << 20 };

static const char mark[] = " @libprof-";

/* Name and parent. False: there is no such process. */
static bool read_process(pid_t pid, char name[64], pid_t *ret_parent)
{
    struct prof__buffer b = { 0 };
    char path[32];
    int parent = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    const char *text = prof__buffer_read(&b, path, MAX_STAT);
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    bool ok = open && close && sscanf(close + 1, " %*c %d", &parent) == 1;

    if (ok)
        snprintf(name, 64, "%.*s", (int)(close - open - 1), open + 1);
    *ret_parent = parent;
    prof__buffer_free(&b);
    return ok;
}

/* What profrun started, or this process. As the kernel has it: the environment is the program's,
 * which may be changing it. */
static pid_t founder(void)
{
    static const char variable[] = "LIBPROF_PROFRUN=";
    struct prof__buffer b = { 0 };
    pid_t pid = 0;

    prof__buffer_read(&b, "/proc/self/environ", MAX_ENVIRONMENT);
    for (size_t at = 0; !b.error && at < b.size; at += strlen(b.data + at) + 1)
        if (strncmp(b.data + at, variable, sizeof(variable) - 1) == 0)
            pid = (pid_t)strtol(b.data + at + sizeof(variable) - 1, NULL, 10);
    prof__buffer_free(&b);
    return pid > 1 ? pid : getpid();
}

static bool comes_from(pid_t pid, pid_t ancestor)
{
    char name[64];

    for (int i = 0; i < GENERATIONS && pid > 1; i++)
        if (!read_process(pid, name, &pid) || pid == ancestor || pid == getpid())
            return pid > 1;
    return false;
}

size_t prof__family_list(struct prof__relative *ret, size_t n)
{
    struct prof__buffer b = { 0 };
    pid_t first = founder(), parent;
    size_t found = 0;

    for (const char *at = prof__buffer_read(&b, "/proc/net/unix", MAX_SOCKETS);
         found < n && (at = strstr(at, mark)) != NULL; at++) {
        char *end;
        pid_t pid = (pid_t)strtol(at + sizeof(mark) - 1, &end, 10);
        bool known = pid == getpid() || *end != '\n';

        /* A connected socket of theirs has the same name. */
        for (size_t i = 0; i < found; i++)
            known |= ret[i].pid == pid;
        if (!known && (pid == first || comes_from(pid, first)) &&
            read_process(pid, ret[found].name, &parent))
            ret[found++].pid = pid;
    }
    prof__buffer_free(&b);
    return found;
}
