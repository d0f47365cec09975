/*
 * pages.c - the index of the profiles, as HTML.
 *
 * One table with a row for each profile. The shape of a row,
 *
 *   <tr><td>3</td><td><a href='heap?debug=1'>heap</a></td></tr>
 *
 * is Go's and is what scripts look for. Links are relative, so that the page works behind a proxy
 * that adds a prefix. No script, nothing from elsewhere; readable on a phone and in the dark.
 */
#include "pages.h"

#include <errno.h>
#include <prof/prof.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmdline.h"

/* Not profiles of the registry, but in the table all the same. */
static const struct {
    const char *name, *description;
} extras[] = {
    { "cmdline", "The command line the program was started with, a NUL between each two words." },
    { "profile",
      "Where processor time goes, watched for 30 seconds or for <code>?seconds=</code>." },
    { "symbol", "Names for code addresses, for pprof: <code>?0xADDRESS+0xADDRESS</code>." },
};

#define EXTRAS (sizeof(extras) / sizeof(extras[0]))

struct entry {
    const char *name;
    const char *description;      /* HTML for the extras, text for profiles */
    struct prof_profile *profile; /* NULL: one of the extras */
};

static const char head[] =
    "<!DOCTYPE html>\n"
    "<html lang='en'>\n"
    "<head>\n"
    "<meta charset='utf-8'>\n"
    "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
    "<meta name='color-scheme' content='light dark'>\n"
    "<title>/debug/pprof/</title>\n"
    "<style>\n"
    ":root { color-scheme: light dark; --line: #8884; --soft: #8881; --warn: #e6a70033 }\n"
    "body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto;\n"
    "  padding: 1rem; overflow-wrap: anywhere }\n"
    "h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem }\n"
    "table { border-collapse: collapse; width: 100% }\n"
    "th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line) }\n"
    "th:first-child, td:first-child { text-align: right; width: 6rem;\n"
    "  font-variant-numeric: tabular-nums }\n"
    "tr:hover td { background: var(--soft) }\n"
    "code, pre { font: .9em ui-monospace, monospace }\n"
    "pre { background: var(--soft); padding: .6rem; overflow-x: auto; overflow-wrap: normal }\n"
    "dt { font-weight: 600; margin-top: .6rem } dd { margin: 0 0 0 1rem }\n"
    ".view a { display: inline-block; border: 1px solid var(--line); border-radius: .3rem;\n"
    "  padding: .1rem .6rem; margin: .15rem .2rem .15rem 0; text-decoration: none }\n"
    ".view a:first-child { font-weight: 600 }\n"
    ".status { background: var(--warn); padding: .1rem .5rem; white-space: pre-line }\n"
    "</style>\n"
    "</head>\n"
    "<body>\n";

static const char usage[] =
    "<h2>How to look at them</h2>\n"
    "<pre>go tool pprof http://HOST:PORT/debug/pprof/heap\n"
    "curl -s http://HOST:PORT/debug/pprof/heap &gt; heap.out</pre>\n"
    "<p>The links above show the old text form, <code>?debug=1</code>; without it a profile comes "
    "as gzipped protobuf. <code>?seconds=N</code> gives what changed within N seconds. "
    "<code>?symbolize=0</code> leaves the names to the reader.</p>\n"
    "</body>\n"
    "</html>\n";

int prof__html_escape(struct prof__buffer *out, const char *text)
{
    int r = 0;

    for (; *text && r == 0; text++) {
        switch (*text) {
        case '<':
            r = prof__buffer_puts(out, "&lt;");
            break;
        case '>':
            r = prof__buffer_puts(out, "&gt;");
            break;
        case '&':
            r = prof__buffer_puts(out, "&amp;");
            break;
        case '\'':
            r = prof__buffer_puts(out, "&#39;");
            break;
        case '"':
            r = prof__buffer_puts(out, "&#34;");
            break;
        default:
            r = prof__buffer_add(out, text, 1);
        }
    }
    return r;
}

