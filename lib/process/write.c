/*
 * write.c - a profile, as it is now, into a sink.
 *
 *   registry -> snapshot (- an earlier one: window.c) -> report -> encoder -> sink
 */
#include "process/write.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "encode/encode.h"
#include "encode/sink.h"
#include "profile/builtin.h"
#include "profile/report.h"

/* `from` as this library knows the struct. The caller's may be older (shorter) or newer. */
int prof__write_options_read(const struct prof_write_options *from, struct prof_write_options *ret)
{
    *ret = (struct prof_write_options)PROF_WRITE_OPTIONS_INIT;
    if (!from)
        return 0;
    int r = prof__struct_read(from, offsetof(struct prof_write_options, debug) + sizeof(int), ret,
                              sizeof(*ret));
    if (r == -EINVAL)
        return prof_set_last_error(
            r, "prof_write_options.size is %zu: start from PROF_WRITE_OPTIONS_INIT", from->size);
    if (r < 0)
        return prof_set_last_error(
            r, "prof_write_options has an option that libprof %s does not know", prof_version());
    return 0;
}

static int report_options_read(const struct prof_write_options *o, struct prof__report_options *ret)
{
    static const char *const names[] = {
        [PROF__NAMES_SHORT] = "short",
        [PROF__NAMES_FULL] = "full",
        [PROF__NAMES_RAW] = "mangled",
    };

    *ret = (struct prof__report_options) {
        .no_symbols = o->no_symbols != 0,
        .max_samples = o->max_samples,
        .own_lines = o->debug > 0 && !o->all_code,
        .comment = o->comment,
    };
    for (size_t i = 0; o->names && i < ARRAY_LEN(names); i++)
        if (strcmp(o->names, names[i]) == 0) {
            ret->names = (enum prof__names)i;
            return 0;
        }
    return o->names ? prof_set_last_error(-EINVAL, "names are short, full or mangled") : 0;
}

int prof__take_snapshot(const struct prof_profile *p, const struct prof_write_options *w,
                        struct prof__snapshot *ret)
{
    uint64_t program = prof__arithmetic_begin();
    int r = p->take ? p->take(w, ret) : prof__snapshot_take(p->table, ret);

    prof__arithmetic_end(program);
    return r == -ENOMEM ? prof__error_memory("a snapshot") : r;
}

static int encode(const struct prof_profile *p, const struct prof__report *report,
                  const struct prof_write_options *o, struct prof__arena *arena, prof_sink_fn *sink,
                  void *arg)
{
    if (o->json)
        return p->write_json ? p->write_json(report, arena, sink, arg)
                             : prof_set_last_error(-ENOTSUP, "the profile %s has no JSON", p->name);
    if (o->folded)
        return prof__encode_folded(report, o->folded, arena, sink, arg);
    if (o->debug > 0 && p->write_text)
        return p->write_text(report, arena, sink, arg);
    return o->debug > 0 ? prof__encode_text(report, o->debug, arena, sink, arg)
                        : prof__encode_pprof(report, arena, sink, arg);
}

static int write_once(const struct prof_profile *p, const struct prof__snapshot *s,
                      const struct prof__report_options *options,
                      const struct prof_write_options *o, struct prof__claim *claim,
                      struct prof__sink *sink)
{
    struct prof__arena arena = { .claim = claim };
    struct prof__report report;
    int r = p->report ? p->report(p, o, options, &arena, &report)
                      : prof__report_build(p, s, options, &arena, &report);

    if (r == 0)
        r = encode(p, &report, o, &arena, prof__sink_pass, sink);
    prof__arena_free(&arena);
    return r;
}

/* When there is not even enough in the reserve, the profile becomes a smaller one: without names,
 * then with ever fewer stacks, the largest. */
static int write_fitting(const struct prof_profile *p, const struct prof__snapshot *s,
                         struct prof__report_options options, const struct prof_write_options *o,
                         struct prof__claim *claim, struct prof__sink *sink)
{
    struct prof__claim_mark mark = prof__reserve_mark(claim);
    uint64_t n = o->max_samples && o->max_samples < s->n ? o->max_samples : s->n;
    int r;

    while ((r = write_once(p, s, &options, o, claim, sink)) == -ENOMEM && !sink->is_used) {
        if (options.no_symbols && (n /= 4) == 0)
            break;
        if (options.no_symbols)
            options.max_samples = n;
        options.no_symbols = options.short_of_memory = true;
        prof__reserve_rewind(claim, mark);
    }
    prof__reserve_rewind(claim, mark);
    return r;
}

