/*
 * path.h - names of files.
 */
#ifndef PROF_BASE_PATH_H
#define PROF_BASE_PATH_H

#include <string.h>

/* What follows the last slash. */
static inline const char *prof__base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

#endif
