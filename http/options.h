/*
 * options.h - struct prof_http_options as this version of the library knows it.
 */
#ifndef PROF_HTTP_OPTIONS_H
#define PROF_HTTP_OPTIONS_H

#include <prof/http.h>

/* `opts` (NULL: all defaults) with the environment and the defaults filled in; a token of NULL is
 * none. The texts still belong to the caller or the environment. -EINVAL or -E2BIG, with
 * prof_last_error() set. */
int prof__options_read(const struct prof_http_options *opts, struct prof_http_options *ret);

#endif
