/*
 * routes.c - the paths of Go's net/http/pprof and what each of them answers.
 *
 * A table of routes, handlers that fill in a reply or return a negative errno, and one place that
 * turns an errno into a status. Names, headers, messages and the order in which parameters are
 * checked are those of Go, since `go tool pprof` and the continuous profilers were written
 * against it. What differs: readers of the CPU profile do not exclude each other, and `threads`
 * takes the place of goroutines.
 */
#include "routes.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "cmdline.h"
#include "handlers.h"
#include "metrics.h"
#include "pages.h"
#include "source.h"
#include "ui.h"

#define ROOT            "/debug/pprof/"
#define UI              ROOT "ui/"
#define MAX_SYMBOL_POST (1024 * 1024)            /* bytes of addresses */
#define MAX_SECONDS     (INT64_MAX / 1000000000) /* what a duration in Go can hold */

#define TYPE_HTML    "text/html; charset=utf-8"
#define TYPE_PROFILE "application/octet-stream"

enum methods { GET = 1, POST = 2, ANY = 4 }; /* GET means HEAD too */

struct prof__route {
    unsigned methods;
    const char *path; /* one that ends in '/' takes all below it */
    int (*serve)(struct prof__exchange *x);
    const char *handler; /* in /metrics; NULL: the profile's name */
};

static int serve_cmdline(struct prof__exchange *x);
static int serve_cpu(struct prof__exchange *x);
static int serve_profile(struct prof__exchange *x);
static int redirect_to_index(struct prof__exchange *x);
static int serve_ui(struct prof__exchange *x);
static int serve_source(struct prof__exchange *x);
static int redirect_to_ui(struct prof__exchange *x);
static int serve_metrics(struct prof__exchange *x);
static int serve_nothing(struct prof__exchange *x);

/* The first match wins; a known path and a wrong method is 405. */
static const struct prof__route routes[] = {
    { GET, ROOT "cmdline", serve_cmdline, "cmdline" },
    { GET, ROOT "profile", serve_cpu, "profile" },
    { GET | POST, ROOT "symbol", prof__serve_symbol, "symbol" },
    { GET, UI "source", serve_source, "ui" },
    { GET, UI, serve_ui, "ui" },
    { GET, ROOT "ui", redirect_to_ui, "ui" },
    { GET, ROOT "metrics", serve_metrics, "metrics" },
    { GET | POST, ROOT "rates", prof__serve_rates, "rates" },
    { GET, ROOT "vars", prof__serve_vars, "vars" },
    { GET, ROOT "trace", prof__serve_trace, "trace" },
    { GET | POST, ROOT "captures", prof__serve_captures, "captures" },
    { GET, ROOT "captures/", prof__serve_capture, "captures" },
    { GET, ROOT, serve_profile, NULL }, /* the index when nothing follows */
    { GET, "/debug/pprof", redirect_to_index, "index" },
    { GET, "/metrics", serve_metrics, "metrics" },
    { ANY, "/", serve_nothing, "other" },
};

/* No profile can have a name that a route takes: it could not be fetched. Before main(), so before
 * the program makes any. */
__attribute__((constructor)) static void reserve_names(void)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (strncmp(routes[i].path, ROOT, strlen(ROOT)) == 0 && routes[i].path[strlen(ROOT)])
            prof_profile_reserve(routes[i].path + strlen(ROOT));
}

/* --- errors --------------------------------------------------------------------------------- */

void prof__exchange_refuse(struct prof__exchange *x, unsigned status, const char *sentence)
{
    prof__buffer_free(&x->reply.body);
    x->reply = (struct prof__reply) { .status = status, .type = TYPE_TEXT, .error = true };
    prof__buffer_puts(&x->reply.body, sentence);
    prof__buffer_puts(&x->reply.body, "\n");
}

void prof__exchange_fail(struct prof__exchange *x, int error)
{
    static const struct {
        int error;
        unsigned status;
    } statuses[] = {
        { -EINVAL, 400 },   { -EACCES, 401 },  { -EPERM, 403 },  { -ENOENT, 404 },
        { -EMSGSIZE, 413 }, { -ENOSYS, 501 },  { -EAGAIN, 503 }, { -ECANCELED, 503 },
        { -ENOTSUP, 400 },  { -ENOBUFS, 503 }, { -EMFILE, 503 }, { -ENFILE, 503 },
        { -ENOMEM, 503 },
    };
    const char *message = x->message ? x->message : prof_last_error();
    unsigned status = 500;

    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i].error == error)
            status = statuses[i].status;
    prof__exchange_refuse(x, status, *message ? message : strerror(-error));
}

/* --- parameters ------------------------------------------------------------------------------ */

