/*
 * report.h - a census as a report (encode.h): types and holders as frames, the root outermost.
 */
#ifndef PROF_OUTSIDE_REPORT_H
#define PROF_OUTSIDE_REPORT_H

#include "encode/encode.h"
#include "outside/census.h"

/* `name` is the profile's: "heap", "leaks", "holders". Everything is in `a`, and in the census. 0
 * or -ENOMEM. */
int prof__census_report(struct prof__census *c, const char *name, struct prof__arena *a,
                        struct prof__report *ret);

/* Sentences on what was seen and what could not be, without newlines; up to n. How many. */
size_t prof__census_notes(const struct prof__census *c, struct prof__arena *a, const char **ret,
                          size_t n);

#endif
