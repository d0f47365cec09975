/*
 * optional.c - what is said of the libraries that are missing.
 */
#include "base/optional.h"

#include <stdio.h>

struct prof__optional *_Atomic prof__optional_all;

size_t prof__optional_missed(char *buf, size_t size)
{
    size_t n = 0;

    for (struct prof__optional *l = prof__optional_all; l; l = l->next)
        if (l->missed && n < size)
            n += (size_t)snprintf(buf + n, size - n, "%s is missing (Debian: %s), so there %s\n",
                                  l->soname, l->package, l->without);
    return PROF_MIN(n, size ? size - 1 : 0);
}
