/*
 * prepared.c - search, copy, check.
 */
#include "outside/prepared.h"

#include <errno.h>
#include <prof/prof.h>
#include <stdio.h>
#include <string.h>

#include "profile/builtin.h"
#include "profile/registry.h"
#include "profile/report.h"
#include "profile/snapshot.h"
#include "scan/scan.h"
#include "table/labels.h"
#include "table/root.h"

enum {
    PIECE = 64 * 1024,
    STACK_MAX = 4096, /* frames that no stack has */
    NAME_ROOM = 256,  /* of a custom profile's name, which is shorter */
};

/* --- searching -------------------------------------------------------------------------------- */

static bool take_root(struct prof__image *image, uint64_t at, struct prof__tables_root *ret)
{
    return prof__image_read(image, at, ret, sizeof(*ret)) == sizeof(*ret);
}

static uint64_t search(struct prof__image *image, const struct prof__image_map *m, char *piece)
{
    char magic[PROF__TABLES_ROOT_MAGIC];

    prof__tables_root_magic(magic);
    for (uint64_t at = m->start; at < m->end; at += PIECE) {
        size_t n = prof__image_read(image, at, piece, PROF_MIN((uint64_t)PIECE, m->end - at));

        for (size_t i = 0; i + sizeof(magic) <= n; i += sizeof(magic))
            if (memcmp(piece + i, magic, sizeof(magic)) == 0)
                return at + i;
    }
    return 0;
}

void prof__prepared_find(struct prof__image *image, struct prof__prepared *ret)
{
    static char piece[PIECE] __attribute__((aligned(16)));
    struct prof__tables_root root;

    *ret = (struct prof__prepared) { 0 };
    for (size_t i = 0; i < image->n_maps && !ret->at; i++) {
        const struct prof__image_map *m = &image->map[i];

        /* .data is of a file, and private. */
        if (m->readable && m->writable && !m->shared && !m->untouchable && !m->anonymous)
            ret->at = search(image, m, piece);
    }
    if (!ret->at || !take_root(image, ret->at, &root)) {
        ret->at = 0;
        return;
    }
    memcpy(ret->version, root.version, sizeof(root.version));
    ret->version[sizeof(root.version)] = '\0';
    ret->layout = root.layout;
    ret->is_known = root.layout == PROF__TABLES_ROOT_LAYOUT && root.size == sizeof(root);
    if (ret->is_known) {
        ret->build_id_bytes = PROF_MIN(root.build_id_bytes, (uint64_t)sizeof(ret->build_id));
        memcpy(ret->build_id, root.build_id, ret->build_id_bytes);
    }
}

int prof__prepared_own(struct prof__image *image, const struct prof__prepared *p,
                       struct prof__arena *a)
{
    struct prof__own_pages one;
    struct prof__image_span *span = prof__arena_array(a, PROF__OWN_PAGES, sizeof(*span));
    struct prof__tables_root root;
    size_t n = 0;

    if (!span)
        return -ENOMEM;
    if (!p->is_known || !take_root(image, p->at, &root))
        return 0;
    for (uint64_t i = 0; i < PROF_MIN(root.n_own, (uint64_t)PROF__OWN_PAGES); i++) {
        if (prof__image_read(image, (uintptr_t)root.own + i * sizeof(one), &one, sizeof(one)) !=
            sizeof(one))
            break;
        uint64_t start = atomic_load_explicit(&one.start, memory_order_relaxed);
        uint64_t size = atomic_load_explicit(&one.size, memory_order_relaxed);
        if (start <= 1 || size == 0 || start + size < start)
            continue;
        size_t k = n++;
        for (; k > 0 && span[k - 1].start > start; k--)
            span[k] = span[k - 1];
        span[k] = (struct prof__image_span) { start, start + size };
    }
    image->own = span;
    image->n_own = n;
    return 0;
}

/* --- copying ---------------------------------------------------------------------------------- */

/* All of a slab, into one of ours that is empty. Chunks that the core has not are zeros. */
static int copy_slab(struct prof__image *image, struct prof__prepared *p, uint64_t from,
                     struct prof__slab *to)
{
    static struct prof__slab theirs;

