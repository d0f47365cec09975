/*
 * report.h - snapshot -> report: stacks turned into looked-up locations, values into what is shown.
 */
#ifndef PROF_PROFILE_REPORT_H
#define PROF_PROFILE_REPORT_H

#include "encode/encode.h"
#include "profile/snapshot.h"
#include "symbol/names.h"

struct prof__report_options {
    bool no_symbols;
    enum prof__names names;              /* how functions are shown */
    bool own_lines;                      /* tell which lines are the program's own */
    uint64_t max_samples;                /* 0: no limit */
    int64_t duration_ns;                 /* 0: a snapshot */
    bool short_of_memory;                /* told in a comment */
    const char *comment;                 /* one more; NULL: none */
    const struct prof__modules *modules; /* of another's tables; NULL: ours */
    bool one_by_one; /* a sample for each of the snapshot's, in its order, alike or not */
};

/*
 * Everything in *ret lives in `a` and in the tables; `s` may go. -ENOMEM.
 *
 * Frames of the allocator itself (operator new, reallocarray) at the leaf of a heap stack are left
 * out, as malloc is: the memory belongs to whoever asked for it.
 */
int prof__report_build(const struct prof_profile *p, const struct prof__snapshot *s,
                       const struct prof__report_options *o, struct prof__arena *a,
                       struct prof__report *ret);

#endif