/* The same profile without names, which takes no file and little time, before the one with names is
 * begun. */
static int write_bare(const struct prof_profile *p, const struct prof__snapshot *s,
                      struct prof__report_options options, const struct prof_write_options *o,
                      struct prof__claim *claim, struct prof__sink *sink)
{
    struct prof_write_options bare = *o;
    struct prof__sink to = *sink; /* the bracket of the profiler is one */

    bare.debug = 0;
    bare.folded = NULL;
    options.no_symbols = true;
    to.fn = o->bare;
    to.arg = o->bare_arg;
    int r = write_fitting(p, s, options, &bare, claim, &to);
    if (r == 0)
        r = prof__sink_pass(&to, NULL, 0);
    sink->program = to.program;
    return r;
}

int prof__write_snapshot(const struct prof_profile *p, const struct prof__snapshot *s,
                         int64_t duration_ns, const struct prof_write_options *o,
                         struct prof__claim *claim, struct prof__sink *sink)
{
    struct prof__report_options options;
    int r = report_options_read(o, &options);

    if (r < 0)
        return r;
    options.duration_ns = duration_ns;
    if (o->bare && !p->report)
        r = write_bare(p, s, options, o, claim, sink);
    if (r == 0)
        r = write_fitting(p, s, options, o, claim, sink);
    return r == -ENOMEM ? prof__error_memory("writing a profile") : r;
}

static int write_detail(const struct prof_profile *p, const struct prof_write_options *o,
                        struct prof__sink *sink)
{
    struct prof__report_options options;
    int r = report_options_read(o, &options);

    if (r < 0)
        return r;
    r = p->write_detail(p, &options, prof__sink_pass, sink);
    return r == -ENOMEM ? prof__error_memory("writing a profile") : r;
}

static int write_now(struct prof_profile *p, const struct prof_write_options *o,
                     struct prof__sink *sink)
{
    struct prof__claim claim = { 0 };
    struct prof__snapshot s = { .arena.claim = &claim };

    if (o->debug >= 2 && p->write_detail && !o->folded && !o->json)
        return write_detail(p, o, sink);
    int r = p->report ? 0 : prof__take_snapshot(p, o, &s);
    if (r == 0)
        r = prof__write_snapshot(p, &s, 0, o, &claim, sink);
    prof__snapshot_free(&s);
    prof__reserve_end(&claim);
    return r;
}

int prof_profile_write(struct prof_profile *p, const struct prof_write_options *opts,
                       prof_sink_fn *sink, void *arg)
{
    struct prof_write_options o;

    if (!p || !sink)
        return prof_set_last_error(-EINVAL, "no %s given to prof_profile_write()",
                                   p ? "sink" : "profile");
    int r = prof__write_options_read(opts, &o);
    if (r < 0)
        return r;
    struct prof__sink entered = prof__sink_enter(sink, arg);
    r = write_now(p, &o, &entered);
    prof__sink_leave(&entered);
    return r;
}

int prof_profile_write_fd(struct prof_profile *p, int fd, int debug)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    bool entered = prof__enter(&prof__self);

    o.debug = debug;
    int r = prof_profile_write(p, &o, prof__sink_fd, &fd);
    if (entered)
        prof__leave(&prof__self);
    return r;
}

struct file_request {
    struct prof_profile *profile;
    struct prof_write_options options;
};

static int write_file(void *arg, prof_sink_fn *sink, void *sink_arg)
{
    struct file_request *q = arg;

    return prof_profile_write(q->profile, &q->options, sink, sink_arg);
}

int prof_profile_write_file(struct prof_profile *p, const char *path, int debug)
{
    struct file_request q = { p, PROF_WRITE_OPTIONS_INIT };

    q.options.debug = debug;
    if (!p || !path)
        return prof_set_last_error(-EINVAL, "no %s given to prof_profile_write_file()",
                                   p ? "path" : "profile");
    bool entered = prof__enter(&prof__self);
    int r = prof__sink_file(path, write_file, &q);
    if (entered)
        prof__leave(&prof__self);
    return r;
}

int prof_write_heap(const char *path)
{
    return prof_profile_write_file(&prof__profile_heap, path, 0);
}