static int int_param(const struct prof__exchange *x, const char *name, int64_t *ret_value)
{
    return prof__param_int(x->target.query, name, ret_value);
}

/* As in Go what is no number counts as 0; so does what is negative. */
static int debug_param(const struct prof__exchange *x)
{
    int64_t value = 0;
    int r = int_param(x, "debug", &value);

    if ((r < 0 && r != -ERANGE) || value < 0)
        return 0;
    return value > INT_MAX ? INT_MAX : (int)value;
}

static bool wants_no_symbols(const struct prof__exchange *x)
{
    int64_t value;

    return int_param(x, "symbolize", &value) == 0 && value == 0;
}

/* ?format=folded, of ?type= or the type shown first. Other formats may come one day. */
static int format_param(struct prof__exchange *x)
{
    char format[16];
    int r = prof__param_text(x->target.query, "format", format, sizeof(format));

    if (r == -ENOENT || r == 0)
        return 0;
    if (r > 0 && strcmp(format, "json") == 0 && strcmp(x->name, "memory") == 0) {
        x->options.json = 1;
        return 0;
    }
    if (r < 0 || strcmp(format, "folded") != 0)
        return refused(x, -EINVAL,
                       "the formats are pprof's own, ?format=folded, and of memory ?format=json");
    r = prof__param_text(x->target.query, "type", x->folded, sizeof(x->folded));
    if (r < 0 && r != -ENOENT)
        return refused(x, -EINVAL, "the profile has no sample type of that name");
    if (r == -ENOENT)
        x->folded[0] = '\0';
    x->options.folded = x->folded;
    return 0;
}

/* ?names= and ?mycode=, as prof_write_options has them. */
static int names_param(struct prof__exchange *x)
{
    int64_t mycode;
    int r = prof__param_text(x->target.query, "names", x->names, sizeof(x->names));

    if (r < 0 && r != -ENOENT)
        return refused(x, -EINVAL, "?names= is short, full or mangled");
    x->options.names = r == -ENOENT ? NULL : x->names;
    x->options.all_code = int_param(x, "mycode", &mycode) == 0 && mycode == 0;
    return 0;
}

/* --- replies --------------------------------------------------------------------------------- */

/* Headers of a profile: text to look at, or a file to save as NAME or NAME-delta. */
static void profile_reply(struct prof__exchange *x, const char *suffix)
{
    x->reply.status = 200;
    x->reply.type = x->options.json                         ? "application/json"
                    : x->options.debug || x->options.folded ? TYPE_TEXT
                                                            : TYPE_PROFILE;
    if (x->options.debug || x->options.folded || x->options.json)
        return;
    size_t n = 0, room = sizeof(x->reply.attachment) - strlen(suffix) - 1;
    for (const char *c = x->name; *c && n < room; c++)
        x->reply.attachment[n++] = *c == '"' || *c == '\\' || (unsigned char)*c < ' ' ? '_' : *c;
    strcpy(x->reply.attachment + n, suffix);
}

int prof__exchange_write(void *exchange, const void *data, size_t size)
{
    struct prof__exchange *x = exchange;

    /* Relaxed: nothing else is read on the strength of it. */
    if (x->stopping && atomic_load_explicit(x->stopping, memory_order_relaxed))
        return refused(x, -ECANCELED, "the server is stopping");
    return prof__buffer_add(&x->reply.body, data, size);
}

/* --- handlers -------------------------------------------------------------------------------- */

/* Relative: a proxy may have put something before the path. */
static int redirect(struct prof__exchange *x, unsigned status, const char *location)
{
    x->reply.location = location;
    x->reply.status = status;
    x->reply.type = TYPE_HTML;
    return prof__buffer_printf(&x->reply.body, "<a href='%s'>%s</a>\n", location, location);
}

static int redirect_to_index(struct prof__exchange *x)
{
    return redirect(x, 301, "../debug/pprof/");
}

static int redirect_to_ui(struct prof__exchange *x)
{
    return redirect(x, 301, "ui/");
}

/* A file of the viewer. */
static int serve_ui(struct prof__exchange *x)
{
    const struct prof__ui_file *file = prof__ui_find(x->target.path + strlen(UI));
    bool gzip = prof__accepts_gzip(x->accept_encoding);

    if (!file)
        return refused(x, -ENOENT, "the viewer has no such file");
    x->reply.status = 200;
    x->reply.type = file->type;
    x->reply.policy = PROF__UI_POLICY;
    x->reply.etag = file->etag;
    if (prof__ui_unchanged(file, x->if_none_match)) {
        x->reply.status = 304;
        return 0;
    }
    x->reply.encoding = gzip ? "gzip" : NULL;
    return prof__ui_write(file, gzip, &x->reply.body);
}

/* The source file of the code at ?address=, for the viewer; ?depth= tells inlined functions apart.
 */
