/*
 * pass.h - one look at a whole image, by one engine or the other.
 *
 * Both engines answer the same: which targets are reached from what is in use, and which of the
 * others are pointed to by one that is not.
 *
 *   references (refs.c)   on any allocator. What is no sampled block is in use, the unsampled part
 *                         of the heap with it: so a block that only an unsampled leak points to
 *                         counts as reached
 *   walk (flood.c)        on glibc's heap, whose every block is known by its header: in use is what
 *                         the roots lead to
 */
#ifndef PROF_SCAN_PASS_H
#define PROF_SCAN_PASS_H

#include "scan/paths.h"
#include "scan/plan.h"
#include "scan/sweep.h"
#include "scan/targets.h"

/* Names a root for the paths: what is at `slot` of an area. */
typedef void prof__root_fn(void *arg, const struct prof__area *area, uint64_t slot,
                           struct prof__kind *ret);

/* How each target is reached; without, only whether. */
struct prof__ways {
    struct prof__paths *paths;
    uint32_t *path_of[2]; /* of each target, malloced and fed, the path of what holds it; 0: none */
    prof__root_fn *name_root;
    void *name_arg;
    /* The row of a block that is no target, [block, end) in the image; NULL: it has none. */
    uint32_t (*row_of)(void *arg, uint64_t block, uint64_t end);
    void *row_arg;
};

struct prof__pass_count {
    uint64_t words_tagged; /* pointers found under a mask of 48 bits */
};

/* Set the state of each target, but of those that have PROF__TARGET_WALKED. `plan` is finished, and
 * leaves no heap out. `ways` may be NULL; `fed` says which targets these are. With `explain` also
 * how those that are not reached hang together. 0, -ECANCELED or -ENOMEM. */
int prof__refs_pass(struct prof__targets *t, const struct prof__plan *plan, struct prof__sweep *s,
                    struct prof__arena *a, struct prof__pass_count *count,
                    const struct prof__ways *ways, bool fed, bool explain);

#endif
