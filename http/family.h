/*
 * family.h - the other processes of this program that serve, each at a socket of its own.
 *
 * Of all processes that are told one address the first has it. The others, children of a script for
 * the most part, are found at unix:@libprof-PID; who looks for one looks at the address first.
 */
#ifndef PROF_HTTP_FAMILY_H
#define PROF_HTTP_FAMILY_H

#include <sys/types.h>

struct prof__relative {
    pid_t pid;
    char name[64]; /* as ps shows it */
};

/* Those that come from the process that profrun started, or from this one, at most n. How many. */
size_t prof__family_list(struct prof__relative *ret, size_t n);

#endif
