/*
 * prof.c - lifecycle, the built-in profiles, and writing: the one file that knows every stage.
 *
 *   registry -> snapshot (- an earlier one) -> report -> encoder -> sink
 *
 * Nothing needs to be started. A constructor registers the built-in profiles and the fork
 * handlers; should a hook or a caller come before it, recording works all the same, since the
 * tables are valid when zero.
 */
#include <prof/prof.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/rawlog.h"
#include "base/thread.h"
#include "collect.h"
#include "collect_internal.h"
#include "encode.h"
#include "error.h"
#include "fork.h"
#include "modules.h"
#include "registry.h"
#include "report.h"
#include "sampler.h"
#include "settings.h"
#include "sink.h"
#include "snapshot.h"
#include "symbolize.h"
#include "tables.h"
#include "unwind/stack.h"

/* --- heap and allocs -------------------------------------------------------------------------- */

static _Atomic int hooks; /* 0: none, 1: linked, 2: preloaded */

/* Nearest whole number. */
static int64_t fixed_round(int64_t v, int shift)
{
    return (v + ((int64_t)1 << (shift - 1))) >> shift;
}

static void heap_finish(const int64_t raw[PROF__ROW_VALUES], int64_t ret_value[PROF__VALUES_MAX])
{
    ret_value[0] = fixed_round(raw[0], PROF__OBJECT_SHIFT);
    ret_value[1] = fixed_round(raw[1], PROF__BYTE_SHIFT);
    ret_value[2] = fixed_round(raw[0] - raw[2], PROF__OBJECT_SHIFT);
    ret_value[3] = fixed_round(raw[1] - raw[3], PROF__BYTE_SHIFT);
}

static int64_t heap_period(void)
{
    return (int64_t)prof__heap_rate();
}

/* Append to buf as snprintf() does; *length is what it would take in all. */
static void append(char *buf, size_t size, int *length, const char *format, ...)
    PROF_PRINTF(4, 5);

static void append(char *buf, size_t size, int *length, const char *format, ...)
{
    size_t at = PROF_MIN((size_t)*length, size);
    va_list args;

    va_start(args, format);
    int n = vsnprintf(size ? buf + at : NULL, size - at, format, args);
    va_end(args);
    if (n > 0)
        *length += n;
}

/* What every profile may have lost. */
static void append_losses(char *buf, size_t size, int *length)
{
    uint64_t stacks = prof__stack_table_lost(), rows = prof__rows_lost();

    if (stacks || rows)
        append(buf, size, length,
               "%llu samples of any profile are under [lost: table full]: the tables have reached "
               "their bound; LIBPROF_MEMORY_LIMIT raises it\n",
               (unsigned long long)(stacks + rows));
}

static int heap_status(char *buf, size_t size)
{
    uint64_t rate = prof__heap_rate();
    int length = 0;

    if (rate == 0)
        append(buf, size, &length,
               "heap sampling is off: set LIBPROF_HEAP_RATE=512k or call "
               "prof_set_heap_rate(524288)\n");
    if (!atomic_load_explicit(&hooks, memory_order_relaxed))
        append(buf, size, &length,
               "malloc is not watched: link libprof-hooks, or run under profrun; only blocks fed "
               "by prof_heap_alloc() show\n");
    if (prof__heap_lost())
        append(buf, size, &length, "%llu live blocks are missing from heap: out of memory\n",
               (unsigned long long)prof__heap_lost());
    if (prof__heap_foreign_frees())
        append(buf, size, &length, "prof_heap_free() was given %llu blocks that were not live\n",
               (unsigned long long)prof__heap_foreign_frees());
    append_losses(buf, size, &length);
    return length;
}

/* clang-format off */
#define HEAP_TABLE                                                                                 \
    .table = PROF__TABLE_HEAP, .text = PROF__TEXT_HEAP, .n_values = 4,                             \
    .value_type = {                                                                                \
        { "alloc_objects", "count" }, { "alloc_space", "bytes" },                                  \
        { "inuse_objects", "count" }, { "inuse_space", "bytes" },                                  \
    },                                                                                             \
    .period_type = { "space", "bytes" }, .period = heap_period, .has_sizes = true,                 \
    .finish = heap_finish, .status = heap_status
