/*
 * stacks.h - the call stacks of a timeline, looked up.
 */
#ifndef PROF_TRACE_STACKS_H
#define PROF_TRACE_STACKS_H

#include "encode/encode.h"
#include "trace/timeline.h"

struct prof__trace_stacks {
    struct prof__report report; /* sample i is the stack id[i] */
    uint32_t *id;               /* rising */
    size_t n;
};

/* -ENOMEM. */
int prof__trace_stacks_load(const struct prof__timeline *t, bool no_symbols, struct prof__arena *a,
                            struct prof__trace_stacks *ret);

/* The sample of a stack; n when there is none. */
size_t prof__trace_stacks_find(const struct prof__trace_stacks *s, uint32_t id);

#endif