int prof__url_escape(struct prof__buffer *out, const char *text)
{
    /* Of what a path may hold, ':' is left out: "a:b" would be read as a scheme. */
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789-._~/";
    int r = 0;

    for (; *text && r == 0; text++)
        r = strchr(plain, *text) ? prof__buffer_add(out, text, 1)
                                 : prof__buffer_printf(out, "%%%02X", (unsigned char)*text);
    return r;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* Every row of the table, sorted by name. malloc'ed. */
static int list_entries(struct entry **ret_entries, size_t *ret_count)
{
    size_t cap = prof_profiles(NULL, 0) + 16; /* some may be added meanwhile */
    struct prof_profile **profiles = calloc(cap, sizeof(*profiles));
    struct entry *entries = calloc(cap + EXTRAS, sizeof(*entries));
    size_t n = 0;

    if (!profiles || !entries) {
        free(profiles);
        free(entries);
        return -ENOMEM;
    }
    size_t count = prof_profiles(profiles, cap);
    for (size_t i = 0; i < count && i < cap; i++)
        entries[n++] = (struct entry) { prof_profile_name(profiles[i]),
                                        prof_profile_description(profiles[i]), profiles[i] };
    for (size_t i = 0; i < EXTRAS; i++)
        entries[n++] = (struct entry) { extras[i].name, extras[i].description, NULL };
    free(profiles);
    qsort(entries, n, sizeof(*entries), by_name);
    *ret_entries = entries;
    *ret_count = n;
    return 0;
}

static void add_row(struct prof__buffer *out, const struct entry *e)
{
    int64_t count = e->profile ? prof_profile_count(e->profile) : 0;

    prof__buffer_printf(out, "<tr><td>%lld</td><td><a href='", count > 0 ? (long long)count : 0LL);
    prof__url_escape(out, e->name);
    prof__buffer_puts(out, "?debug=1'>");
    prof__html_escape(out, e->name);
    prof__buffer_puts(out, "</a></td></tr>\n");
}

/* A click away: each profile in the viewer. */
static void add_viewer_links(struct prof__buffer *out, const struct entry *entries, size_t count)
{
    prof__buffer_puts(out, "<p class='view'><a href='ui/'>Look at them here</a>");
    for (size_t i = 0; i < count; i++)
        if (entries[i].profile || strcmp(entries[i].name, "profile") == 0) {
            prof__buffer_puts(out, "\n<a href='ui/#");
            prof__url_escape(out, entries[i].name);
            prof__buffer_puts(out, "'>");
            prof__html_escape(out, entries[i].name);
            prof__buffer_puts(out, "</a>");
        }
    prof__buffer_puts(out, "</p>\n");
}

static void add_description(struct prof__buffer *out, const struct entry *e)
{
    char status[1024] = "";

    prof__buffer_puts(out, "<dt>");
    prof__html_escape(out, e->name);
    prof__buffer_puts(out, "</dt>\n");
    if (!e->profile) {
        prof__buffer_printf(out, "<dd>%s</dd>\n", e->description);
        return;
    }
    if (*e->description) {
        prof__buffer_puts(out, "<dd>");
        prof__html_escape(out, e->description);
        prof__buffer_puts(out, "</dd>\n");
    }
    if (prof_profile_status(e->profile, status, sizeof(status)) > 0) {
        size_t end = strlen(status);
        while (end && status[end - 1] == '\n')
            status[--end] = '\0';
        prof__buffer_puts(out, "<dd class='status'>");
        prof__html_escape(out, status);
        prof__buffer_puts(out, "</dd>\n");
    }
}

int prof__page_index(struct prof__buffer *out)
{
    struct entry *entries;
    size_t count, size;
    const char *program;
    int r = list_entries(&entries, &count);

    if (r < 0)
        return r;
    prof__buffer_puts(out, head);
    prof__buffer_puts(out, "<h1>/debug/pprof/</h1>\n<p>");
    if (prof__cmdline(&program, &size) == 0) {
        prof__buffer_puts(out, "<code>");
        prof__html_escape(out, program); /* ends at the first NUL: argv[0] */
        prof__buffer_puts(out, "</code>, ");
    }
    prof__buffer_printf(out, "process %d, libprof %s</p>\n", (int)getpid(), prof_version());
    add_viewer_links(out, entries, count);

    prof__buffer_puts(out, "<h2>Types of profiles available:</h2>\n"
                           "<table>\n<thead><tr><th>Count</th><th>Profile</th></tr></thead>\n"
                           "<tbody>\n");
    bool has_goroutine = false;
    for (size_t i = 0; i < count; i++) {
        add_row(out, &entries[i]);
        has_goroutine |= strcmp(entries[i].name, "goroutine") == 0;
    }
    prof__buffer_puts(out, "</tbody>\n</table>\n");
    if (has_goroutine)
        prof__buffer_puts(out, "<p><a href='goroutine?debug=2'>full stack dump of every "
                               "thread</a></p>\n");

    prof__buffer_puts(out, "<h2>Profile Descriptions</h2>\n<dl>\n");
    for (size_t i = 0; i < count; i++)
        add_description(out, &entries[i]);
    prof__buffer_puts(out, "</dl>\n");
    free(entries);
    return prof__buffer_puts(out, usage);
}
