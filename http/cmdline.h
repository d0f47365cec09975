/*
 * cmdline.h - the program's arguments as they were when it started.
 */
#ifndef PROF_HTTP_CMDLINE_H
#define PROF_HTTP_CMDLINE_H

#include <stddef.h>

/* The arguments with a NUL between each two, none at the end. `ret_data` is never freed. -ENODATA
 * when they could not be had. */
int prof__cmdline(const char **ret_data, size_t *ret_size);

#endif