    if (prof__image_read(image, from, &theirs, sizeof(theirs)) != sizeof(theirs)) {
        p->absent_bytes += sizeof(theirs);
        return 0;
    }
    uint64_t used = atomic_load_explicit(&theirs.used, memory_order_relaxed);
    used = PROF_MIN(used, (uint64_t)PROF__SLAB_CHUNK * PROF__SLAB_CHUNKS);
    for (size_t i = 0; i * PROF__SLAB_CHUNK < used; i++) {
        uintptr_t at = (uintptr_t)atomic_load_explicit(&theirs.chunk[i], memory_order_relaxed);
        size_t want = (size_t)PROF_MIN(used - i * PROF__SLAB_CHUNK, (uint64_t)PROF__SLAB_CHUNK);
        char *chunk = prof__pages_map(PROF__SLAB_CHUNK);

        if (!chunk)
            return -ENOMEM;
        size_t got = at ? prof__image_read(image, at, chunk, want) : 0;
        p->absent_bytes += want - got;
        atomic_store_explicit(&to->chunk[i], chunk, memory_order_relaxed);
    }
    atomic_store_explicit(&to->used, used, memory_order_relaxed);
    return 0;
}

/* --- checking --------------------------------------------------------------------------------- */

/* Is there an entry of `size` bytes at a reference? */
static bool is_inside(const struct prof__slab *s, uint32_t ref, uint64_t size)
{
    uint64_t at = (uint64_t)ref * 8;

    return ref && at + size <= atomic_load_explicit(&s->used, memory_order_relaxed) &&
           at % PROF__SLAB_CHUNK + size <= PROF__SLAB_CHUNK;
}

static bool is_stack(prof__stack_id id)
{
    uint32_t store = id >> PROF__STORE_SHIFT, ref = prof__store_ref(id);
    const struct prof__slab *s;

    if (id == UINT32_MAX) /* of what could not be kept */
        return true;
    if (store >= PROF__STORES ||
        !is_inside(s = &prof__stack_stores[store].slab, ref, sizeof(struct prof__stack)))
        return false;
    uint32_t n = ((const struct prof__stack *)prof__slab_at((struct prof__slab *)s, ref))->n;
    return n > 0 && n <= STACK_MAX &&
           is_inside(s, ref, sizeof(struct prof__stack) + (uint64_t)n * sizeof(uintptr_t));
}

static void check_row(struct prof__prepared *p, struct prof__row *row)
{
    prof__stack_id id = atomic_load_explicit(&row->stack, memory_order_relaxed);

    if (!id)
        return;
    if (is_stack(id)) {
        p->rows++;
        if (!prof__labels_are_sane(row->labels))
            row->labels = 0;
        return;
    }
    p->dropped++;
    atomic_store_explicit(&row->stack, 0, memory_order_relaxed);
}

static void check_rows(struct prof__prepared *p)
{
    for (int store = 0; store < PROF__STORES; store++) {
        struct prof__slab *s = &prof__row_stores[store].slab;
        uint64_t end = atomic_load_explicit(&s->used, memory_order_relaxed);

        for (uint64_t at = sizeof(struct prof__row); at + sizeof(struct prof__row) <= end;
             at += sizeof(struct prof__row))
            if (at % PROF__SLAB_CHUNK + sizeof(struct prof__row) <= PROF__SLAB_CHUNK)
                check_row(p, prof__slab_at(s, (uint32_t)(at / 8)));
    }
    for (int i = 0; i < PROF__TABLES; i++)
        check_row(p, &prof__lost_rows[i]);
    /* No more than there are, and as many as may be asked for. */
    for (int i = 0; i < PROF__TABLES; i++)
        atomic_store_explicit(&prof__row_counts[i], (uint32_t)(p->rows + p->dropped),
                              memory_order_relaxed);
}

/* --- sampled blocks, and what the program has told ----------------------------------------------
 */

struct adoption {
    struct prof__image *image;
    struct prof__prepared *p;
};

static size_t read_there(void *arg, uint64_t from, void *to, size_t n)
{
    return prof__image_read(((struct adoption *)arg)->image, from, to, n);
}

static void absent_there(void *arg, uint64_t bytes)
{
    ((struct adoption *)arg)->p->absent_bytes += bytes;
}

/* A row of the heap's, whose stack has been found to be one. */
static bool is_heap_row(uint32_t ref)
{
    uint32_t store = ref >> PROF__STORE_SHIFT, at = prof__store_ref(ref);

    if (prof__rows_is_lost(ref))
        return true;
    if (store >= PROF__STORES || (uint64_t)at * 8 % sizeof(struct prof__row) ||
        !is_inside(&prof__row_stores[store].slab, at, sizeof(struct prof__row)))
        return false;
    const struct prof__row *row = prof__rows_at(ref);
    return row->table == PROF__TABLE_HEAP &&
           atomic_load_explicit(&row->stack, memory_order_relaxed) != 0;
}

