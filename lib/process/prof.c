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

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "arch/arithmetic.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/rawlog.h"
#include "base/reserve.h"
#include "base/sampler.h"
#include "base/settings.h"
#include "base/slot.h"
#include "base/thread.h"
#include "encode/encode.h"
#include "encode/sink.h"
#include "process/last_thread.h"
#include "profile/builtin.h"
#include "profile/registry.h"
#include "profile/report.h"
#include "profile/snapshot.h"
#include "record/collect_code.h"
#include "scan/scan.h"
#include "symbol/modules.h"
#include "symbol/symbolize.h"
#include "table/tables.h"
#include "unwind/stack.h"

enum { LEAST_RESERVE = 2 << 20 }; /* bytes, for one profile when there is no more memory */

/* A window holds what each row was at its beginning: with full tables some 5 MiB. All that are open
 * may hold so much together; one is always had. */
enum { WINDOWS_FACTOR = 4 }; /* of the memory limit */
static size_t windows_limit; /* bytes */
static _Atomic size_t windows_held;

/* --- lifecycle -------------------------------------------------------------------------------- */

/* After the libraries that libprof needs, before everybody else's constructors where it can be. */
__attribute__((constructor(101))) static void start(void)
{
    struct prof__settings settings;
    bool entered = prof__enter(&prof__self);

    prof__settings_read(&settings, true);
    size_t limit = PROF__TABLES_LIMIT;
    if (settings.memory_limit >= 0) {
        limit = (size_t)settings.memory_limit;
        prof__stack_table_set_limit(limit / 4 * 3);
        prof__rows_set_limit(limit / 4);
    }
    windows_limit = limit * WINDOWS_FACTOR;
    prof__reserve_init(PROF_MAX(limit / 2, (size_t)LEAST_RESERVE));
    prof__stack_init();
    for (size_t i = 0; prof__builtin[i]; i++)
        prof__registry_add(prof__builtin[i]);
    prof__scan_init();
    prof__last_thread_init();
    if (entered)
        prof__leave(&prof__self);
}

const char *prof_version(void)
{
#define STRING(x)  STRING_(x)
#define STRING_(x) #x
    return STRING(PROF_VERSION_MAJOR) "." STRING(PROF_VERSION_MINOR) "." STRING(PROF_VERSION_PATCH);
}

void prof_thread_hide(void)
{
    struct prof__slot *s = prof__slot_mine();

    if (s)
        atomic_store_explicit(&s->hidden, true, memory_order_relaxed);
    prof__self.busy = PROF__HIDDEN;
    prof__self.bytes_left = UINT64_MAX / 2; /* so that the slow path is not taken in vain */
}

/* `hiding` is read as a frame is, for where the profiler was entered from. */
static_assert(offsetof(struct prof_hiding, from) == sizeof(void *), "as a frame record");

void prof_hide_begin(struct prof_hiding *hiding)
{
    hiding->from = __builtin_return_address(0);
    hiding->began = prof__enter_at(&prof__self, (uintptr_t)hiding);
}

void prof_hide_end(const struct prof_hiding *hiding)
{
    if (hiding->began)
        prof__leave(&prof__self);
}

void prof_thread_helper(void)
{
    prof_thread_hide();
    struct prof__slot *s = prof__slot_mine_if_any();
    if (s)
        atomic_store(&s->helper, true);
    prof__last_thread_helper();
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
    };
    for (size_t i = 0; o->names && i < ARRAY_LEN(names); i++)
        if (strcmp(o->names, names[i]) == 0) {
            ret->names = (enum prof__names)i;
            return 0;
        }
    return o->names ? prof_set_last_error(-EINVAL, "names are short, full or mangled") : 0;
}

static int take_snapshot(const struct prof_profile *p, const struct prof_write_options *w,
                         struct prof__snapshot *ret)
{
    uint32_t program = prof__arithmetic_begin();
    int r = p->take ? p->take(w, ret) : prof__snapshot_take(p->table, ret);

    prof__arithmetic_end(program);
    return r == -ENOMEM ? prof__error_memory("a snapshot") : r;
}

/* The caller's own sink, which may allocate what the profiles are to show, or count on its traps.
 */
