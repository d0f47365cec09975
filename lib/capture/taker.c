/*
 * taker.c - writing captures, with what was put by for it.
 *
 * The bound of one: the tables' own, as each is read once; names five seconds at most, as for any
 * profile. Near the limit there are none.
 */
#include "capture/taker.h"

#include <errno.h>
#include <math.h>
#include <prof/trace.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/rawlog.h"
#include "base/reserve.h"
#include "table/trace_ring.h"

enum { SECOND_NS = 1000000000, PAGE = 4096 };

#define MIB (1024.0 * 1024)

enum { LENT_LEAST = 1 << 20, LENT_MOST = 16 << 20 };

/* What names take is not known before the first have been looked up. */
#define NAMES_BYTES_GUESS (32 * MIB)
#define NAMES_MS_GUESS    2000

/* --- what is there before --------------------------------------------------------------------- */

static void lend(struct prof__taker *t, size_t bytes)
{
    char *memory = prof__pages_map(bytes);

    if (!memory)
        return;
    for (size_t i = 0; i < bytes; i += PAGE) /* so that it is had, not only promised */
        ((volatile char *)memory)[i] = 0;
    prof__reserve_lend(memory, bytes);
    if (t->lent)
        prof__pages_unmap(t->lent, t->lent_bytes);
    t->lent = memory;
    t->lent_bytes = bytes;
}

/* Twice what the last took without names, if that is little of what is left. */
static void lend_enough(struct prof__taker *t, size_t wanted)
{
    size_t bytes = PROF_MIN((2 * wanted + PAGE - 1) / PAGE * PAGE, (size_t)LENT_MOST);

    if (bytes > t->lent_bytes && (double)bytes * 8 < t->headroom)
        lend(t, bytes);
}

static int into_nothing(void *arg, const void *data, size_t size)
{
    (void)arg;
    (void)data;
    (void)size;
    return 0;
}

/* So that nothing is done for the first time when it matters. */
static void rehearse(struct prof__taker *t)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;

    o.no_symbols = 1;
    prof_profile_write(prof_lookup("heap"), &o, into_nothing, NULL);
    lend_enough(t, prof__reserve_lent_wanted());
}

void prof__taker_open(struct prof__taker *t, const struct prof__rules *rules, const char *path,
                      bool own, int64_t since_s, struct prof__taker_counts *counts,
                      void (*done)(unsigned number, int error))
{
    *t = (struct prof__taker) {
        .counts = counts,
        .since_s = since_s,
        .first = rules->keep_first,
        .last = rules->keep_last,
        .bytes = rules->keep_bytes,
        .ready = { .fd = -1 },
        .hook = { -1 },
        .names_bytes = -1,
        .names_ms = -1,
        .headroom = INFINITY,
        .done = done,
    };
    snprintf(t->path, sizeof(t->path), "%s", path);
    t->dir = prof__shelf_open(path, own);
    t->counts->dir_error = PROF_MIN(t->dir, 0);
    if (t->dir < 0)
        prof__log("no captures in %.200s: %s", path, strerror(-t->dir));
    if (*rules->exec)
        t->counts->hook_error = prof__hook_start(&t->hook, rules->exec);
    t->room = prof__pages_map(PROF__SHELF_MOST * sizeof(*t->room));
    lend(t, LENT_LEAST);
    rehearse(t);
    if (t->dir >= 0)
        prof__shelf_prepare(t->dir, &t->ready);
}

void prof__taker_close(struct prof__taker *t)
{
    for (unsigned i = 0; i < PROF__PENDING_MAX; i++)
        if (t->pending[i].window) {
            prof_window_close(t->pending[i].window);
            t->pending[i].window = NULL;
            t->done(t->pending[i].occasion.number, -ECANCELED);
        }
    prof__reserve_lend(NULL, 0);
    if (t->lent)
        prof__pages_unmap(t->lent, t->lent_bytes);
    if (t->room)
        prof__pages_unmap(t->room, PROF__SHELF_MOST * sizeof(*t->room));
    t->lent = NULL;
    t->room = NULL;
    prof__hook_stop(&t->hook);
    prof__shelf_abandon(&t->ready);
    if (t->dir >= 0)
        syscall(SYS_close, t->dir);
    t->dir = -1;
}

/* --- one profile ------------------------------------------------------------------------------ */

struct writing {
    struct prof__taker *t;
    struct prof__shelf_file bare, named;
    const char *name;
    bool is_there; /* the bare one, on the shelf */
    size_t wanted; /* of what was lent */
    int64_t bare_ns;
    size_t bare_bytes; /* libprof's memory then */
};