static bool is_block(void *arg, uintptr_t key, const struct prof__live *live)
{
    struct prof__prepared *p = ((struct adoption *)arg)->p;
    bool is_sane = (key & ~PROF__LIVE_FED) <= PROF__ADDRESS_MASK && live->objects > 0 &&
                   live->bytes >= 0 && is_heap_row(live->row);

    p->blocks += is_sane;
    p->dropped_blocks += !is_sane;
    return is_sane;
}

static int count_block(const struct prof__image_block *b, void *arg)
{
    (void)b;
    ++*(size_t *)arg;
    return 0;
}

struct listed {
    struct prof__image_block *block;
    size_t n, room;
};

static int list_block(const struct prof__image_block *b, void *arg)
{
    struct listed *l = arg;

    if (l->n < l->room)
        l->block[l->n++] = *b;
    return 0;
}

/* Into the table of ours, and from there to the image. */
static int adopt_blocks(struct adoption *a, const struct prof__tables_root *theirs)
{
    struct listed l = { 0 };
    int r = prof__live_adopt(
        (uintptr_t)theirs->live,
        &(struct prof__live_elsewhere) {
            .read = read_there, .is_sane = is_block, .absent = absent_there, .arg = a });

    if (r < 0)
        return r;
    prof__image_live_blocks(a->image, count_block, &l.room);
    if (l.room && !(l.block = prof__pages_map(l.room * sizeof(*l.block))))
        return -ENOMEM;
    prof__image_live_blocks(a->image, list_block, &l);
    a->image->given = l.block;
    a->image->n_given = l.n;
    return 0;
}

/* What libprof does when it is loaded, and a tool that is linked with its rooms does not. */
static void register_profiles(void)
{
    for (size_t i = 0; prof__builtin[i]; i++)
        prof__registry_add(prof__builtin[i]);
    prof__scan_init();
}

/* Their custom profiles, under the same numbers. One whose name cannot be had, or is of another
 * profile here, is there under another. */
static void adopt_names(struct adoption *a, const struct prof__tables_root *theirs)
{
    for (unsigned i = 0; i < PROF__TABLES_ROOT_CUSTOMS; i++) {
        char name[NAME_ROOM] = "";
        uint64_t at;

        if (!prof__image_word(a->image, (uintptr_t)theirs->custom + i * sizeof(at), &at) || !at)
            break;
        size_t n = prof__image_read(a->image, at, name, sizeof(name) - 1);
        name[n] = '\0';
        if (prof_profile_new(name, NULL) < 0) {
            snprintf(name, sizeof(name), "custom-%u", i + 1);
            if (prof_profile_new(name, NULL) < 0)
                break;
        }
    }
}

/* Roots, and blocks that are to be left alone. */
static int adopt_told(struct adoption *a, const struct prof__tables_root *theirs)
{
    struct prof__told *told = prof__pages_map(sizeof(*told));
    uint64_t block;

    if (!told)
        return -ENOMEM;
    if (prof__image_read(a->image, (uintptr_t)theirs->told, told, sizeof(*told)) != sizeof(*told)) {
        a->p->absent_bytes += sizeof(*told);
        told->n_roots = told->n_ignored = 0;
    }
    for (size_t i = 0; i < PROF_MIN(told->n_roots, (uint64_t)PROF__TOLD_ROOTS); i++)
        prof_heap_root((const void *)(uintptr_t)told->root[i].start,
                       told->root[i].end - told->root[i].start);
    for (size_t i = 0; i < PROF_MIN(told->n_ignored, (uint64_t)PROF__TOLD_IGNORED); i++)
        if (prof__image_word(a->image, (uintptr_t)told->ignored + i * sizeof(block), &block))
            prof_heap_ignore((const void *)(uintptr_t)block);
    prof__pages_unmap(told, sizeof(*told));
    return 0;
}

/* --- all -------------------------------------------------------------------------------------- */

