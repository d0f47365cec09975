/*
 * pages.c - the index of the profiles, as HTML and as text.
 *
 * One table with a row for each profile, and nothing that is none. The shape of a row,
 *
 *   <tr><td>3</td><td><a href='ui/#heap'>heap</a></td></tr>
 *
 * is Go's and is what scripts look for; a name leads to the viewer, where Go's leads to text. Links
 * are relative, so that the page works behind a proxy that adds a prefix. No script, nothing from
 * elsewhere; readable on a phone and in the dark.
 */
#include "pages.h"

#include <errno.h>
#include <prof/prof.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chart.h"
#include "cmdline.h"
#include "family.h"
#include "process.h"

/* No profile of the registry, since it takes its time, but one for whoever looks at the page. */
static const char cpu_name[] = "profile";
static const char cpu_description[] = "Where processor time goes, watched for a while.";

struct entry {
    const char *name;
    const char *description;
    struct prof_profile *profile; /* NULL: CPU */
};

static const char head[] = "<!DOCTYPE html>\n"
                           "<html lang='en'>\n"
                           "<head>\n"
                           "<meta charset='utf-8'>\n"
                           "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
                           "<meta name='color-scheme' content='light dark'>\n"
                           "<title>";

static const char style[] =
    "</title>\n"
    "<style>\n"
    ":root { color-scheme: light dark; --line: #8884; --soft: #8881; --warn: #e6a70033;\n"
    "  --bad: #b3261e; --quiet: #666 }\n"
    "@media (prefers-color-scheme: dark) { :root { --bad: #ff9e92; --quiet: #aaa } }\n"
    "body { font: 15px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 0 auto;\n"
    "  padding: 1rem; overflow-wrap: anywhere }\n"
    "h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem }\n"
    "table { border-collapse: collapse; width: 100% }\n"
    "th, td { text-align: left; padding: 0 .6rem; border-bottom: 1px solid var(--line) }\n"
    "th:first-child, td:first-child { text-align: right; width: 5rem;\n"
    "  font-variant-numeric: tabular-nums }\n"
    "td a { display: block; padding: .5rem 0; font-weight: 600 }\n"
    "tr:hover td { background: var(--soft) }\n"
    "code, pre { font: .9em ui-monospace, monospace }\n"
    "pre { background: var(--soft); padding: .6rem; overflow-x: auto; overflow-wrap: normal }\n"
    "dt { font-weight: 600; margin-top: .8rem } dd { margin: 0 0 0 1rem }\n"
    ".quiet { color: var(--quiet) } .links a { margin-right: .8rem }\n"
    ".view { display: inline-block; margin: .6rem 0; padding: .45rem 1rem; border-radius: .4rem;\n"
    "  background: #0b57d0; color: #fff; text-decoration: none; font-weight: 600 }\n"
    ".status { background: var(--warn); padding: .1rem .5rem; white-space: pre-line }\n"
    ".dead { border: 1px solid var(--bad); border-left-width: 4px; color: var(--bad);\n"
    "  padding: .5rem .8rem; margin: 1rem 0; white-space: pre-wrap }\n"
    "@media (max-width: 40rem), (pointer: coarse) { td a, .links a, .view { min-height: 44px;\n"
    "  box-sizing: border-box; line-height: 28px; padding-top: 8px; padding-bottom: 8px }\n"
    "  .links a { display: inline-block; min-width: 44px } }\n";

static const char body[] = "</style>\n</head>\n<body>\n";

