/*
 * module_history.c - which object was at an address in which era.
 *
 *   known: what is loaded, when last looked at      gone: what has left it
 *
 * Both change in one place, prof__history_refresh(), which makes `known` equal to what is loaded:
 * what left goes to `gone`; what comes is taken back from there if it is the same object at the
 * same place, and else has a fresh era if its place was another's. Then eras.h is told, by which
 * samples are marked. It runs before and after each dlclose() and whenever a profile is read; when
 * the loader's counters stand still it is one short call.
 *
 * The loader's lock is never asked for with ours held: a callback of dl_iterate_phdr() has the
 * loader's and may write a profile. So two refreshes may overlap, and the older list is dropped.
 * In a forked child it is not asked for at all: a thread that exists no more may have it, and glibc
 * does not free it. There /proc/self/maps and the files' own headers have to do.
 *
 * Bounds: a library opened and closed for ever is one record; GONE_MAX records, of which the oldest
 * is dropped; names are stored once and repacked.
 */
#include "symbol/module_history.h"

#include <errno.h>
#include <string.h>

#include "base/fork.h"
#include "symbol/loader.h"
#include "symbol/map_module.h"
#include "symbol/maps.h"
#include "table/eras.h"

enum { GONE_MAX = 1024, NAMES_SLACK = 1 << 18 };

/* A module as kept here: `file` is its best path, in names; m.path is not used. */
struct record {
    struct prof__module m;
    uint64_t left;           /* a number that rises with each that leaves */
    const char *loader_name; /* what the linker calls it, in names */
};

struct records { /* by start */
    struct record *record;
    size_t n, room;
};

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_MODULES);
/* Guarded by lock: */
static struct records known, gone;
static uint64_t leavings;
static uint32_t fresh = 1; /* the next era */
static bool fresh_taken;
static uint64_t dropped_low = UINT64_MAX, dropped_high; /* around what `gone` had no room for */
static struct prof__loader_state known_state;
static struct prof__arena names;
static size_t names_bytes;

static _Atomic bool forked; /* this is a child */

/* --- records --------------------------------------------------------------------------------- */

static int insert(struct records *list, const struct record *r)
{
    size_t at = list->n;

    if (list->n == list->room) {
        size_t room = list->room ? list->room * 2 : 32;
        struct record *record = prof__pages_map(room * sizeof(*record));

        if (!record)
            return -ENOMEM;
        if (list->n)
            memcpy(record, list->record, list->n * sizeof(*record));
        prof__pages_unmap(list->record, list->room * sizeof(*record));
        list->record = record;
        list->room = room;
    }
    while (at > 0 && list->record[at - 1].m.start > r->m.start)
        at--;
    memmove(&list->record[at + 1], &list->record[at], (list->n - at) * sizeof(*r));
    list->record[at] = *r;
    list->n++;
    return 0;
}

static void drop(struct records *list, size_t i)
{
    list->n--;
    memmove(&list->record[i], &list->record[i + 1], (list->n - i) * sizeof(*list->record));
}

static bool same_place(const struct prof__module *a, const struct prof__module *b)
{
    return a->start == b->start && a->limit == b->limit && a->offset == b->offset &&
           a->bias == b->bias && a->build_id_size == b->build_id_size &&
           memcmp(a->build_id, b->build_id, a->build_id_size) == 0;
}

static bool overlaps(const struct prof__module *a, const struct prof__module *b)
{
    return a->start < b->limit && b->start < a->limit;
}

/* --- names ----------------------------------------------------------------------------------- */

static const char *find_name(const struct records *list, const char *text)
{
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->record[i].m.file, text) == 0)
            return list->record[i].m.file;
        if (strcmp(list->record[i].loader_name, text) == 0)
            return list->record[i].loader_name;
    }
    return NULL;
}

