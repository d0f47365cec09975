/*
 * target.h - can a library be preloaded into this program?
 */
#ifndef PROF_TOOL_TARGET_H
#define PROF_TOOL_TARGET_H

#include <stddef.h>

/*
 * Look at the program that execvp(name) would run. 0, or -ENOENT when there is none, another
 * negative errno when it cannot be run or preloading cannot work; then `why` is a sentence.
 */
int target_check(const char *name, char *why, size_t size);

#endif