int prof__prepared_adopt(struct prof__image *image, struct prof__prepared *p)
{
    struct prof__tables_root theirs;
    uint64_t rate;
    int r = 0;

    if (!p->is_known)
        return prof_set_last_error(-ENOTSUP,
                                   "libprof %.16s is in it, which keeps its tables in another way "
                                   "(layout %u) than this profctl reads (%u): use the profctl of "
                                   "that version",
                                   p->version, p->layout, (unsigned)PROF__TABLES_ROOT_LAYOUT);
    if (!take_root(image, p->at, &theirs))
        return prof_set_last_error(-ENOTSUP, "libprof's tables cannot be read");
    for (int i = 0; i < PROF__TABLES_ROOT_SLABS && r == 0; i++)
        r = copy_slab(image, p, (uintptr_t)theirs.slab[i], prof__tables_root.slab[i]);
    if (r < 0)
        return prof_set_last_error(r, "out of memory");
    for (int i = 0; i < PROF__TABLES_ROOT_PLAIN; i++) {
        size_t size = prof__tables_root.plain[i].size;

        if (theirs.plain[i].size != size ||
            prof__image_read(image, (uintptr_t)theirs.plain[i].at, prof__tables_root.plain[i].at,
                             size) != size)
            p->absent_bytes += size;
    }
    if (prof__image_word(image, (uintptr_t)theirs.heap_rate, &rate) && rate <= INT64_MAX)
        prof_set_heap_rate((int64_t)rate);
    check_rows(p);
    struct adoption a = { image, p };
    register_profiles();
    adopt_names(&a, &theirs);
    r = adopt_told(&a, &theirs);
    if (r == 0)
        r = adopt_blocks(&a, &theirs);
    prof__scan_lend(image);
    return r < 0 ? prof_set_last_error(r, "out of memory") : 0;
}

/* What of the tables is not in the core, before what else there is to say. */
static const char *notes_of(const struct prof__prepared *p, const char *notes,
                            struct prof__arena *a)
{
    if (!p->absent_bytes && !p->dropped && !p->dropped_blocks)
        return notes;
    return prof__arena_printf(a,
                              "%.1f KiB of the tables could not be read, and %zu rows and blocks "
                              "make no sense: samples are missing\n%s",
                              (double)p->absent_bytes / 1024, p->dropped + p->dropped_blocks,
                              notes ? notes : "");
}

/* Nothing moves any more, so one look is enough, at whatever age. */
static const struct prof_scan_options *scan_options(const struct prof__prepared_ask *ask,
                                                    struct prof_scan_options *o)
{
    *o = (struct prof_scan_options)PROF_SCAN_OPTIONS_INIT;
    o->passes = 1;
    o->cpu_percent = 100;
    o->age_s = -1;
    o->site = ask->site;
    return o;
}

/* Of rows, or looked for in the image: others would tell of this process. */
static bool is_told(const struct prof_profile *p)
{
    if (p == &prof__profile_leaks || p == &prof__profile_holders || p == &prof__profile_heap ||
        p == &prof__profile_allocs)
        return true;
    return !p->take && !p->report;
}

int prof__prepared_report(struct prof__image *image, const struct prof__prepared *p,
                          const struct prof__prepared_ask *ask, struct prof__arena *a,
                          struct prof__report *ret)
{
    const struct prof_profile *profile = prof_lookup(ask->name);
    struct prof__modules modules = { 0 };
    struct prof__snapshot snapshot = { 0 };
    struct prof__report_options o = { .names = ask->names, .own_lines = true, .modules = &modules };
    struct prof_write_options w = PROF_WRITE_OPTIONS_INIT;
    struct prof_scan_options scan;

    if (!profile || !is_told(profile))
        return prof_set_last_error(-ENOENT, "there is no profile \"%.60s\" in it", ask->name);
    w.scan = scan_options(ask, &scan);
    int r = prof__image_modules(image, a, &modules);
    if (r == 0 && profile->report)
        r = profile->report(profile, &w, &o, a, ret);
    if (r == 0 && !profile->report) {
        r = profile->take ? profile->take(&w, &snapshot)
                          : prof__snapshot_take(profile->table, &snapshot);
        if (r == 0)
            snapshot.notes = notes_of(p, snapshot.notes, a);
        if (r == 0)
            r = prof__report_build(profile, &snapshot, &o, a, ret);
    }
    prof__arena_free(&snapshot.arena);
    return r == -ENOMEM ? prof_set_last_error(r, "out of memory") : r;
}

int prof__prepared_text(const char *name, const struct prof__report *r, struct prof__arena *a,
                        prof_sink_fn *sink, void *arg)
{
    const struct prof_profile *p = prof_lookup(name);

    return p == &prof__profile_leaks || p == &prof__profile_holders ? p->write_text(r, a, sink, arg)
                                                                    : -ENOTSUP;
}

const char *prof__prepared_name(size_t i)
{
    struct prof_profile *all[PROF__TABLES];
    size_t n = PROF_MIN(prof_profiles(all, PROF__TABLES), (size_t)PROF__TABLES);

    for (size_t k = 0; k < n; k++)
        if (is_told(all[k]) && i-- == 0)
            return all[k]->name;
    return NULL;
}