/* Bytes of the character at `text`; 0: it is none in UTF-8, as the name of a program may be. */
static size_t character(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    size_t n = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;

    if (c[0] > 0xf4 || (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
        (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

int prof__html_escape(struct prof__buffer *out, const char *text)
{
    size_t n;
    int r = 0;

    for (; *text && r == 0; text += n ? n : 1) {
        n = character(text);
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
            r = n ? prof__buffer_add(out, text, n) : prof__buffer_puts(out, "\xef\xbf\xbd");
        }
    }
    return r;
}

void prof__json_string(struct prof__buffer *out, const char *text)
{
    size_t n;

    prof__buffer_puts(out, "\"");
    for (; *text; text += n ? n : 1) {
        n = character(text);
        if (*text == '"' || *text == '\\')
            prof__buffer_printf(out, "\\%c", *text);
        else if ((unsigned char)*text < ' ')
            prof__buffer_printf(out, "\\u%04x", (unsigned)*text);
        else if (n)
            prof__buffer_add(out, text, n);
        else
            prof__buffer_puts(out, "\xef\xbf\xbd");
    }
    prof__buffer_puts(out, "\"");
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
    struct entry *entries = calloc(cap + 1, sizeof(*entries));
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
    entries[n++] = (struct entry) { cpu_name, cpu_description, NULL };
    free(profiles);
    qsort(entries, n, sizeof(*entries), by_name);
    *ret_entries = entries;
    *ret_count = n;
    return 0;
}

static long long count_of(const struct entry *e)
{
    int64_t count = e->profile ? prof_profile_count(e->profile) : 0;

    return count > 0 ? (long long)count : 0LL;
}

/* --- what program this is --------------------------------------------------------------------- */

struct identity {
    const char *program; /* argv[0]; "" not known */
    char host[256];
    double up_s; /* -1: not known */
};

static void identify(struct identity *ret)
{
    struct prof__process process;
    struct timespec now;
    size_t size;

    *ret = (struct identity) { .up_s = -1 };
    if (prof__cmdline(&ret->program, &size) < 0)
        ret->program = "";
    if (gethostname(ret->host, sizeof(ret->host) - 1) < 0)
        ret->host[0] = '\0';
    clock_gettime(CLOCK_REALTIME, &now);
    if (prof__process_read(&process) && process.started_s > 0)
        ret->up_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - process.started_s;
    if (ret->up_s < 0)
        ret->up_s = process.started_s > 0 ? 0 : -1; /* the clock has been set back */
}

/* "3 days 4 h", "12 min". */
static void add_span(struct prof__buffer *out, double seconds)
{
    long long s = (long long)seconds;

    if (s < 60)
        prof__buffer_printf(out, "%lld s", s);
    else if (s < 3600)
        prof__buffer_printf(out, "%lld min", s / 60);
    else if (s < 86400)
        prof__buffer_printf(out, "%lld h %lld min", s / 3600, s / 60 % 60);
    else
        prof__buffer_printf(out, "%lld d %lld h", s / 86400, s / 3600 % 24);
}

/* --- the page --------------------------------------------------------------------------------- */

void prof__page_begin(struct prof__buffer *out, const char *title, const char *more_style)
{
    prof__buffer_puts(out, head);
    prof__buffer_puts(out, title);
    prof__buffer_puts(out, style);
    prof__buffer_puts(out, more_style);
    prof__buffer_puts(out, body);
}

static void add_head(struct prof__buffer *out, const struct identity *id)
{
    char dead[4096];

    prof__page_begin(out, "/debug/pprof/", prof__chart_style);
    prof__buffer_puts(out, "<h1>/debug/pprof/</h1>\n<p>");
    if (*id->program) {
        prof__buffer_puts(out, "<code>");
        prof__html_escape(out, id->program);
        prof__buffer_puts(out, "</code>, ");
    }
    prof__buffer_printf(out, "process %d", (int)getpid());
    if (id->host[0]) {
        prof__buffer_puts(out, " on ");
        prof__html_escape(out, id->host);
    }
    if (id->up_s >= 0) {
        prof__buffer_puts(out, ", up ");
        add_span(out, id->up_s);
    }
    prof__buffer_printf(out, ", libprof %s</p>\n", prof_version());
    if (prof_deadlocks(dead, sizeof(dead)) > 0) {
        prof__buffer_puts(out, "<div class='dead' role='alert'>");
        prof__html_escape(out, dead);
        prof__buffer_puts(out, "<a href='ui/#threads'>All threads</a></div>\n");
    }
    prof__chart(out); /* without it the page is as good */
    prof__buffer_puts(out, "<p><a class='view' href='ui/'>Open the viewer</a> "
                           "<a class='view' href='ui/trace.html'>Timeline</a></p>\n");
}

static void add_row(struct prof__buffer *out, const struct entry *e)
{
    prof__buffer_printf(out, "<tr><td>%lld</td><td><a href='ui/#", count_of(e));
    prof__url_escape(out, e->name);
    prof__buffer_puts(out, "'>");
    prof__html_escape(out, e->name);
    prof__buffer_puts(out, "</a></td></tr>\n");
}

static void add_link(struct prof__buffer *out, const char *name, const char *query,
                     const char *words)
{
    prof__buffer_puts(out, "<a href='");
    prof__url_escape(out, name);
    prof__buffer_printf(out, "%s'>%s</a> ", query, words);
}

static void add_description(struct prof__buffer *out, const struct entry *e)
{
    char status[1024] = "";

    prof__buffer_puts(out, "<dt>");
    prof__html_escape(out, e->name);
    prof__buffer_puts(out, "</dt>\n");
    if (*e->description) {
        prof__buffer_puts(out, "<dd>");
        prof__html_escape(out, e->description);
        prof__buffer_puts(out, "</dd>\n");
    }
    if (e->profile && prof_profile_status(e->profile, status, sizeof(status)) > 0) {
        size_t end = strlen(status);
        while (end && status[end - 1] == '\n')
            status[--end] = '\0';
        prof__buffer_puts(out, "<dd class='status'>");
        prof__html_escape(out, status);
        prof__buffer_puts(out, "</dd>\n");
    }
    prof__buffer_puts(out, "<dd class='links'>");
    if (!e->profile) {
        add_link(out, e->name, "?seconds=10", "file, of 10 s");
        add_link(out, e->name, "?seconds=10&amp;debug=1", "text, of 10 s");
    } else {
        add_link(out, e->name, "", "file");
        add_link(out, e->name, "?debug=1", "text");
    }
    if (strcmp(e->name, "threads") == 0 || strcmp(e->name, "goroutine") == 0)
        add_link(out, e->name, "?debug=2", "full stack dump of every thread");
    prof__buffer_puts(out, "</dd>\n");
}

static void add_usage(struct prof__buffer *out, const char *host)
{
    static const char *const commands[] = {
        "go tool pprof http://%s/debug/pprof/heap\n",
        "go tool pprof http://%s/debug/pprof/profile?seconds=10\n",
        "curl -s http://%s/debug/pprof/heap &gt; heap.out",
    };
    struct prof__buffer name = { 0 };

    prof__html_escape(&name, host && *host ? host : "HOST:PORT");
    prof__buffer_puts(out, "<h2>From a shell</h2>\n<pre>");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const char *hole = strstr(commands[i], "%s");

        prof__buffer_add(out, commands[i], (size_t)(hole - commands[i]));
        prof__buffer_add(out, name.data, name.size);
        prof__buffer_puts(out, hole + 2);
    }
    prof__buffer_free(&name);
    prof__buffer_puts(
        out,
        "</pre>\n"
        "<p class='quiet'>A file is gzipped protobuf, as pprof reads it. "
        "<code>?debug=1</code> is text, <code>?seconds=N</code> what changed within N seconds, "
        "<code>?format=folded</code> stacks for flame graphs; <code>?symbolize=0</code> leaves "
        "the names to the reader.</p>\n"
        "<h2>Also here</h2>\n"
        "<p class='links'><a href='vars'>numbers over time</a> "
        "<a href='captures'>captures</a> "
        "<a href='cmdline'>the command line</a> "
        "<a href='symbol'>symbol, which names addresses for pprof</a></p>\n"
        "</body>\n"
        "</html>\n");
}

enum { RELATIVES = 64 };

/* Who is looking for one of them looks here first, where the address is known. */
static void add_family(struct prof__buffer *out)
{
    struct prof__relative relative[RELATIVES];
    size_t n = prof__family_list(relative, RELATIVES);

    if (n == 0)
        return;
    prof__buffer_puts(out, "<h2>Other processes of this program</h2>\n<pre>");
    for (size_t i = 0; i < n; i++) {
        int pid = (int)relative[i].pid;

        prof__buffer_printf(out, "%7d  ", pid);
        prof__html_escape(out, relative[i].name);
        prof__buffer_printf(out,
                            "\n         curl -s --abstract-unix-socket libprof-%d "
                            "http://localhost/debug/pprof/heap &gt; heap-%d.out\n",
                            pid, pid);
    }
    prof__buffer_puts(out, "</pre>\n");
}

int prof__page_index(struct prof__buffer *out, const char *host)
{
    struct identity id;
    struct entry *entries;
    size_t count;
    int r = list_entries(&entries, &count);

    if (r < 0)
        return r;
    identify(&id);
    add_head(out, &id);
    prof__buffer_puts(out, "<h2>Types of profiles available:</h2>\n"
                           "<table>\n<thead><tr><th>Count</th><th>Profile</th></tr></thead>\n"
                           "<tbody>\n");
    for (size_t i = 0; i < count; i++)
        add_row(out, &entries[i]);
    prof__buffer_puts(out, "</tbody>\n</table>\n<h2>Profile Descriptions</h2>\n<dl>\n");
    for (size_t i = 0; i < count; i++)
        add_description(out, &entries[i]);
    prof__buffer_puts(out, "</dl>\n");
    free(entries);
    add_family(out);
    add_usage(out, host);
    return prof__buffer_puts(out, ""); /* out of memory shows in the last one too */
}

/* --- the text --------------------------------------------------------------------------------- */

/* A string from outside, fit for one line. */
static void add_text(struct prof__buffer *out, const char *text)
{
    for (; *text; text++)
        prof__buffer_add(out, (unsigned char)*text < ' ' || *text == 127 ? "?" : text, 1);
    prof__buffer_puts(out, "\n");
}

static void add_line(struct prof__buffer *out, const char *key, const char *text)
{
    prof__buffer_printf(out, "%s: ", key);
    add_text(out, text);
}

int prof__page_index_text(struct prof__buffer *out)
{
    struct identity id;
    struct prof__relative relative[RELATIVES];
    struct entry *entries;
    char dead[4096];
    size_t count;
    int r = list_entries(&entries, &count);

    if (r < 0)
        return r;
    identify(&id);
    add_line(out, "program", id.program);
    prof__buffer_printf(out, "process: %d\n", (int)getpid());
    add_line(out, "host", id.host);
    prof__buffer_printf(out, "version: %s\n", prof_version());
    if (id.up_s >= 0)
        prof__buffer_printf(out, "seconds up: %.1f\n", id.up_s);
    if (prof_deadlocks(dead, sizeof(dead)) > 0)
        prof__buffer_puts(out, dead);
    size_t n = prof__family_list(relative, RELATIVES);
    for (size_t i = 0; i < n; i++) {
        prof__buffer_printf(out, "other process: %d unix:@libprof-%d", (int)relative[i].pid,
                            (int)relative[i].pid);
        prof__buffer_puts(out, " ");
        add_text(out, relative[i].name);
    }
    prof__buffer_puts(out, "\n");
    for (size_t i = 0; i < count; i++) {
        prof__buffer_printf(out, "%lld\t", count_of(&entries[i]));
        prof__url_escape(out, entries[i].name);
        prof__buffer_printf(out, "\t%s\n", entries[i].description);
    }
    free(entries);
    return prof__buffer_puts(out, "");
}