static int serve_source(struct prof__exchange *x)
{
    char text[32] = "";
    uint64_t address;
    int64_t depth = 0;

    if (!x->may_read_source)
        return refused(x, -EPERM,
                       "source is not shown: start the program with "
                       "LIBPROF_UI_SOURCE=1, or with the option `source`");
    if (prof__param_text(x->target.query, "address", text, sizeof(text)) < 0 ||
        prof__parse_address(text, strlen(text), &address) < 0 ||
        int_param(x, "depth", &depth) < 0 || depth < 0 || depth > INT_MAX)
        return refused(x, -EINVAL, "?address= and ?depth= name a place in the code");
    int r = prof__source_write(address, (unsigned)depth, &x->reply.body, &x->message);
    return r < 0 ? r : text_reply(x);
}

static int serve_metrics(struct prof__exchange *x)
{
    x->reply.status = 200;
    x->reply.type = PROF__METRICS_TYPE;
    return prof__metrics_write(&x->reply.body, x->thread_is_ours);
}

static int serve_nothing(struct prof__exchange *x)
{
    if (strcmp(x->target.path, "/") == 0) /* a program may put something else there one day */
        return redirect(x, 302, "./debug/pprof/");
    return refused(x, -ENOENT, "nothing here: the profiles are at " ROOT);
}

static int serve_cmdline(struct prof__exchange *x)
{
    const char *data;
    size_t size;
    int r = prof__cmdline(&data, &size);

    if (r < 0)
        return refused(x, r, "the command line could not be had when the program started");
    r = prof__buffer_add(&x->reply.body, data, size);
    return r < 0 ? r : text_reply(x);
}

static int write_window(struct prof__exchange *x)
{
    int r = prof_window_write(x->window, &x->options, prof__exchange_write, x);

    prof_window_close(x->window);
    x->window = NULL;
    return have_or_lack(r);
}

/* A window on x->name for `seconds`. */
static int wait_with_window(struct prof__exchange *x, int64_t seconds)
{
    int r = prof_window_open(x->name, &x->window);

    x->wait_ns = (uint64_t)seconds * SECOND_NS;
    x->go_on = write_window;

    if (r < 0)
        return have_or_lack(r);
    if (!x->head)
        return PROF__WAIT;
    /* Everything that can be refused has been: now it is only to say so. */
    prof_window_close(x->window);
    x->window = NULL;
    x->reply.size_unknown = true;
    return 0;
}

static int serve_cpu(struct prof__exchange *x)
{
    int64_t seconds = 0;
    int r = int_param(x, "seconds", &seconds);

    if (r == -ERANGE || seconds > MAX_SECONDS)
        return refused(x, -EINVAL, "invalid value for \"seconds\" - too large");
    if (r < 0 || seconds <= 0)
        seconds = 30; /* as in Go, whatever was given */
    x->name = "profile";
    x->options.no_symbols = wants_no_symbols(x);
    x->options.debug = debug_param(x); /* Go has no text of it */
    r = format_param(x);
    if (r == 0)
        r = names_param(x);
    if (r < 0)
        return r;
    profile_reply(x, "");
    return wait_with_window(x, seconds);
}

/* ?seconds=N of a profile: what changed meanwhile. Checked in Go's order. */
static int serve_delta(struct prof__exchange *x, struct prof_profile *p, int r, int64_t seconds)
{
    if (r == -EINVAL || seconds <= 0)
        return refused(x, -EINVAL, "invalid value for \"seconds\" - must be a positive integer");
    if (!*prof_profile_description(p)) /* a custom one */
        return refused(x, -EINVAL, "\"seconds\" parameter is not supported for this profile type");
    if (r == -ERANGE || seconds > MAX_SECONDS)
        return refused(x, -EINVAL,
                       "invalid value for \"seconds\" - must be a positive integer "
                       "of a sensible size");
    if (x->options.debug)
        return refused(x, -EINVAL, "seconds and debug params are incompatible");
    profile_reply(x, "-delta");
    return wait_with_window(x, seconds);
}

/* Not the name that was asked for: it is a stranger's text. Those that exist help whoever mistyped
 * one. */
static int unknown_profile(struct prof__exchange *x)
{
    struct prof_profile *profiles[64];
    size_t n = prof_profiles(profiles, 64);

    prof__exchange_refuse(x, 404, "Unknown profile");
    prof__buffer_puts(&x->reply.body, "There are: ");
    for (size_t i = 0; i < n && i < 64; i++)
        prof__buffer_printf(&x->reply.body, "%s, ", prof_profile_name(profiles[i]));
    return prof__buffer_puts(&x->reply.body, "profile\n");
}

