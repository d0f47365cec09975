/*
 * proc.h - what the kernel says of this process, and the clock. C and C++.
 */
#ifndef TEST_PROC_H
#define TEST_PROC_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

static inline double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The number of a line of such a file, "VmRSS:" in KiB; -1: there is none. */
static inline long proc_status_of(const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    char line[256];
    long n = -1;

    while (f && n < 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, key, strlen(key)) == 0)
            n = atol(line + strlen(key));
    if (f)
        fclose(f);
    return n;
}

static inline long proc_status(const char *key)
{
    return proc_status_of("/proc/self/status", key);
}

/* "VmHWM:" begins anew. */
static inline void proc_forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "we");

    if (f) {
        fputs("5", f);
        fclose(f);
    }
}

/* Files in a folder of /proc. */
static inline int proc_entries(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;

    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

/* How many threads have that name, and the id of one. */
static inline int proc_threads_named(const char *wanted, pid_t *ret_tid)
{
    DIR *d = opendir("/proc/self/task");
    int n = 0;

    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char path[300], name[32] = "";

        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!f)
            continue;
        if (fgets(name, sizeof(name), f))
            name[strcspn(name, "\n")] = '\0';
        fclose(f);
        if (strcmp(name, wanted) == 0) {
            n++;
            *ret_tid = (pid_t)atol(e->d_name);
        }
    }
    if (d)
        closedir(d);
    return n;
}

#endif