/* clang-format on */

static struct prof_profile heap_profile = {
    .name = "heap",
    .description = "Memory in use now, by who allocated it: where to look for a leak.",
    HEAP_TABLE,
};

static struct prof_profile allocs_profile = {
    .name = "allocs",
    .description = "All memory allocated since the start, freed or not: where the churn is.",
    .default_type = "alloc_space",
    HEAP_TABLE,
};

/* --- lifecycle -------------------------------------------------------------------------------- */

/* After the libraries that libprof needs, before everybody else's constructors where it can be. */
__attribute__((constructor(101))) static void start(void)
{
    struct prof__settings settings;

    prof__settings_read(&settings, true);
    if (settings.memory_limit >= 0) {
        prof__stack_table_set_limit((size_t)settings.memory_limit / 4 * 3);
        prof__rows_set_limit((size_t)settings.memory_limit / 4);
    }
    prof__stack_init();
    prof__registry_add(&heap_profile);
    prof__registry_add(&allocs_profile);
    prof__fork_install();
}

void prof__hooks_present(bool preloaded)
{
    atomic_store_explicit(&hooks, preloaded ? 2 : 1, memory_order_relaxed);
}

const char *prof_version(void)
{
#define STRING(x)  STRING_(x)
#define STRING_(x) #x
    return STRING(PROF_VERSION_MAJOR) "." STRING(PROF_VERSION_MINOR) "." STRING(
        PROF_VERSION_PATCH);
}

void prof_thread_hide(void)
{
    prof__self.busy = 1;
    prof__self.bytes_left = UINT64_MAX / 2; /* so that the slow path is not taken in vain */
}

void prof__code_before_unload(void)
{
    prof__modules_before_unload();
}

void prof__code_after_unload(void)
{
    prof__modules_after_unload();
    prof__stack_code_unloaded();
}

/* --- writing ---------------------------------------------------------------------------------- */

/* `from` as this library knows the struct. The caller's may be older (shorter) or newer. */
static int options_read(const struct prof_write_options *from, struct prof_write_options *ret)
{
    *ret = (struct prof_write_options)PROF_WRITE_OPTIONS_INIT;
    if (!from)
        return 0;
    if (from->size < offsetof(struct prof_write_options, debug) + sizeof(int))
        return prof_set_last_error(
            -EINVAL, "prof_write_options.size is %zu: start from PROF_WRITE_OPTIONS_INIT",
            from->size);
    for (size_t i = sizeof(*ret); i < from->size; i++)
        if (((const char *)from)[i] != 0)
            return prof_set_last_error(-E2BIG, "prof_write_options has an option that libprof %s "
                                               "does not know",
                                       prof_version());
    memcpy(ret, from, PROF_MIN(from->size, sizeof(*ret)));
    return 0;
}

static int write_snapshot(const struct prof_profile *p, const struct prof__snapshot *s,
                          int64_t duration_ns, const struct prof_write_options *o,
                          prof_sink_fn *sink, void *arg)
{
    struct prof__report_options options = {
        .no_symbols = o->no_symbols != 0,
        .max_samples = o->max_samples,
        .duration_ns = duration_ns,
    };
    struct prof__arena arena = { 0 };
    struct prof__report report;

    int r = prof__report_build(p, s, &options, &arena, &report);
    if (r == 0)
        r = o->debug > 0 ? prof__encode_text(&report, o->debug, &arena, sink, arg)
                         : prof__encode_pprof(&report, &arena, sink, arg);
    if (r == -ENOMEM)
        prof__error_memory("writing a profile");
    prof__arena_free(&arena);
    return r;
}