/* NULL when out of memory. */
static const char *keep_name(const char *text)
{
    const char *kept = find_name(&known, text);

    if (!kept)
        kept = find_name(&gone, text);
    if (!kept) {
        kept = prof__arena_strdup(&names, text);
        names_bytes += kept ? strlen(kept) + 1 : 0;
    }
    return kept;
}

static size_t names_used(const struct records *list)
{
    size_t used = 0;

    for (size_t i = 0; i < list->n; i++)
        used += strlen(list->record[i].m.file) + strlen(list->record[i].loader_name) + 2;
    return used;
}

static bool copy_names(struct records *list, struct prof__arena *to)
{
    for (size_t i = 0; i < list->n; i++) {
        struct record *r = &list->record[i];
        bool same = r->m.file == r->loader_name;
        char *name = prof__arena_strdup(to, r->loader_name);
        char *file = same || !name ? name : prof__arena_strdup(to, r->m.file);

        if (!file)
            return false;
        r->loader_name = name;
        r->m.file = file;
    }
    return true;
}

/* A program that loads ever new names would have us keep them all. */
static void repack_names(void)
{
    struct prof__arena old = names, packed = { 0 };
    size_t used = names_used(&known) + names_used(&gone);

    if (names_bytes < NAMES_SLACK || names_bytes / 2 < used)
        return;
    if (!copy_names(&known, &packed) || !copy_names(&gone, &packed)) {
        /* Records point into both; keep both, and try again when there is memory. */
        names_bytes = 0;
        return;
    }
    names = packed;
    names_bytes = used;
    prof__arena_free(&old);
}

/* --- the history ----------------------------------------------------------------------------- */

/* Of what is gone, what `m` lies over: the first at or after `i`; or gone.n. */
static size_t next_below(const struct prof__module *m, size_t i)
{
    for (; i < gone.n && gone.record[i].m.start < m->limit; i++)
        if (overlaps(&gone.record[i].m, m))
            return i;
    return gone.n;
}

static void drop_oldest(void)
{
    size_t oldest = 0;

    for (size_t i = 1; i < gone.n; i++)
        if (gone.record[i].left < gone.record[oldest].left)
            oldest = i;
    dropped_low = PROF_MIN(dropped_low, gone.record[oldest].m.start);
    dropped_high = PROF_MAX(dropped_high, gone.record[oldest].m.limit);
    drop(&gone, oldest);
}

/* What `known` has and the list has not; out of memory loses it. */
static bool bury(const struct prof__loader_list *list)
{
    bool any = false;

    for (size_t i = 0; i < known.n;) {
        struct record r = known.record[i];
        bool found = false;

        for (size_t j = 0; j < list->n && !found; j++)
            found = same_place(&r.m, &list->module[j]) &&
                    strcmp(r.loader_name, list->module[j].file) == 0;
        if (found) {
            i++;
            continue;
        }
        r.m.gone = true;
        r.left = leavings++;
        if (gone.n == GONE_MAX)
            drop_oldest();
        insert(&gone, &r);
        drop(&known, i);
        any = true;
    }
    return any;
}

/* Is that what has gone? By the build id it is, whatever its name; without, by name and file. */
static bool is_back(const struct record *r, const struct record *was)
{
    return same_place(&r->m, &was->m) &&
           (r->m.build_id_size ||
            (strcmp(r->loader_name, was->loader_name) == 0 && r->m.inode == was->m.inode));
}

/* Take what is back from what is gone; else its era is a fresh one, or 0 where nothing has been. */
static void settle(struct record *r)
{
    size_t i = next_below(&r->m, 0);

    r->m.era = i < gone.n || (r->m.start < dropped_high && dropped_low < r->m.limit) ? fresh : 0;
    for (; i < gone.n; i = next_below(&r->m, i + 1))
        if (is_back(r, &gone.record[i])) {
            r->m.era = gone.record[i].m.era;
            drop(&gone, i);
            break;
        }
    fresh_taken |= r->m.era == fresh;
}

