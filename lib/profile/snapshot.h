/*
 * snapshot.h - the rows of one profile copied out, and differences of two such copies.
 */
#ifndef PROF_PROFILE_SNAPSHOT_H
#define PROF_PROFILE_SNAPSHOT_H

#include "base/arena.h"
#include "profile/registry.h"

/* One row as it was. */
struct prof__sample {
    uint32_t row; /* rows.h: which one; the same row has the same reference in every snapshot */
    prof__stack_id stack;
    uint32_t labels;
    uint64_t size;    /* as in the row */
    const char *kind; /* the label "kind"; a constant. NULL: none */
    bool has_age;
    int64_t age_s;           /* the label "age_seconds" */
    struct prof__values raw; /* as in the row */
};

struct prof__snapshot {
    struct prof__arena arena; /* owns all that is in here */
    struct prof__sample *sample;
    size_t n;
    int64_t wall_ns;
    int64_t monotonic_ns;
    const char *notes; /* newline-ended sentences for the reader; NULL: none */
};

/* Copy the rows of a table, into ret->arena, which is empty. -ENOMEM. Free it also then. */
int prof__snapshot_take(unsigned table, struct prof__snapshot *ret);

/* now -= before, row by row; rows that did not change go, those that `now` has no more are below
 * zero. Both are sorted by row, as prof__snapshot_take() leaves them. -ENOMEM. */
int prof__snapshot_subtract(struct prof__snapshot *now, const struct prof__snapshot *before);

/* The class of an age, which is its lower bound: 0, 1, 2, 5, 10 and 30 seconds, minutes, 1, 2, 6
 * and 12 hours, days. Of blocks told one by one each would be a sample of its own. */
int64_t prof__age_class(int64_t age_s);

void prof__snapshot_free(struct prof__snapshot *s);

#endif
