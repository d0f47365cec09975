/*
 * targets.h - the sampled blocks that a scan is about, by address.
 */
#ifndef PROF_SCAN_TARGETS_H
#define PROF_SCAN_TARGETS_H

#include "image/image.h"
#include "scan/ranges.h"

enum prof__target_state {
    PROF__TARGET_REACHED = 1,  /* something that is in use leads to it, in this pass */
    PROF__TARGET_HELD = 2,     /* another that is not reached points to it */
    PROF__TARGET_DOUBTFUL = 4, /* what leads to it may be memory of the program's, or a leak */
    PROF__TARGET_WALKED = 8,   /* the heap's walk met it, so that the flood tells its state */
};

struct prof__target {
    struct prof__image_block block;
    uint8_t state;
    uint8_t missed;  /* passes in which it was not reached */
    bool live;       /* still there after the last pass */
    bool first;      /* nothing else that is not reached leads to it, or one of a ring of such: */
    uint32_t source; /* a number of that which does, by the last pass; 0: not asked for */
};

struct prof__targets {
    struct prof__target *target; /* by rising address, none inside another */
    size_t n;
    struct prof__ranges ranges; /* of the same order */
    uint64_t *start, *end;
    size_t young, overlapping; /* blocks left out, by reason */
};

/*
 * The sampled blocks that were born from `since_s` to `birth_s`: those of malloc's, or with
 * `fed` those told by prof_heap_alloc(), which may lie inside the others. Memory from `a`: some 140
 * bytes a block. 0 or -ENOMEM.
 */
int prof__targets_take(struct prof__targets *t, struct prof__image *image, struct prof__arena *a,
                       uint32_t since_s, uint32_t birth_s, bool fed);

/* Which are still there: sets `live`. */
void prof__targets_look_again(struct prof__targets *t, struct prof__image *image);

#endif
