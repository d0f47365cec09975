/*
 * limit.h - how much of the memory that the process may have is taken, and what that is.
 *
 * Where it is in a memory cgroup with a limit: what the group uses and cannot give back at once,
 * against its limit; of its own group and those above it, the one with the least room. What can be
 * given back is the page cache and the kernel's reclaimable slabs, but not shared memory, which is
 * in the page cache only for the kernel. So a group that is full of file pages is not at its limit.
 *
 * Files are opened in the descriptor table of the calling thread, which is one of ours.
 */
#ifndef PROF_CAPTURE_LIMIT_H
#define PROF_CAPTURE_LIMIT_H

#include "base/compiler.h"

enum { PROF__LIMIT_LEVELS = 6 };

struct prof__limit_level { /* descriptors; -1: none */
    int used, most, stat;
    int events[2]; /* version 1 has them in two files */
    bool version_1;
};

struct prof__limit {
    struct prof__limit_level level[PROF__LIMIT_LEVELS];
    unsigned n;
    uint64_t group_hash; /* of what said where the groups are */
};

/* Open what belongs to the groups that `cgroups`, a descriptor of /proc/self/cgroup, names; nothing
 * is done if they are those that are open. Zero is one that has opened nothing. */
void prof__limit_follow(struct prof__limit *l, int cgroups);

/* One group more; no more than there is room for. */
void prof__limit_add(struct prof__limit *l, const char *folder, bool version_1);
void prof__limit_close(struct prof__limit *l);

/* Bytes. False: no group has a limit that is less than the machine's memory; then that is the
 * limit, and *ret_used is left alone. */
bool prof__limit_read(const struct prof__limit *l, double *ret_used, double *ret_limit);

/* What the kernel has done to the group or one above it because of its own limits, ever:
 * memory.events of cgroups(7). Version 1 counts `max` and kills only. */
enum prof__limit_event {
    PROF__EVENT_LOW,  /* taken from, though below memory.low */
    PROF__EVENT_HIGH, /* throttled, being above memory.high */
    PROF__EVENT_MAX,  /* about to go above memory.max */
    PROF__EVENT_OOM,  /* nothing could be given back */
    PROF__EVENT_KILL,
    PROF__EVENTS,
};

/* NaN where there is no such count. */
void prof__limit_read_events(const struct prof__limit *l, double ret[PROF__EVENTS]);

#endif
