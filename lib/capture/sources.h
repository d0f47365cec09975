/*
 * sources.h - the numbers of this process, as cheap and as harmless as they can be had.
 *
 * Files are opened once, in the descriptor table of one thread of ours that has nothing else in it,
 * and then only read: pread() is a call that a sandbox, put up later, lets through as a rule. No
 * memory is taken, nothing is waited for.
 */
#ifndef PROF_CAPTURE_SOURCES_H
#define PROF_CAPTURE_SOURCES_H

#include "capture/record.h"

/* Descriptors of the thread's own table; -1: none. */
struct prof__sources {
    int process, thread;   /* /proc/self/status, /proc/thread-self/status */
    int cgroups;           /* /proc/self/cgroup */
    int cgroup;            /* memory.current, or memory.usage_in_bytes */
    uint64_t capabilities; /* the thread's, or more than it has */
    uint64_t group_hash;   /* of what `cgroups` said when `cgroup` was opened */
};

/* In the thread that is to read them, once: leave the program's descriptor table for an empty one,
 * and open what is there. -EPERM, -ENOSYS and the like: nothing is open, and read() has no file's
 * numbers. */
int prof__sources_open(struct prof__sources *ret);
void prof__sources_close(struct prof__sources *s);

/* All values of this moment; PROF_VARS_MISSING where there is none. */
void prof__sources_read(struct prof__sources *s, uint64_t ret_value[PROF__VARS]);

/* Parts of it, for who looks more often: all but the cgroup's and the tables', for which the others
 * are set to missing; and the tables' alone, some microseconds for each thousand stacks. */
void prof__sources_read_process(struct prof__sources *s, uint64_t ret_value[PROF__VARS]);
void prof__sources_read_tables(uint64_t ret_value[PROF__VARS]);

/* The process may have been moved to another cgroup: look, and open that one's file. */
void prof__sources_follow(struct prof__sources *s);

#endif
