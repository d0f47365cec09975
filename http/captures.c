/*
 * captures.c - /debug/pprof/captures: what was captured, what each rule sees, and why it has not
 * fired; as a page, as text, as JSON. Below it are the files. A POST has one more taken.
 *
 * A file is named by a name of the list, and nothing else: no path of a request reaches the file
 * system (capture.h).
 */
#include <errno.h>
#include <prof/capture.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "handlers.h"
#include "pages.h"

enum { LISTED = 128, RULES = 16, MOST_SECONDS = 600, PATIENCE_S = 60 };

#define LOOK_NS (SECOND_NS / 20)

struct state {
    struct prof_capture *capture; /* malloc'ed */
    int64_t n;                    /* a negative errno: there is no list */
    struct prof_capture_rule rule[RULES];
    int64_t n_rules;
    char status[1024], dir[600];
    struct prof_capture_stats counts;
};

static int read_state(struct state *ret)
{
    *ret = (struct state) { .counts = PROF_CAPTURE_STATS_INIT };
    ret->capture = calloc(LISTED, sizeof(*ret->capture));
    if (!ret->capture)
        return -ENOMEM;
    ret->n = prof_captures(ret->capture, LISTED, sizeof(*ret->capture));
    ret->n_rules = prof_capture_rules(ret->rule, RULES, sizeof(ret->rule[0]));
    if (ret->n_rules > RULES)
        ret->n_rules = RULES;
    prof_capture_status(ret->status, sizeof(ret->status));
    prof_capture_dir(ret->dir, sizeof(ret->dir));
    prof_capture_counts(&ret->counts);
    return 0;
}

static void add_time(struct prof__buffer *out, int64_t time_ms)
{
    time_t t = (time_t)(time_ms / 1000);
    struct tm tm;
    char text[32] = "";

    if (gmtime_r(&t, &tm))
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    prof__buffer_puts(out, text);
}

/* What a capture is to be compared with: the baseline of its process and profile, or else the first
 * of these; NULL: it is that itself. The list has the newest first. */
static const struct prof_capture *first_of(const struct state *s, const struct prof_capture *c)
{
    const struct prof_capture *first = NULL;

    for (int64_t i = 0; i < s->n; i++) {
        const struct prof_capture *o = &s->capture[i];

        if (o->pid == c->pid && o->own == c->own && strcmp(o->profile, c->profile) == 0 &&
            o->time_ms <= c->time_ms && (!first || o->number <= first->number))
            first = o;
    }
    return first == c ? NULL : first;
}

/* A window's values are of its own time: there is nothing to subtract. */
static bool is_window(const struct prof_capture *c)
{
    return strcmp(c->profile, "profile") == 0;
}

/* A timeline, which has a page of its own. */
static bool is_trace(const struct prof_capture *c)
{
    return strcmp(c->profile, "trace") == 0;
}

/* --- text ------------------------------------------------------------------------------------- */

static void text_rules(struct prof__buffer *out, const struct state *s)
{
    if (s->n_rules <= 0)
        return;
    prof__buffer_printf(out, "%-26s %11s %11s %6s  %s\n", "rule", "now", "limit", "fired", "why");
    for (int64_t i = 0; i < s->n_rules; i++) {
        const struct prof_capture_rule *r = &s->rule[i];

        prof__buffer_printf(out, "%-26s %11s %11s %6llu  %s\n", r->rule, r->now, r->limit,
                            (unsigned long long)r->fired, r->why);
    }
    prof__buffer_puts(out, "\n");
}

static void text_captures(struct prof__buffer *out, const struct state *s)
{
    if (s->n > 0)
        prof__buffer_printf(out, "%-20s %7s %4s %-22s %11s %10s %9s  %s\n", "time (UTC)", "process",
                            "no.", "rule", "measured", "profile", "bytes", "file");
    for (int64_t i = 0; i < s->n; i++) {
        const struct prof_capture *c = &s->capture[i];

        add_time(out, c->time_ms);
        prof__buffer_printf(out, "  %7d %4u %-22s %11s %10s %9llu  captures/%s\n", c->pid,
                            c->number, c->rule, *c->value ? c->value : "-", c->profile,
                            (unsigned long long)c->size_bytes, c->name);
    }
}

