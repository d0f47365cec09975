/*
 * trail.h - the way on through blocks that are not sampled, where no heap can be walked.
 *
 * By references a block is known to be held by some word of the heap, and not by which block: where
 * those begin and end that are not sampled only their allocator knows. But a block in use has a
 * pointer to its beginning. So the block around a word is taken to begin at the largest address, no
 * higher than the word, that anything points to; what points there holds it:
 *
 *   word that holds the target -> who points at what is around it? -> a root, another target, or
 *                              <- a word of the heap again: the next round
 *
 * A round reads all memory once and answers the questions of all targets. Lists would never end, so
 * there are few rounds. It is a guess: a block that nothing points to looks like a part of the one
 * before it. What ends between the two is known of sampled blocks only; a limit on the distance
 * keeps the rest small, and what two passes do not agree on is not told.
 */
#ifndef PROF_SCAN_TRAIL_H
#define PROF_SCAN_TRAIL_H

#include "scan/pass.h"

enum { PROF__TRAIL_ROUNDS = 5 };

/* What a pass by references knows of who holds what: of each target one of the first three. */
struct prof__trail {
    const struct prof__targets *t;
    const struct prof__plan *plan;
    struct prof__sweep *sweep;
    const struct prof__ways *ways;
    uint32_t *path_of; /* the path of what holds it, which is complete then; */
    uint32_t *from;    /* or the target that does; PROF__NO_RANGE: */
    uint64_t *slot;    /* the word of unknown memory that does; 0: nothing */
    uint32_t *own;     /* path of the target itself, where it has been asked for; 0: not yet */
};

/* Memory from `a`. 0 or -ENOMEM. */
int prof__trail_init(struct prof__trail *t, struct prof__arena *a, size_t n_targets);

/* The word at `slot` of an area holds target i; or target `from` does. */
void prof__trail_note(struct prof__trail *t, uint32_t i, const struct prof__area *area,
                      uint64_t slot);
void prof__trail_note_target(struct prof__trail *t, uint32_t i, uint32_t from);

/* The path of target i, itself included; 0: it has none yet. */
uint32_t prof__trail_own(struct prof__trail *t, uint32_t i);

/* Complete all paths. Memory from `a`: 150 bytes a question, of which there are as many as words
 * of unknown memory that hold something, and 2^17 at most. 0, -ECANCELED or -ENOMEM. */
int prof__trail_follow(struct prof__trail *t, struct prof__arena *a);

#endif