/* What the list has and `known` has not. Whether there was any, or -ENOMEM. */
static int add_new(const struct prof__loader_list *list, const struct prof__map *map, size_t n_maps)
{
    int any = 0;

    for (size_t j = 0; j < list->n; j++) {
        struct record r = { .m = list->module[j] };
        bool found = false;

        for (size_t i = 0; i < known.n && !found; i++)
            found = same_place(&r.m, &known.record[i].m) &&
                    strcmp(r.m.file, known.record[i].loader_name) == 0;
        if (found)
            continue;
        r.loader_name = r.m.file = keep_name(r.m.file);
        if (!r.loader_name)
            return -ENOMEM;
        for (size_t i = 0; i < n_maps; i++)
            if (map[i].start == r.m.start && map[i].inode) {
                const char *file = keep_name(map[i].path);

                r.m.inode = map[i].inode;
                r.m.file = file ? file : r.m.file;
            }
        settle(&r);
        any = 1;
        int e = insert(&known, &r);
        if (e < 0)
            return e;
    }
    return any;
}

static void tell_place(const struct record *r)
{
    const struct prof__module *m = &r->m;

    prof__eras_add(
        &(struct prof__era_place) { m->start, m->limit, m->id_at, m->id, m->era, !m->gone });
}

/* All that is gone, and what is loaded where something is gone. */
static void tell(void)
{
    if (gone.n + fresh == 1 || prof__eras_begin(fresh) < 0) /* nothing has ever left; no memory */
        return;
    for (size_t i = 0, k = 0; i < gone.n || k < known.n;) {
        if (i < gone.n && (k == known.n || gone.record[i].m.start <= known.record[k].m.start)) {
            tell_place(&gone.record[i++]);
            continue;
        }
        const struct record *r = &known.record[k++];

        if (r->m.era || next_below(&r->m, 0) < gone.n)
            tell_place(r);
    }
    prof__eras_end();
}

static uint64_t changes(const struct prof__loader_state *s)
{
    return s->added + s->removed;
}

/* Does the linker's list leave open what file an object came from? */
static bool needs_maps(const struct prof__loader_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct prof__module *m = &list->module[i];

        if (!m->is_main && m->file[0] != '[' && (m->file[0] != '/' || m->build_id_size == 0))
            return true;
    }
    return false;
}

/* Make `known` equal to the list. */
static int apply(const struct prof__loader_list *list, const struct prof__map *map, size_t n_maps)
{
    bool left = bury(list);
    int r = add_new(list, map, n_maps);

    /* All of one time have the same, since they are at different places. */
    fresh += fresh_taken && fresh < PROF__ERA_LAST;
    fresh_taken = false;
    if (left || r != 0)
        tell();
    if (r >= 0)
        known_state = list->state;
    repack_names();
    return PROF_MIN(r, 0);
}

static int refresh_from_loader(struct prof__arena *a)
{
    struct prof__loader_state state;
    struct prof__loader_list list;
    struct prof__map *map = NULL;
    size_t n_maps = 0;
    int r;

    prof__loader_state(&state);
    prof__lock(&lock);
    bool is_current = known.n && changes(&state) == changes(&known_state);
    prof__unlock(&lock);
    if (is_current)
        return 0;

    r = prof__loader_list(a, &list);
    if (r < 0)
        return r;
    if (needs_maps(&list) && prof__maps_read(a, &map, &n_maps) < 0)
        n_maps = 0;
    prof__lock(&lock);
    if (known.n == 0 || changes(&list.state) >= changes(&known_state))
        r = apply(&list, map, n_maps);
    prof__unlock(&lock);
    return r;
}

/* Of the modules in h, the one that still is where `map` is. */
static size_t still_there(const struct prof__history *h, const struct prof__map *map)
{
    size_t i = 0;

    for (; i < h->n_loaded; i++) {
        const struct prof__module *m = &h->loaded[i];

        if (map->start >= m->start && map->start < m->limit &&
            (!m->inode || !map->inode || m->inode == map->inode))
            break;
    }
    return i;
}