static int write_text(struct prof__buffer *out, const struct state *s)
{
    prof__buffer_puts(out, s->status);
    if (*s->dir)
        prof__buffer_printf(out, "kept in %s\n\n", s->dir);
    text_rules(out, s);
    text_captures(out, s);
    if (s->n == 0)
        prof__buffer_puts(out, "Nothing has been captured yet.\n");
    return prof__buffer_puts(out, "");
}

/* --- JSON ------------------------------------------------------------------------------------- */

struct member {
    const char *key, *text;
};

/* The first of an object begins it; numbers come after the strings. */
static void json_strings(struct prof__buffer *out, const struct member *member, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        prof__buffer_printf(out, "%c\"%s\":", i ? ',' : '{', member[i].key);
        prof__json_string(out, member[i].text);
    }
}

#define JSON_STRINGS(out, ...)                                 \
    json_strings(out, (const struct member[]) { __VA_ARGS__ }, \
                 sizeof((const struct member[]) { __VA_ARGS__ }) / sizeof(struct member))

static void json_rule(struct prof__buffer *out, const struct prof_capture_rule *r)
{
    JSON_STRINGS(out, { "rule", r->rule }, { "takes", r->takes }, { "now", r->now },
                 { "limit", r->limit }, { "why", r->why });
    prof__buffer_printf(out, ",\"fired\":%llu,\"fired_ms\":%lld}", (unsigned long long)r->fired,
                        (long long)r->fired_ms);
}

static void json_capture(struct prof__buffer *out, const struct prof_capture *c)
{
    JSON_STRINGS(out, { "name", c->name }, { "rule", c->rule }, { "value", c->value },
                 { "profile", c->profile });
    prof__buffer_printf(out,
                        ",\"time_ms\":%lld,\"process\":%d,\"own\":%s,\"number\":%u,\"bytes\":%llu}",
                        (long long)c->time_ms, c->pid, c->own ? "true" : "false", c->number,
                        (unsigned long long)c->size_bytes);
}

static int write_json(struct prof__buffer *out, const struct state *s)
{
    JSON_STRINGS(out, { "status", s->status }, { "dir", s->dir });
    prof__buffer_printf(
        out,
        ",\"process\":%d,\"on_demand\":%llu,\"failed\":%llu,\"nameless\":%llu,\"unheard\":%llu,\n"
        "\"rules\":[",
        (int)getpid(), (unsigned long long)s->counts.on_demand,
        (unsigned long long)s->counts.failed, (unsigned long long)s->counts.nameless,
        (unsigned long long)s->counts.unheard);
    for (int64_t i = 0; i < s->n_rules; i++) {
        prof__buffer_puts(out, i ? ",\n" : "\n");
        json_rule(out, &s->rule[i]);
    }
    prof__buffer_puts(out, "],\n\"captures\":[");
    for (int64_t i = 0; i < s->n; i++) {
        prof__buffer_puts(out, i ? ",\n" : "\n");
        json_capture(out, &s->capture[i]);
    }
    return prof__buffer_puts(out, "]}\n");
}

/* --- the page --------------------------------------------------------------------------------- */

