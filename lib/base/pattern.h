/*
 * pattern.h - paths with %p (process id), %n (program name) and %% in them.
 */
#ifndef PROF_BASE_PATTERN_H
#define PROF_BASE_PATTERN_H

#include "base/compiler.h"

/* Expand for this process. 0, -EINVAL for any other %, -ENAMETOOLONG. Nothing is written to `buf`
 * beyond `size`, and nothing to be used on an error. */
int prof__pattern_expand(const char *pattern, char *buf, size_t size);

/* Does each process get a path of its own? */
bool prof__pattern_has_pid(const char *pattern);

#endif
