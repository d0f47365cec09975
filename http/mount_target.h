/*
 * mount_target.h - what is asked for in a daemon of the program's own, as routes.c reads it: from
 * what libmicrohttpd has taken apart, and from below whatever prefix the program has given us.
 */
#ifndef PROF_HTTP_MOUNT_TARGET_H
#define PROF_HTTP_MOUNT_TARGET_H

#include <microhttpd.h>
#include <stdbool.h>

/* Begins with a slash and ends in our root. */
bool prof__mount_is_prefix(const char *prefix);

/* True when `url` is the prefix, with or without its last slash, or below it. Then *ret_below is
 * what follows the prefix; NULL: even its last slash is missing. */
bool prof__mount_is_below(const char *url, const char *prefix, const char **ret_below);

/* The raw target below our own root. malloc'ed; NULL: out of memory. */
char *prof__mount_target(struct MHD_Connection *mhd, const char *below);

#endif
