/*
 * site.h - which function of a stack has allocated, and not only passed it on.
 */
#ifndef PROF_SCAN_SITE_H
#define PROF_SCAN_SITE_H

#include "encode/encode.h"

/* The innermost function of the program's own; the leaf if there is none. *ret_line is its line at
 * that location, of those inlined there, and *ret_name its name as people read it, in `a`, never
 * NULL. Returns the location. */
uint32_t prof__site_of(const struct prof__report *r, const struct prof__report_sample *s,
                       struct prof__arena *a, uint32_t *ret_line, const char **ret_name);

#endif
