/*
 * proc.h - what /proc tells of a process.
 */
#ifndef PROF_TOOL_PROC_H
#define PROF_TOOL_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc {
    pid_t pid;       /* as we see it */
    pid_t inner_pid; /* as the process itself does, in its own pid namespace */
    uid_t uid;       /* effective */
    gid_t gid;
    char name[32];
    char state;         /* R, S, D, T, Z ... */
    uint64_t rss_bytes; /* 0 for a zombie */
    unsigned threads;
    double up_seconds;
    ino_t net, pidns; /* namespaces; 0: not ours to know */
};

/* 0, or -ESRCH. */
int proc_read(pid_t pid, struct proc *ret);

/* Every process, in the order of their ids. Returns how many, to be freed. */
size_t proc_all(struct proc **ret);

/* Is libprof mapped into it? -EACCES: that is not ours to know. */
int proc_has_libprof(pid_t pid);

/* A thread of it with that name. 0: none. */
pid_t proc_thread_named(pid_t pid, const char *name);

/* The name of a user, or its number. Returns buf. */
const char *proc_user(uid_t uid, char *buf, size_t size);

#endif
