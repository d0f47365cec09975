/*
 * ui.h - the viewer's files, below /debug/pprof/ui/.
 *
 * They are in http/ui/, plain JavaScript and CSS, and are compiled in, gzipped, by embed.py. The
 * viewer reads the profiles that everybody else gets; there is no other interface for it.
 */
#ifndef PROF_HTTP_UI_H
#define PROF_HTTP_UI_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

/* What the viewer's page may load: this server's files and profiles, and no text ever becomes
 * markup or a script. */
#define PROF__UI_POLICY                                                                 \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "         \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; trusted-types 'none'"

struct prof__ui_file {
    const char *name;
    const char *type;          /* Content-Type */
    const char *etag;          /* with its quotation marks; changes with the contents */
    const unsigned char *gzip; /* compressed */
    size_t gzip_size;
    size_t size; /* decompressed */
};

extern const struct prof__ui_file prof__ui_files[]; /* ends with one without a name */

/* The file of that name, "" being the page itself; NULL: there is none. */
const struct prof__ui_file *prof__ui_find(const char *name);

/* Append the file to `out`, as it is stored or, for clients that cannot, decompressed. 0, -ENOMEM.
 */
int prof__ui_write(const struct prof__ui_file *f, bool gzip, struct prof__buffer *out);

/* Does an If-None-Match header (NULL: absent) name this file as it is? */
bool prof__ui_unchanged(const struct prof__ui_file *f, const char *if_none_match);

/* Does an Accept-Encoding header (NULL: absent) allow gzip? */
bool prof__accepts_gzip(const char *accept_encoding);

#endif
