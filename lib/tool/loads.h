/*
 * loads.h - does the dynamic loader find what a library needs?
 */
#ifndef PROF_TOOL_LOADS_H
#define PROF_TOOL_LOADS_H

#include <stdbool.h>
#include <stddef.h>

/* Would a program start with `library` preloaded? If not, `why` is the loader's line. In doubt yes.
 */
bool loads_check(const char *library, char *why, size_t size);

#endif
