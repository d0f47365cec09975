/*
 * window.c - what has happened since a moment: the snapshot taken then, subtracted.
 */
#include <prof/prof.h>

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/fork.h"
#include "encode/sink.h"
#include "process/write.h"
#include "profile/builtin.h"

/* A window holds what each row was at its beginning: with full tables some 5 MiB. All that are open
 * may hold so much together; one is always had. */
enum { WINDOWS_FACTOR = 4 }; /* of the memory limit */
static size_t windows_limit; /* bytes */
static _Atomic size_t windows_held;

struct prof_window {
    const struct prof_profile *profile;
    size_t held;                  /* bytes */
    struct prof__snapshot before; /* owns this struct too */
    unsigned fork_count;          /* of the process that opened it */
};

/* Whoever has the parent's windows open is not here. */
static void forget_windows(void)
{
    atomic_store_explicit(&windows_held, 0, memory_order_relaxed);
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, forget_windows)

/* Relaxed: a number of its own. */
static int hold(size_t bytes)
{
    size_t others = atomic_fetch_add_explicit(&windows_held, bytes, memory_order_relaxed);

    if (others == 0 || others + bytes <= windows_limit)
        return 0;
    atomic_fetch_sub_explicit(&windows_held, bytes, memory_order_relaxed);
    return prof_set_last_error(-EAGAIN,
                               "the windows that are open hold %zu MiB, and may hold %zu MiB: "
                               "try again when some have closed; LIBPROF_MEMORY_LIMIT raises it",
                               others >> 20, windows_limit >> 20);
}

static int open_now(const struct prof_profile *p, struct prof_window **ret_window)
{
    struct prof_window *w = NULL;
    struct prof__snapshot before = { 0 };
    int r = p->open ? p->open() : 0;

    if (r < 0)
        return r;
    r = prof__take_snapshot(p, NULL, &before);
    if (r == 0 && !(w = prof__arena_alloc(&before.arena, sizeof(*w))))
        r = prof__error_memory("a snapshot");
    size_t bytes = (before.n + 1) * sizeof(*before.sample);
    if (r == 0)
        r = hold(bytes);
    if (r < 0) {
        prof__snapshot_free(&before);
        if (p->close)
            p->close();
        return r;
    }
    w->profile = p;
    w->held = bytes;
    w->before = before;
    w->fork_count = prof__fork_count;
    *ret_window = w;
    return 0;
}

int prof_window_open(const char *name, struct prof_window **ret_window)
{
    if (!name || !ret_window)
        return prof_set_last_error(-EINVAL, "prof_window_open() takes a name and a place for the "
                                            "window");
    const struct prof_profile *p =
        strcmp(name, prof__profile_cpu.name) == 0 ? &prof__profile_cpu : prof_lookup(name);
    if (!p)
        return prof_set_last_error(-ENOENT, "there is no profile \"%.60s\"", name);
    if (p->no_window)
        return prof_set_last_error(-ENOTSUP, "profile \"%.60s\" has no windows", name);

    bool entered = prof__enter(&prof__self);
    int r = open_now(p, ret_window);
    if (entered)
        prof__leave(&prof__self);
    return r;
}

static int write_window(struct prof_window *w, const struct prof_write_options *o,
                        struct prof__sink *sink)
{
    struct prof__claim claim = { 0 };
    struct prof__snapshot now = { .arena.claim = &claim };
    int r = prof__take_snapshot(w->profile, NULL, &now);

    if (r == 0 && (r = prof__snapshot_subtract(&now, &w->before)) < 0)
        prof__error_memory("a snapshot");
    if (r == 0) {
        if (w->profile->time_is_start)
            now.wall_ns = w->before.wall_ns;
        r = prof__write_snapshot(w->profile, &now,
                                 PROF_MAX(now.monotonic_ns - w->before.monotonic_ns, 1), o, &claim,
                                 sink);
    }
    prof__snapshot_free(&now);
    prof__reserve_end(&claim);
    return r;
}

int prof_window_write(struct prof_window *w, const struct prof_write_options *opts,
                      prof_sink_fn *sink, void *arg)
{
    struct prof_write_options o;

    if (!w || !sink)
        return prof_set_last_error(-EINVAL, "no %s given to prof_window_write()",
                                   w ? "sink" : "window");
    int r = prof__write_options_read(opts, &o);
    if (r < 0)
        return r;
    struct prof__sink entered = prof__sink_enter(sink, arg);
    r = write_window(w, &o, &entered);
    prof__sink_leave(&entered);
    return r;
}

struct window_request {
    struct prof_window *window;
    struct prof_write_options options;
};

static int write_window_file(void *arg, prof_sink_fn *sink, void *sink_arg)
{
    struct window_request *q = arg;

    return prof_window_write(q->window, &q->options, sink, sink_arg);
}

int prof_window_write_file(struct prof_window *w, const char *path, int debug)
{
    struct window_request q = { w, PROF_WRITE_OPTIONS_INIT };

    q.options.debug = debug;
    if (!w || !path)
        return prof_set_last_error(-EINVAL, "no %s given to prof_window_write_file()",
                                   w ? "path" : "window");
    bool entered = prof__enter(&prof__self);
    int r = prof__sink_file(path, write_window_file, &q);
    if (entered)
        prof__leave(&prof__self);
    return r;
}

void prof_window_close(struct prof_window *w)
{
    if (!w)
        return;
    if (w->fork_count == prof__fork_count) {
        if (w->profile->close)
            w->profile->close();
        atomic_fetch_sub_explicit(&windows_held, w->held, memory_order_relaxed);
    }
    prof__snapshot_free(&w->before);
}

void prof__windows_set_limit(size_t memory_limit)
{
    windows_limit = memory_limit * WINDOWS_FACTOR;
}