/* Names take memory and time. Near the limit the kernel would end us in the middle of it. */
static bool may_name(const struct prof__taker *t)
{
    double bytes = t->names_bytes < 0 ? NAMES_BYTES_GUESS : 2 * t->names_bytes + 8 * MIB;
    double ms = t->names_ms < 0 ? NAMES_MS_GUESS : 2 * t->names_ms + 200;

    return t->headroom > bytes + fmax(t->growth, 0) * ms / 1000;
}

static int write_bare(void *arg, const void *data, size_t size)
{
    struct writing *w = arg;

    if (size)
        return prof__shelf_write(&w->bare, data, size);
    int r = prof__shelf_publish(&w->bare, w->name);
    if (r < 0)
        return r;
    w->is_there = true;
    w->wanted = prof__reserve_lent_wanted();
    w->bare_ns = prof__monotonic_ns();
    w->bare_bytes = prof__pages_total();
    return may_name(w->t) ? 0 : -ECANCELED;
}

static int write_named(void *arg, const void *data, size_t size)
{
    struct writing *w = arg;

    if (w->named.fd < 0) { /* the names are there: so much they took */
        size_t bytes = prof__pages_total();
        int r = prof__shelf_create(w->t->dir, &w->named);

        if (r < 0)
            return r;
        if (w->is_there) {
            w->t->names_ms = (double)(prof__monotonic_ns() - w->bare_ns) / 1e6;
            w->t->names_bytes = bytes > w->bare_bytes ? (double)(bytes - w->bare_bytes) : 0;
        }
    }
    return prof__shelf_write(&w->named, data, size);
}

static int write_files(struct writing *w, struct prof_window *window, struct prof_profile *p,
                       const struct prof_write_options *o)
{
    int r = window ? prof_window_write(window, o, write_named, w)
                   : prof_profile_write(p, o, write_named, w);

    if (r == 0 && w->named.fd >= 0)
        r = prof__shelf_publish(&w->named, w->name);
    prof__shelf_abandon(&w->named);
    prof__shelf_abandon(&w->bare);
    return r;
}

/* The name is settled with the first file, so that the second takes its place. */
static int write_profile(struct prof__taker *t, const struct prof__kept *k,
                         struct prof_window *window)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    struct prof_profile *p = window ? NULL : prof_lookup(k->profile);
    char name[PROF__SHELF_NAME], comment[160];
    struct writing w = {
        .t = t, .bare = t->ready, .named = { .fd = -1, .dir = t->dir }, .name = name
    };

    if (t->dir < 0)
        return t->dir;
    if (!window && !p)
        return -ENOENT;
    t->ready.fd = -1;
    if (w.bare.fd < 0) {
        int r = prof__shelf_create(t->dir, &w.bare);

        if (r < 0)
            return r;
    }
    prof__shelf_name(k, name);
    snprintf(comment, sizeof(comment), "capture %u of process %d: %s%s%s", k->number, k->pid,
             k->rule, *k->value ? ", at " : "", k->value);
    o.bare = write_bare;
    o.bare_arg = &w;
    o.comment = comment;
    int r = write_files(&w, window, p, &o);
    if (w.is_there && r < 0) {
        t->counts->nameless++;
        if (r != -ECANCELED)
            t->counts->last_error = r;
        r = 0;
    }
    if (r == 0)
        lend_enough(t, w.wanted);
    prof__shelf_prepare(t->dir, &t->ready);
    return r;
}

/* --- what the flight recorder has ------------------------------------------------------------- */

/* A timeline takes some ten times what its records do; the limit must not come of it. */
static bool has_room_for_trace(const struct prof__taker *t)
{
    uint64_t records = 0;

    for (unsigned i = 0; i < prof__trace_rings(); i++)
        records += PROF_MIN(prof__trace_ring_written(i), (uint64_t)PROF__TRACE_RING_RECORDS);
    return t->headroom > 2.0 * 300 * (double)records + 4 * MIB;
}

static int write_piece(void *arg, const void *data, size_t size)
{
    return prof__shelf_write(arg, data, size);
}

static int write_trace(struct prof__taker *t, const struct prof__kept *k)
{
    struct prof_trace_options o = PROF_TRACE_OPTIONS_INIT;
    struct prof__shelf_file file = { .fd = -1 };
    char name[PROF__SHELF_NAME];
    int r = t->dir < 0               ? t->dir
            : !has_room_for_trace(t) ? -ENOMEM
                                     : prof__shelf_create(t->dir, &file);

    if (r < 0)
        return r;
    prof__shelf_name(k, name);
    o.gzip = 1;
    o.no_symbols = !may_name(t);
    r = prof_trace_snapshot(&o, write_piece, &file);
    if (r == 0)
        r = prof__shelf_publish(&file, name);
    prof__shelf_abandon(&file);
    return r;
}

