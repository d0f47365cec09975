/*
 * paths.h - how blocks are held, from a root inwards, each way stored once.
 *
 * A path is a node of a tree whose first level are roots. What holds what is told by kind, not by
 * block: all blocks of one allocation stack, or all unsampled ones of one size, are alike. A kind
 * that is on a path already is not added again but leads back to where it was, so a list or a tree
 * is one node that counts its blocks, and a cycle ends. The tree is small then: as many nodes as
 * there are ways, not blocks.
 */
#ifndef PROF_SCAN_PATHS_H
#define PROF_SCAN_PATHS_H

#include "base/arena.h"
#include "base/compiler.h"

enum prof__kind_of {
    PROF__KIND_ROOT = 1, /* extra is an enum prof__root, who is the area's, detail is the namer's */
    PROF__KIND_SAMPLED,  /* who is the row, detail the size */
    PROF__KIND_UNSAMPLED /* detail is the size; extra may be PROF__SIZE_AT_LEAST, who the depth then
                          */
};

enum { PROF__SIZE_AT_LEAST = 1 };

struct prof__kind {
    uint8_t of, extra;
    uint32_t who;
    uint64_t detail;
};

struct prof__path {
    uint32_t parent; /* 0: none, this is a root */
    uint32_t depth;  /* of a root: 1 */
    struct prof__kind kind;
    uint64_t blocks; /* that came by here */
};

struct prof__paths {
    struct prof__path *path; /* [0] is unused: 0 is no path */
    uint32_t n, room;
    uint32_t *slot;
    uint32_t n_slots;
    uint32_t depth_max;
    uint64_t lost; /* blocks whose path there was no room for */
};

/* Room for `room` paths of at most `depth_max` nodes. 0 or -ENOMEM. */
int prof__paths_init(struct prof__paths *p, struct prof__arena *a, uint32_t room,
                     uint32_t depth_max);

/* The path of a block of that kind that is held by `parent`, or of a root (parent 0). When there is
 * no more room, or the path would be too long: `parent`. */
uint32_t prof__paths_add(struct prof__paths *p, uint32_t parent, const struct prof__kind *kind);

/* The longest path that both begin with; 0: they have not even the root in common. */
uint32_t prof__paths_common(const struct prof__paths *p, uint32_t a, uint32_t b);

#endif