struct sink {
    prof_sink_fn *fn;
    void *arg;
    bool entered;     /* the profiler, here: not when the thread is hidden anyway */
    uintptr_t busy;   /* where it was entered */
    uint32_t program; /* its arithmetic */
    bool is_used;     /* there is no starting afresh */
};

static void sink_leave(const struct sink *s)
{
    prof__arithmetic_end(s->program);
    if (s->entered)
        prof__leave(&prof__self);
}

static int pass_on(void *arg, const void *data, size_t size)
{
    struct sink *s = arg;

    s->is_used = true;
    sink_leave(s);
    int r = s->fn(s->arg, data, size);
    prof__self.busy = s->busy;
    s->program = prof__arithmetic_begin();
    return r;
}

/* What is allocated until sink_leave() by the libraries we use is not the program's, and what is
 * computed, is in our way. Inlined, since public functions enter the profiler in their own frame: a
 * dump of all threads shows the calling one from the caller of that frame on
 * (prof__entered_from()). */
static inline __attribute__((always_inline)) struct sink sink_enter(prof_sink_fn *fn, void *arg)
{
    bool entered = prof__enter(&prof__self);

    return (struct sink) { fn, arg, entered, prof__self.busy, prof__arithmetic_begin(), false };
}

static int encode(const struct prof_profile *p, const struct prof__report *report,
                  const struct prof_write_options *o, struct prof__arena *arena, prof_sink_fn *sink,
                  void *arg)
{
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
                      struct sink *sink)
{
    struct prof__arena arena = { .claim = claim };
    struct prof__report report;
    int r = p->report ? p->report(p, o, options, &arena, &report)
                      : prof__report_build(p, s, options, &arena, &report);

    if (r == 0)
        r = encode(p, &report, o, &arena, pass_on, sink);
    prof__arena_free(&arena);
    return r;
}

/* When there is not even enough in the reserve, the profile becomes a smaller one: without names,
 * then with ever fewer stacks, the largest. */
static int write_snapshot(const struct prof_profile *p, const struct prof__snapshot *s,
                          int64_t duration_ns, const struct prof_write_options *o,
                          struct prof__claim *claim, struct sink *sink)
{
    struct prof__report_options options;
    size_t mark = prof__reserve_mark(claim);
    uint64_t n = s->n;
    int r = report_options_read(o, &options);

    if (r < 0)
        return r;
    options.duration_ns = duration_ns;
    if (o->max_samples && o->max_samples < n)
        n = o->max_samples;
    while ((r = write_once(p, s, &options, o, claim, sink)) == -ENOMEM && !sink->is_used) {
        if (options.no_symbols && (n /= 4) == 0)
            break;
        if (options.no_symbols)
            options.max_samples = n;
        options.no_symbols = options.short_of_memory = true;
        prof__reserve_rewind(claim, mark);
    }
    return r == -ENOMEM ? prof__error_memory("writing a profile") : r;
}

static int write_detail(const struct prof_profile *p, const struct prof_write_options *o,
                        struct sink *sink)
{
    struct prof__report_options options;
    int r = report_options_read(o, &options);

    if (r < 0)
        return r;
    r = p->write_detail(p, &options, pass_on, sink);
    return r == -ENOMEM ? prof__error_memory("writing a profile") : r;
}

static int write_now(struct prof_profile *p, const struct prof_write_options *o, struct sink *sink)
{
    struct prof__claim claim = { 0 };
    struct prof__snapshot s = { .arena.claim = &claim };

    if (o->debug >= 2 && p->write_detail && !o->folded)
        return write_detail(p, o, sink);
    int r = p->report ? 0 : take_snapshot(p, o, &s);
    if (r == 0)
        r = write_snapshot(p, &s, 0, o, &claim, sink);
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
    int r = options_read(opts, &o);
    if (r < 0)
        return r;
    struct sink entered = sink_enter(sink, arg);
    r = write_now(p, &o, &entered);
    sink_leave(&entered);
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

/* --- windows ---------------------------------------------------------------------------------- */

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
    r = take_snapshot(p, NULL, &before);
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
                        struct sink *sink)
{
    struct prof__claim claim = { 0 };
    struct prof__snapshot now = { .arena.claim = &claim };
    int r = take_snapshot(w->profile, NULL, &now);