int prof_profile_write(struct prof_profile *p, const struct prof_write_options *opts,
                       prof_sink_fn *sink, void *arg)
{
    struct prof_write_options o;
    struct prof__snapshot s;

    if (!p || !sink)
        return prof_set_last_error(-EINVAL, "no %s given to prof_profile_write()",
                                   p ? "sink" : "profile");
    int r = options_read(opts, &o);
    if (r < 0)
        return r;
    r = prof__snapshot_take(p->table, &s);
    if (r < 0)
        prof__error_memory("a snapshot");
    else
        r = write_snapshot(p, &s, 0, &o, sink, arg);
    prof__snapshot_free(&s);
    return r;
}

int prof_profile_write_fd(struct prof_profile *p, int fd, int debug)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;

    o.debug = debug;
    return prof_profile_write(p, &o, prof__sink_fd, &fd);
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
    return prof__sink_file(path, write_file, &q);
}

int prof_write_heap(const char *path)
{
    return prof_profile_write_file(&heap_profile, path, 0);
}

/* --- windows ---------------------------------------------------------------------------------- */

struct prof_window {
    const struct prof_profile *profile;
    struct prof__snapshot before; /* owns this struct too */
};

int prof_window_open(const char *name, struct prof_window **ret_window)
{
    struct prof__snapshot before;

    if (!name || !ret_window)
        return prof_set_last_error(-EINVAL, "prof_window_open() takes a name and a place for the "
                                            "window");
    const struct prof_profile *p = prof_lookup(name);
    if (!p)
        return prof_set_last_error(-ENOENT, "there is no profile \"%.60s\"", name);
    if (p->no_window)
        return prof_set_last_error(-ENOTSUP, "profile \"%.60s\" has no windows", name);

    struct prof_window *w = NULL;
    int r = prof__snapshot_take(p->table, &before);
    if (r == 0)
        w = prof__arena_alloc(&before.arena, sizeof(*w));
    if (!w) {
        prof__snapshot_free(&before);
        return prof__error_memory("a snapshot");
    }
    w->profile = p;
    w->before = before;
    *ret_window = w;
    return 0;
}

int prof_window_write(struct prof_window *w, const struct prof_write_options *opts,
                      prof_sink_fn *sink, void *arg)
{
    struct prof_write_options o;
    struct prof__snapshot now;

    if (!w || !sink)
        return prof_set_last_error(-EINVAL, "no %s given to prof_window_write()",
                                   w ? "sink" : "window");
    int r = options_read(opts, &o);
    if (r < 0)
        return r;
    r = prof__snapshot_take(w->profile->table, &now);
    if (r < 0) {
        prof__error_memory("a snapshot");
    } else {
        prof__snapshot_subtract(&now, &w->before);
        r = write_snapshot(w->profile, &now,
                           PROF_MAX(now.monotonic_ns - w->before.monotonic_ns, 1), &o, sink, arg);
    }
    prof__snapshot_free(&now);
    return r;
}

void prof_window_close(struct prof_window *w)
{
    if (w)
        prof__snapshot_free(&w->before);
}

/* --- odds and ends ---------------------------------------------------------------------------- */

int prof_symbol(uint64_t address, char *buf, size_t size)
{
    struct prof__arena arena = { 0 };
    struct prof__modules modules;
    struct prof__symbols symbols = { 0 };
    int r = prof__modules_load(&arena, &modules);

    if (r == 0) {
        struct prof__lookup lookup = {
            prof__modules_find(&modules, address, prof__unload_epoch()),
            address,
        };
        r = lookup.module ? prof__symbolize(&arena, &lookup, 1, &symbols) : 0;
    }
    if (r < 0)
        prof__error_memory("a symbol");
    else if (symbols.n == 0 || !symbols.line[symbols.n - 1].function)
        r = prof_set_last_error(-ENOENT, "no function is known at 0x%llx",
                                (unsigned long long)address);
    else /* the function that was called; those inlined into it have no address of their own */
        r = snprintf(buf, size, "%s", symbols.line[symbols.n - 1].function);
    prof__arena_free(&arena);
    return r;
}