static int refresh_from_maps(struct prof__arena *a)
{
    struct prof__loader_list list = { 0 };
    struct prof__history h = { 0 };
    struct prof__map *map;
    size_t n_maps;
    int r = prof__maps_read(a, &map, &n_maps);

    if (r < 0)
        return r == -ENOMEM ? r : 0; /* what the parent knew has to do */
    r = prof__history_copy(a, &h);
    list.module = r < 0 ? NULL : prof__arena_array(a, n_maps, sizeof(*list.module));
    bool *listed = r < 0 ? NULL : prof__arena_array(a, h.n_loaded + 1, sizeof(*listed));
    if (!list.module || !listed)
        return -ENOMEM;
    for (size_t i = 0; i < n_maps && r == 0; i++) {
        size_t at = still_there(&h, &map[i]);
        struct prof__module *m = &list.module[list.n];

        if (at < h.n_loaded) {
            *m = h.loaded[at];
            m->file = m->path; /* by which it is known */
            list.n += !listed[at];
            listed[at] = true;
        } else {
            r = prof__map_module(a, &map[i], m);
            list.n += m->is_elf;
        }
    }
    if (r < 0)
        return r;
    prof__lock(&lock);
    r = apply(&list, map, n_maps);
    prof__unlock(&lock);
    return r;
}

int prof__history_refresh(void)
{
    struct prof__arena a = { 0 };
    /* Relaxed: set while there is but one thread. */
    int r = atomic_load_explicit(&forked, memory_order_relaxed) ? refresh_from_maps(&a)
                                                                : refresh_from_loader(&a);

    prof__arena_free(&a);
    return r;
}

/* --- for others ------------------------------------------------------------------------------- */

static int copy_records(const struct records *list, struct prof__arena *a,
                        struct prof__module **ret_module)
{
    struct prof__module *module = prof__arena_array(a, list->n, sizeof(*module));

    if (!module)
        return -ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        module[i] = list->record[i].m;
        module[i].file = prof__arena_strdup(a, list->record[i].m.file);
        module[i].path = prof__arena_strdup(a, list->record[i].loader_name);
        if (!module[i].file || !module[i].path)
            return -ENOMEM;
    }
    *ret_module = module;
    return 0;
}

int prof__history_copy(struct prof__arena *a, struct prof__history *ret_history)
{
    struct prof__history h;

    prof__lock(&lock);
    h.n_loaded = known.n;
    h.n_gone = gone.n;
    h.fresh = fresh;
    int r = copy_records(&known, a, &h.loaded);
    if (r == 0)
        r = copy_records(&gone, a, &h.gone);
    prof__unlock(&lock);
    if (r == 0)
        *ret_history = h;
    return r;
}

void prof__history_set_file(const struct prof__module *m)
{
    prof__lock(&lock);
    for (size_t i = 0; i < known.n; i++) {
        struct prof__module *k = &known.record[i].m;
        const char *file = k->start == m->start && k->bias == m->bias ? keep_name(m->file) : NULL;

        if (file) {
            k->file = file;
            k->inode = m->inode;
        }
    }
    prof__unlock(&lock);
}

/* A thread that is gone may have been half-way through a change; then what was known is given up.
 * Otherwise the history goes on in the child. */
void prof__history_fork_child(void)
{
    if (atomic_load_explicit(&lock.state, memory_order_relaxed) != 0) {
        known = gone = (struct records) { 0 };
        names = (struct prof__arena) { 0 };
        names_bytes = 0;
    }
    prof__lock_reset(&lock);
    atomic_store_explicit(&forked, true, memory_order_relaxed);
}

PROF__AT_FORK(PROF__RANK_MODULES, NULL, NULL, prof__history_fork_child)
