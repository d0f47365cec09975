/*
 * functions.h - what a report says of functions: whose a stack is, and what each has flat and in
 * all.
 */
#ifndef PROF_ENCODE_FUNCTIONS_H
#define PROF_ENCODE_FUNCTIONS_H

#include "encode/encode.h"
#include "encode/textout.h"

/* Whose a stack is: the innermost frame that is the program's own, where that has been told and
 * there is one, else its leaf. An index of s->location, and of that one's lines. */
void prof__report_start(const struct prof__report *r, const struct prof__report_sample *s,
                        uint32_t *ret_location, uint32_t *ret_line);

/* The distinct functions of a report, by name as people read it and the file they are in. */
struct prof__function {
    const char *name; /* "libfoo.so+0x12" where unknown */
    const char *file; /* "": unknown */
    int64_t flat;     /* the default value of the samples that end in it, or in what it called that
                         is not the program's own, where that has been told */
    int64_t cum;      /* and of those it is anywhere in */
};

struct prof__functions {
    const struct prof__function *function;
    size_t n;
    /* Of line j of location l: function[line[first[l] + j]]. A location without lines has one. */
    const uint32_t *first, *line;
    bool is_charged; /* some have what others took that are not the program's own */
};

/* -ENOMEM. */
int prof__functions_load(const struct prof__report *r, struct prof__arena *a,
                         struct prof__functions *ret);

/* The totals and the largest functions, as comments. */
void prof__functions_print_top(const struct prof__functions *f, const struct prof__report *r,
                               struct prof__textout *out);

#endif