static void page_rules(struct prof__buffer *out, const struct state *s)
{
    if (s->n_rules <= 0)
        return;
    prof__buffer_puts(out, "<h2>Rules</h2>\n<div class='wide'><table class='plain'>\n<thead><tr>"
                           "<th>Rule</th><th>Takes</th><th>Now</th><th>Limit</th><th>Fired</th>"
                           "<th>Why</th></tr></thead>\n<tbody>\n");
    for (int64_t i = 0; i < s->n_rules; i++) {
        const struct prof_capture_rule *r = &s->rule[i];

        prof__buffer_puts(out, "<tr><td><code>");
        prof__html_escape(out, r->rule);
        prof__buffer_puts(out, "</code></td><td>");
        prof__html_escape(out, r->takes);
        prof__buffer_printf(out, "</td><td>%s</td><td>%s</td><td>%llu", r->now, r->limit,
                            (unsigned long long)r->fired);
        if (r->fired_ms) {
            prof__buffer_puts(out, ", last ");
            add_time(out, r->fired_ms);
        }
        prof__buffer_puts(out, "</td><td>");
        prof__html_escape(out, r->why);
        prof__buffer_puts(out, "</td></tr>\n");
    }
    prof__buffer_puts(out, "</tbody>\n</table></div>\n");
}

static void page_capture(struct prof__buffer *out, const struct state *s,
                         const struct prof_capture *c)
{
    const struct prof_capture *first = is_window(c) || is_trace(c) ? NULL : first_of(s, c);

    prof__buffer_puts(out, "<tr><td>");
    add_time(out, c->time_ms);
    prof__buffer_printf(out, "</td><td>%d%s</td><td><code>", c->pid, c->own ? "" : " (earlier)");
    prof__html_escape(out, c->rule);
    prof__buffer_printf(out, "</code></td><td>%s</td><td>", c->value);
    prof__html_escape(out, c->profile);
    prof__buffer_printf(out, "</td><td>%llu KiB</td><td class='links'><a href='ui/%s#captures/",
                        (unsigned long long)(c->size_bytes + 1023) / 1024,
                        is_trace(c) ? "trace.html" : "");
    prof__url_escape(out, c->name);
    prof__buffer_puts(out, "'>open</a> ");
    if (first) {
        prof__buffer_puts(out, "<a href='ui/#captures/");
        prof__url_escape(out, c->name);
        prof__buffer_puts(out, "?less=captures/");
        prof__url_escape(out, first->name);
        prof__buffer_printf(out, "'>less %s</a> ", first->number ? "the first" : "the baseline");
    }
    prof__buffer_puts(out, "<a href='captures/");
    prof__url_escape(out, c->name);
    prof__buffer_puts(out, "'>file</a></td></tr>\n");
}

static void page_captures(struct prof__buffer *out, const struct state *s)
{
    if (s->n == 0)
        prof__buffer_puts(out, "<p>Nothing has been captured yet.</p>\n");
    if (s->n <= 0)
        return;
    prof__buffer_puts(out, "<h2>Captures</h2>\n<div class='wide'><table class='plain'>\n<thead><tr>"
                           "<th>When (UTC)</th><th>Process</th><th>Rule</th><th>Measured</th>"
                           "<th>Profile</th><th>Size</th><th></th></tr></thead>\n<tbody>\n");
    for (int64_t i = 0; i < s->n; i++)
        page_capture(out, s, &s->capture[i]);
    prof__buffer_puts(out, "</tbody>\n</table></div>\n");
}

static int write_page(struct prof__buffer *out, const struct state *s)
{
    prof__page_begin(out, "captures",
                     "main, body { max-width: 72rem } .wide { overflow-x: auto }\n"
                     "table.plain th, table.plain td { text-align: left; width: auto;\n"
                     "  padding: .3rem .6rem; vertical-align: top; overflow-wrap: normal }\n"
                     "table.plain td a { display: inline-block; padding: 0 }\n");
    prof__buffer_puts(out,
                      "<h1>Captures</h1>\n<p class='quiet'><a href='./'>All profiles</a></p>\n");
    if (*s->status) {
        prof__buffer_puts(out, "<p class='status'>");
        prof__html_escape(out, s->status);
        prof__buffer_puts(out, "</p>\n");
    }
    if (*s->dir) {
        prof__buffer_puts(out, "<p>Kept in <code>");
        prof__html_escape(out, s->dir);
        prof__buffer_puts(out, "</code>.</p>\n");
    }
    page_rules(out, s);
    page_captures(out, s);
    return prof__buffer_puts(out, "</body>\n</html>\n");
}

