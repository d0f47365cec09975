/*
 * ui.c - finds, unpacks and compares the viewer's files. Constant data: no state, no lock.
 */
#include "ui.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

const struct prof__ui_file *prof__ui_find(const char *name)
{
    if (!*name)
        name = "index.html";
    for (const struct prof__ui_file *f = prof__ui_files; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

int prof__ui_write(const struct prof__ui_file *f, bool gzip, struct prof__buffer *out)
{
    if (gzip)
        return prof__buffer_add(out, f->gzip, f->gzip_size);

    z_stream z = { .next_in = (unsigned char *)f->gzip, .avail_in = (unsigned)f->gzip_size };
    unsigned char *text = malloc(f->size);
    int r = -ENOMEM;

    if (text && inflateInit2(&z, 15 + 16 /* gzip */) == Z_OK) {
        z.next_out = text;
        z.avail_out = (unsigned)f->size;
        if (inflate(&z, Z_FINISH) == Z_STREAM_END)
            r = prof__buffer_add(out, text, f->size);
        inflateEnd(&z);
    }
    free(text);
    return r;
}

bool prof__ui_unchanged(const struct prof__ui_file *f, const char *if_none_match)
{
    /* The tags have a fixed length, so none is a part of another; a W/ before one is no matter. */
    return if_none_match && (strstr(if_none_match, f->etag) || strcmp(if_none_match, "*") == 0);
}

/* A coding with "; q=0", or 0.0, is one the client cannot take. */
static bool is_refused(const char *parameters, size_t size)
{
    const char *q = memmem(parameters, size, "q=", 2);

    if (!q)
        return false;
    q += 2 + strspn(q + 2, "0.");
    return *q < '1' || *q > '9';
}

bool prof__accepts_gzip(const char *accept_encoding)
{
    bool any = false;

    for (const char *s = accept_encoding; s && *s;) {
        s += strspn(s, ", \t");
        size_t item = strcspn(s, ","), name = strcspn(s, ",; \t");
        bool refused = is_refused(s + name, item - name);

        if ((name == 4 && strncasecmp(s, "gzip", 4) == 0) ||
            (name == 6 && strncasecmp(s, "x-gzip", 6) == 0))
            return !refused;
        if (name == 1 && *s == '*')
            any = !refused;
        s += item;
    }
    return any;
}
