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

/* The index, /debug/pprof/: every profile, how much is in it, what is off. `host` is what the
 * request calls this server, NULL if it does not say. 0 or -ENOMEM. */
int prof__page_index(struct prof__buffer *out, const char *host);

/* The same as text, for curl and for the viewer:
 *
 *   program: /usr/bin/service
 *   process: 4711
 *   host: web1
 *   version: 0.1.0
 *   seconds up: 12.5
 *   deadlock: 2 threads wait for each other, and none can go on      (if so)
 *   other process: 4712 unix:@libprof-4712 worker        (one line for each, as family.h says)
 *
 *   12<tab>allocs<tab>All memory allocated ...
 *
 * Names are escaped as in a link. 0 or -ENOMEM. */
int prof__page_index_text(struct prof__buffer *out);

/* What every page begins with, up to its <body>. `title` and the style sheet's rest are our own. */
void prof__page_begin(struct prof__buffer *out, const char *title, const char *more_style);

/* Append text as HTML, fit for attributes in single quotes as well. */
int prof__html_escape(struct prof__buffer *out, const char *text);

/* Append text as a string of JSON, in its quotes: valid UTF-8, whatever the text is. */
void prof__json_string(struct prof__buffer *out, const char *text);

/* Append the path of a relative link. */
int prof__url_escape(struct prof__buffer *out, const char *text);

#endif