static int write_now(struct prof__taker *t, const struct prof__kept *k)
{
    return strcmp(k->profile, PROF__WANTED_TRACE) == 0 ? write_trace(t, k)
                                                       : write_profile(t, k, NULL);
}

/* --- one capture ------------------------------------------------------------------------------ */

static void tidy(struct prof__taker *t, const struct prof__kept *k)
{
    struct prof__shelf_bounds b = {
        .program = k->program,
        .pid = k->pid,
        .since_s = t->since_s,
        .first = t->first,
        .last = t->last,
        .bytes = t->bytes,
    };

    if (t->dir >= 0 && t->room)
        prof__shelf_prune(t->dir, &b, t->room);
}

static bool is_pending(const struct prof__taker *t, unsigned number)
{
    for (unsigned i = 0; i < PROF__PENDING_MAX; i++)
        if (t->pending[i].window && t->pending[i].occasion.number == number)
            return true;
    return false;
}

/* One of its files is there, or not. */
static int wrote(struct prof__taker *t, const struct prof__occasion *o, const struct prof__kept *k,
                 int r)
{
    char name[PROF__SHELF_NAME], path[PROF__CAPTURE_PATH + PROF__SHELF_NAME];

    prof__shelf_name(k, name);
    snprintf(path, sizeof(path), "%s/%s", t->path, name);
    if (r < 0) {
        t->counts->failed++;
        t->counts->last_error = r;
        prof__log("no capture %s: %s", path, strerror(-r));
        return r;
    }
    prof__log("captured %s", path);
    if (o->exec && !prof__hook_tell(&t->hook, path, o->rule, o->value))
        t->counts->unheard++;
    return 0;
}

static int open_window(struct prof__taker *t, const struct prof__wanted *wanted,
                       const struct prof__kept *k, const struct prof__occasion *o)
{
    for (unsigned i = 0; i < PROF__PENDING_MAX; i++) {
        struct prof__pending *p = &t->pending[i];

        if (p->window)
            continue;
        int r = prof_window_open(wanted->profile, &p->window);
        if (r < 0) {
            p->window = NULL;
            return r;
        }
        p->due_ns = prof__monotonic_ns() + wanted->seconds * (int64_t)SECOND_NS;
        p->kept = *k;
        p->occasion = *o;
        return 0;
    }
    return -EBUSY;
}

void prof__taker_take(struct prof__taker *t, const struct prof__wanted *wanted, unsigned n,
                      const struct prof__occasion *o)
{
    struct prof__kept k = {
        .pid = getpid(),
        .time_s = prof__wall_ns() / SECOND_NS,
        .number = o->number,
    };
    int error = 0;

    snprintf(k.program, sizeof(k.program), "%s", program_invocation_short_name);
    snprintf(k.rule, sizeof(k.rule), "%s", o->rule);
    snprintf(k.value, sizeof(k.value), "%s", o->value);
    for (unsigned i = 0; i < n; i++) { /* what is at once, before what takes its time */
        if (wanted[i].seconds)
            continue;
        snprintf(k.profile, sizeof(k.profile), "%s", wanted[i].profile);
        int r = wrote(t, o, &k, write_now(t, &k));
        error = r < 0 ? r : error;
    }
    for (unsigned i = 0; i < n; i++) {
        if (!wanted[i].seconds)
            continue;
        snprintf(k.profile, sizeof(k.profile), "%s", wanted[i].profile);
        int r = open_window(t, &wanted[i], &k, o);
        if (r < 0)
            error = wrote(t, o, &k, r);
    }
    tidy(t, &k);
    if (error < 0 || !is_pending(t, o->number))
        t->done(o->number, error);
}

void prof__taker_finish(struct prof__taker *t, int64_t now_ns)
{
    for (unsigned i = 0; i < PROF__PENDING_MAX; i++) {
        struct prof__pending *p = &t->pending[i];
        struct prof_window *window = p->window;

        if (!window || p->due_ns > now_ns)
            continue;
        int r = wrote(t, &p->occasion, &p->kept, write_profile(t, &p->kept, window));
        prof_window_close(window);
        p->window = NULL;
        tidy(t, &p->kept);
        if (r < 0 || !is_pending(t, p->occasion.number))
            t->done(p->occasion.number, r);
    }
}

int64_t prof__taker_due_ns(const struct prof__taker *t)
{
    int64_t due = INT64_MAX;

    for (unsigned i = 0; i < PROF__PENDING_MAX; i++)
        if (t->pending[i].window)
            due = PROF_MIN(due, t->pending[i].due_ns);
    return due;
}
