/*
 * show.h - a report as people and programs read it.
 */
#ifndef PROF_TOOL_SHOW_H
#define PROF_TOOL_SHOW_H

#include <stdio.h>

#include "encode/encode.h"
#include "tool/ctl.h"
#include "tool/term.h"

/* A number of this unit in at most 6 columns. */
enum { SHOW_NUMBER = TERM_NUMBER };
const char *show_number(char buf[SHOW_NUMBER], double v, const char *unit);

/* In the form that the options name: table, JSON, folded or flame. `title` is the first line's.
 * An exit status, told. */
int show_report(struct prof__report *r, const char *title, const struct ctl_options *o, FILE *out);

/* Gzipped protobuf. */
int show_pprof(const struct prof__report *r, struct prof__arena *a, FILE *out);

/* The functions, the largest first, as rows of a table of `width` columns. */
int show_table(const struct prof__report *r, const struct ctl_options *o, unsigned rows,
               unsigned width, FILE *out);

/* A flame graph of characters, the root at the top; `rows` at most. */
int show_flame(const struct prof__report *r, unsigned width, unsigned rows, FILE *out);

#endif