/* --- keeping one ------------------------------------------------------------------------------ */

static int look_at_capture(struct prof__exchange *x)
{
    int r = prof_capture_wait(x->capture, 0);

    if (r == -ETIMEDOUT && now_ns() < x->deadline_ns) {
        x->wait_ns = LOOK_NS;
        return PROF__WAIT;
    }
    if (r < 0)
        return r == -EIO ? refused(x, -ENOSYS, "it could not be written: see the list of captures")
                         : refused(x, -EAGAIN, "it is not there yet: see the list of captures");
    text_reply(x);
    return prof__buffer_printf(&x->reply.body, "captured, number %d\n", x->capture);
}

/* Whoever may do so is on this machine, and known. */
static int keep(struct prof__exchange *x)
{
    char name[64] = "heap", reason[48] = "";
    int64_t seconds = 0;
    int r;

    if (!x->may_keep)
        return refused(x, -EPERM,
                       "captures are asked for on a Unix socket, or over loopback with "
                       "the token");
    r = prof__param_text(x->target.query, "profile", name, sizeof(name));
    if (r < 0 && r != -ENOENT)
        return refused(x, -EINVAL, "?profile= is the name of one");
    r = prof__param_text(x->target.query, "reason", reason, sizeof(reason));
    if (r < 0 && r != -ENOENT)
        return refused(x, -EINVAL, "?reason= is at most 40 characters");
    r = prof__param_int(x->target.query, "seconds", &seconds);
    if ((r < 0 && r != -ENOENT) || seconds < 0 || seconds > MOST_SECONDS)
        return refused(x, -EINVAL, "?seconds= is at most 600");
    r = prof_capture_profile(name, (int)seconds, reason);
    if (r < 0)
        return r == -ENOTCONN ? -EAGAIN : r;
    x->capture = r;
    x->go_on = look_at_capture;
    x->wait_ns = LOOK_NS;
    x->deadline_ns = now_ns() + (uint64_t)(seconds + PATIENCE_S) * SECOND_NS;
    return PROF__WAIT;
}

/* --- answers ---------------------------------------------------------------------------------- */

int prof__serve_captures(struct prof__exchange *x)
{
    char format[16] = "html";
    struct state s;
    int r = prof__param_text(x->target.query, "format", format, sizeof(format));

    if (x->is_post)
        return keep(x);
    bool text = strcmp(format, "text") == 0, json = strcmp(format, "json") == 0;
    if ((r < 0 && r != -ENOENT) || (!text && !json && strcmp(format, "html") != 0))
        return refused(x, -EINVAL, "the formats are ?format=html, text and json");
    r = read_state(&s);
    if (r < 0)
        return r;
    x->reply.status = 200;
    x->reply.type = text ? TYPE_TEXT : json ? "application/json" : "text/html; charset=utf-8";
    if (!text && !json)
        x->reply.policy = PROF__PAGE_POLICY;
    r = text   ? write_text(&x->reply.body, &s)
        : json ? write_json(&x->reply.body, &s)
               : write_page(&x->reply.body, &s);
    free(s.capture);
    return r;
}

int prof__serve_capture(struct prof__exchange *x)
{
    const char *name = strrchr(x->target.path, '/') + 1;
    int r = prof_capture_read(name, prof__buffer_add, &x->reply.body);

    if (r == -ENOTCONN)
        r = -ENOENT;
    if (r < 0)
        return r;
    x->reply.status = 200;
    x->reply.type = "application/octet-stream";
    if (strlen(name) < sizeof(x->reply.attachment))
        strcpy(x->reply.attachment, name);
    return 0;
}