    if (r == 0 && (r = prof__snapshot_subtract(&now, &w->before)) < 0)
        prof__error_memory("a snapshot");
    if (r == 0) {
        if (w->profile->time_is_start)
            now.wall_ns = w->before.wall_ns;
        r = write_snapshot(w->profile, &now, PROF_MAX(now.monotonic_ns - w->before.monotonic_ns, 1),
                           o, &claim, sink);
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
    int r = options_read(opts, &o);
    if (r < 0)
        return r;
    struct sink entered = sink_enter(sink, arg);
    r = write_window(w, &o, &entered);
    sink_leave(&entered);
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

/* --- odds and ends ---------------------------------------------------------------------------- */

/* Look n addresses up in what is loaded now, until then; 0: as long as it takes at most. The
 * results live in `a`. 0, 1: time was up, or -ENOMEM. */
static int find_symbols(struct prof__arena *a, const uint64_t *address, size_t n, int64_t until_ns,
                        const struct prof__symbols **ret_symbols)
{
    struct prof__modules modules;
    struct prof__code_address *asked = prof__arena_array(a, n, sizeof(*asked));
    struct prof__symbols *symbols = prof__arena_array(a, n, sizeof(*symbols));
    int r = asked && symbols ? prof__modules_load(a, &modules) : -ENOMEM;

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        asked[i] = (struct prof__code_address) { prof__modules_find_loaded(&modules, address[i]),
                                                 address[i] };
    r = prof__symbolize_until(a, asked, n, until_ns, symbols, NULL);
    *ret_symbols = symbols;
    return r;
}

int prof_symbols_until(const uint64_t *address, size_t n, int64_t until_ns, prof_symbol_fn *each,
                       void *arg)
{
    struct prof__arena arena = { 0 };
    const struct prof__symbols *symbols = NULL;

    if ((n && !address) || !each)
        return prof_set_last_error(-EINVAL, "no %s given to prof_symbols()",
                                   each ? "addresses" : "function");
    int r = n ? find_symbols(&arena, address, n, until_ns, &symbols) : 0;
    bool late = r > 0;
    if (r < 0)
        prof__error_memory("symbols");
    for (size_t i = 0; i < n && r >= 0; i++) {
        /* The function that was called; those inlined into it have no address of their own. */
        size_t last = symbols[i].n - 1;

        if (symbols[i].n && symbols[i].line[last].function)
            r = each(arg, address[i], symbols[i].line[last].function);
    }
    prof__arena_free(&arena);
    return r < 0 ? r : late;
}

int prof_symbols(const uint64_t *address, size_t n, prof_symbol_fn *each, void *arg)
{
    int r = prof_symbols_until(address, n, 0, each, arg);

    return PROF_MIN(r, 0);
}

int prof_source_file(uint64_t address, unsigned depth, char *buf, size_t size)
{
    struct prof__arena arena = { 0 };
    const struct prof__symbols *symbols = NULL;

    if (size && !buf)
        return prof_set_last_error(-EINVAL, "no buffer given to prof_source_file()");
    int r = find_symbols(&arena, &address, 1, 0, &symbols);
    if (r < 0)
        prof__error_memory("symbols");
    else if (depth >= symbols->n || !symbols->line[depth].file)
        r = prof_set_last_error(-ENOENT, "no source file is known at 0x%llx",
                                (unsigned long long)address);
    else
        r = snprintf(buf, size, "%s", symbols->line[depth].file);
    prof__arena_free(&arena);
    return r;
}

struct name_buffer {
    char *data;
    size_t size;
    int length; /* of the whole name; -ENOENT: none */
};

static int copy_name(void *arg, uint64_t address, const char *name)
{
    struct name_buffer *b = arg;

    (void)address;
    b->length = snprintf(b->data, b->size, "%s", name);
    return 0;
}

int prof_symbol(uint64_t address, char *buf, size_t size)
{
    struct name_buffer name = { buf, size, -ENOENT };

    if (size && !buf)
        return prof_set_last_error(-EINVAL, "no buffer given to prof_symbol()");
    int r = prof_symbols(&address, 1, copy_name, &name);
    if (r < 0)
        return r;
    if (name.length < 0)
        return prof_set_last_error(-ENOENT, "no function is known at 0x%llx",
                                   (unsigned long long)address);
    return name.length;
}