/* ?min_age= and ?max_age= of the heap. */
static int age_params(struct prof__exchange *x)
{
    int low = prof__param_duration(x->target.query, "min_age", &x->options.min_age_s);
    int high = prof__param_duration(x->target.query, "max_age", &x->options.max_age_s);

    if (low == -EINVAL || high == -EINVAL)
        return refused(x, -EINVAL, "min_age and max_age are times: 90, 90s, 10m, 2h, 1d");
    return 0;
}

static int serve_profile(struct prof__exchange *x)
{
    const char *name = x->target.path + strlen(ROOT);
    int64_t seconds = 0;

    if (!*name) {
        if (debug_param(x) > 0) {
            text_reply(x);
            return prof__page_index_text(&x->reply.body);
        }
        x->reply.status = 200;
        x->reply.type = TYPE_HTML;
        x->reply.policy = PROF__PAGE_POLICY;
        return prof__page_index(&x->reply.body, x->host);
    }
    struct prof_profile *p = prof_lookup(name);
    if (!p)
        return unknown_profile(x);
    x->name = prof_profile_name(p);
    x->options.debug = debug_param(x);
    x->options.no_symbols = wants_no_symbols(x);
    int r = format_param(x);
    if (r == 0)
        r = names_param(x);
    if (r < 0)
        return r;

    r = int_param(x, "seconds", &seconds);
    if (r != -ENOENT)
        return serve_delta(x, p, r, seconds);
    profile_reply(x, "");
    if (prof__is_scan(x->name))
        return prof__serve_scan(x, p);
    if ((r = age_params(x)) < 0)
        return r;
    /* ?gc=1 means "collect garbage first": there is none, and values are those of this moment. */
    return have_or_lack(prof_profile_write(p, &x->options, prof__exchange_write, x));
}

/* --- the exchange ---------------------------------------------------------------------------- */

static bool matches(const struct prof__route *route, const char *path)
{
    size_t size = strlen(route->path);

    return route->path[size - 1] == '/' ? strncmp(path, route->path, size) == 0
                                        : strcmp(path, route->path) == 0;
}

int prof__exchange_open(struct prof__exchange *x, const char *method, char *raw_target)
{
    unsigned bit = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ? GET
                   : strcmp(method, "POST") == 0                             ? POST
                                                                             : 0;
    const atomic_bool *stopping = x->stopping;

    *x = (struct prof__exchange) { .raw_target = raw_target, .stopping = stopping };
    x->options = (struct prof_write_options)PROF_WRITE_OPTIONS_INIT;
    x->head = strcmp(method, "HEAD") == 0;
    x->is_post = bit == POST;
    int r = prof__target_parse(raw_target, &x->target);
    if (r < 0) {
        prof__exchange_refuse(x, 400, "the path is not well encoded");
        return 1;
    }
    for (x->route = routes; !matches(x->route, x->target.path); x->route++)
        if (x->route == &routes[sizeof(routes) / sizeof(routes[0]) - 1]) {
            prof__exchange_refuse(x, 400, "the path must begin with a slash");
            return 1;
        }
    if (!(x->route->methods & (bit | ANY))) {
        prof__exchange_refuse(x, 405, "this method is not supported here");
        x->reply.allow = x->route->methods & POST ? "GET, HEAD, POST" : "GET, HEAD";
        return 1;
    }
    x->post = bit == POST;
    if (bit == POST && x->route->serve == prof__serve_symbol)
        x->upload_limit = MAX_SYMBOL_POST;
    return 0;
}

static int advance(struct prof__exchange *x, int (*step)(struct prof__exchange *x))
{
    uint64_t start_ns = now_ns();

    prof_set_last_error(0, "%s", ""); /* a sentence found after this is about this */
    int r = step(x);
    if (r < 0)
        prof__exchange_fail(x, r);
    x->busy_ns += now_ns() - start_ns;
    return r == PROF__WAIT ? r : 0;
}

int prof__exchange_run(struct prof__exchange *x)
{
    return advance(x, x->route->serve);
}

int prof__exchange_go_on(struct prof__exchange *x)
{
    return advance(x, x->go_on);
}

const char *prof__exchange_handler(const struct prof__exchange *x)
{
    if (!x->route)
        return "other";
    if (x->route->handler)
        return x->route->handler;
    if (!x->name)
        return x->reply.status == 200 ? "index" : "other";
    return *prof_profile_description(prof_lookup(x->name)) ? x->name : "custom";
}

void prof__exchange_close(struct prof__exchange *x)
{
    prof_window_close(x->window);
    prof_trace_stop(x->trace);
    prof__job_close(x->job);
    prof__buffer_free(&x->upload);
    prof__buffer_free(&x->reply.body);
    free(x->raw_target);
    *x = (struct prof__exchange) { .stopping = x->stopping };
}
