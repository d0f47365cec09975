/*
 * pages.h - the pages for people.
 */
#ifndef PROF_HTTP_PAGES_H
#define PROF_HTTP_PAGES_H

#include "buffer.h"

/* What a page may load: its own style, and nothing else from anywhere. */
#define PROF__PAGE_POLICY                                                                  \
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; " \
    "frame-ancestors 'none'"

/* The index, /debug/pprof/: every profile, how much is in it, what is off. 0 or -ENOMEM. */
int prof__page_index(struct prof__buffer *out);

/* Append text as HTML, fit for attributes in single quotes as well. */
int prof__html_escape(struct prof__buffer *out, const char *text);

/* Append the path of a relative link. */
int prof__url_escape(struct prof__buffer *out, const char *text);

#endif
