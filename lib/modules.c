/*
 * modules.c - what is loaded, and what was.
 *
 *   known: the loader's list when last looked at     gone: what has left it, with its epochs
 *
 * Both change in one place, refresh(), which makes `known` equal to the loader's list: what left
 * goes to `gone`, and then the unload epoch is counted up. It runs before and after each dlclose()
 * and at each load; when the loader's counters stand still it is one short call. So an object
 * noticed in an epoch was loaded in that epoch, and (address, epoch) names at most one.
 *
 * The loader's lock is never asked for with ours held: a callback of dl_iterate_phdr() has the
 * loader's and may write a profile. So two refreshes may overlap, and the older list is dropped.
 *
 * Bounds: a library opened and closed for ever is one record, unless others were at its place
 * in between; GONE_MAX records, oldest dropped; names are stored once and repacked.
 */
#include "modules.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "base/lock.h"
#include "elf_file.h"
#include "loader.h"
#include "maps.h"
#include "stack_table.h"
#include "utf8.h"

enum { GONE_MAX = 1024, NAMES_SLACK = 1 << 18 };

/* A module as kept here: `file` is its best path, in names; m.path is not used. */
struct record {
    struct prof__module m;
    const char *loader_name; /* what the linker calls it, in names */
};

struct records {
    struct record *record;
    size_t n, room;
};

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_MODULES);
/* Guarded by lock: */
static struct records known, gone;
static struct prof__loader_state known_state;
static struct prof__arena names;
static size_t names_bytes;

/* --- records --------------------------------------------------------------------------------- */

static int push(struct records *list, const struct record *r)
{
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
    list->record[list->n++] = *r;
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
    struct prof__arena old = names, fresh = { 0 };
    size_t used = names_used(&known) + names_used(&gone);

    if (names_bytes < NAMES_SLACK || names_bytes / 2 < used)
        return;
    if (!copy_names(&known, &fresh) || !copy_names(&gone, &fresh)) {
        /* Records point into both; keep both, and try again when there is memory. */
        names_bytes = 0;
        return;
    }
    names = fresh;
    names_bytes = used;
    prof__arena_free(&old);
}

/* --- the history ----------------------------------------------------------------------------- */

/* Was anything else at the place of `m` in epochs (after, before)? */
static bool was_taken(const struct prof__module *m, uint32_t after, uint32_t before)
{
    for (size_t i = 0; i < gone.n; i++) {
        const struct prof__module *o = &gone.record[i].m;

        if (overlaps(o, m) && o->first_epoch < before && o->last_epoch > after)
            return true;
    }
    return false;
}

/* Remember an object that is no longer loaded; out of memory loses it. */
static void remember(const struct record *r)
{
    for (size_t i = gone.n; i-- > 0;) {
        struct prof__module *o = &gone.record[i].m;

        if (!same_place(o, &r->m) || strcmp(gone.record[i].loader_name, r->loader_name) != 0)
            continue;
        if (was_taken(&r->m, o->last_epoch, r->m.first_epoch))
            break;
        o->last_epoch = r->m.last_epoch;
        return;
    }
    if (gone.n == GONE_MAX)
        drop(&gone, 0);
    push(&gone, r);
}

/* What `known` has and the list has not. */
static bool bury(const struct prof__loader_list *list, uint32_t epoch)
{
    bool any = false;

    for (size_t i = 0; i < known.n;) {
        struct record *r = &known.record[i];
        bool found = false;

        for (size_t j = 0; j < list->n && !found; j++)
            found = same_place(&r->m, &list->module[j]) &&
                    strcmp(r->loader_name, list->module[j].file) == 0;
        if (found) {
            i++;
            continue;
        }
        r->m.last_epoch = epoch;
        remember(r);
        drop(&known, i);
        any = true;
    }
    return any;
}

/* What the list has and `known` has not. */
static int add_new(const struct prof__loader_list *list, const struct prof__map *map, size_t n_maps,
                   uint32_t epoch)
{
    size_t before = known.n;

    for (size_t j = 0; j < list->n; j++) {
        struct record r = { .m = list->module[j] };
        bool found = false;

        for (size_t i = 0; i < before && !found; i++)
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
        r.m.first_epoch = epoch;
        r.m.last_epoch = UINT32_MAX;
        /* Both came and went between two looks: what was there went first. */
        for (size_t i = 0; i < gone.n; i++)
            if (overlaps(&gone.record[i].m, &r.m) && gone.record[i].m.last_epoch == epoch)
                r.m.first_epoch = epoch + 1;
        int e = push(&known, &r);
        if (e < 0)
            return e;
    }
    return 0;
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

static int refresh(void)
{
    struct prof__loader_state state;
    struct prof__loader_list list;
    struct prof__arena a = { 0 };
    struct prof__map *map = NULL;
    size_t n_maps = 0;
    int r;

    prof__loader_state(&state);
    prof__lock(&lock);
    bool is_current = known.n && changes(&state) == changes(&known_state);
    prof__unlock(&lock);
    if (is_current)
        return 0;

    r = prof__loader_list(&a, &list);
    if (r < 0)
        goto out;
    if (needs_maps(&list) && prof__maps_read(&a, &map, &n_maps) < 0)
        n_maps = 0;
    prof__lock(&lock);
    if (known.n == 0 || changes(&list.state) >= changes(&known_state)) {
        uint32_t epoch = prof__unload_epoch();
        bool any = bury(&list, epoch);

        r = add_new(&list, map, n_maps, epoch);
        if (any)
            prof__unload_epoch_next();
        if (r == 0)
            known_state = list.state;
        repack_names();
    }
    prof__unlock(&lock);
out:
    prof__arena_free(&a);
    return r;
}

static void refresh_quietly(void)
{
    int saved = errno, cancel;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    refresh(); /* no memory: names of this object may be lost, nothing else */
    pthread_setcancelstate(cancel, NULL);
    errno = saved;
}

void prof__modules_before_unload(void)
{
    refresh_quietly();
}

void prof__modules_after_unload(void)
{
    refresh_quietly();
}

/* --- loading --------------------------------------------------------------------------------- */

/* One executable mapping, as far as the maps and `known` tell. */
static struct prof__module from_map(const struct prof__map *map)
{
    struct prof__module m = { .path = "", .file = map->path, .last_epoch = UINT32_MAX };

    for (size_t i = 0; i < known.n; i++) {
        struct record *r = &known.record[i];

        if (map->start < r->m.start || map->start >= r->m.limit)
            continue;
        m = r->m;
        m.offset += map->start - m.start;
        if (map->inode) { /* a better path than the linker's: no links, never relative */
            m.offset = map->offset;
            m.file = map->path;
            m.inode = map->inode;
            if (r->m.inode != map->inode || strcmp(r->m.file, map->path) != 0) {
                const char *file = keep_name(map->path);

                r->m.inode = map->inode;
                r->m.file = file ? file : r->m.file;
            }
        }
        break;
    }
    m.start = map->start;
    m.limit = map->limit;
    if (!m.is_elf) {
        m.offset = map->offset;
        m.inode = map->inode;
        for (size_t i = 0; i < gone.n; i++)
            if (overlaps(&gone.record[i].m, &m))
                m.first_epoch = PROF_MAX(m.first_epoch, gone.record[i].m.last_epoch + 1);
    }
    return m;
}

/* Take the strings along and settle what the path means. */
static int finish(struct prof__module *m, struct prof__arena *a)
{
    static const char suffix[] = " (deleted)";
    size_t length = strlen(m->file), cut = length - PROF_MIN(length, sizeof(suffix) - 1);
    bool has_suffix = cut && strcmp(m->file + cut, suffix) == 0;
    struct stat st;

    if (m->is_main && length == 0) { /* without /proc */
        const char *execfn = (const char *)getauxval(AT_EXECFN);

        m->file = prof__arena_strdup(a, execfn ? execfn : "");
    } else if (length == 0) {
        m->file = prof__arena_strdup(a, "[anon]");
    } else {
        m->file = prof__arena_strdup(a, m->file);
    }
    if (!m->file)
        return -ENOMEM;
    if (m->file[0] == '/' && m->inode) {
        /* The suffix may be part of the name; then that file is there. */
        m->deleted = stat(m->file, &st) < 0 || st.st_ino != m->inode;
        if (m->deleted && has_suffix)
            ((char *)m->file)[cut] = '\0';
    }
    m->path = prof__utf8_clean(a, m->file);
    return m->path ? 0 : -ENOMEM;
}

/* A mapped ELF file that the linker does not list: of another name space, or mapped by hand. */
static int probe(struct prof__module *m, struct prof__arena *a)
{
    struct prof__elf e;
    int r = m->file[0] == '/' && m->inode && !m->deleted ? prof__elf_open(&e, a, m->file) : -ENOENT;

    if (r == -ENOENT)
        return 0;
    for (size_t i = 0; r == 0 && e.inode == m->inode && i < e.n_segments; i++) {
        const Elf64_Phdr *p = &e.segment[i];

        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || m->offset < (p->p_offset & ~4095ull) ||
            m->offset >= p->p_offset + p->p_filesz)
            continue;
        m->bias = m->start - (p->p_vaddr - p->p_offset + m->offset);
        m->is_elf = true;
        m->build_id_size = e.build_id_size;
        memcpy(m->build_id, e.build_id, e.build_id_size);
        break;
    }
    prof__elf_close(&e);
    return r == -ENOMEM ? r : 0;
}

static int order(const void *a, const void *b)
{
    const struct prof__module *x = a, *y = b;

    if (x->is_main != y->is_main)
        return x->is_main ? -1 : 1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->last_epoch > y->last_epoch) - (x->last_epoch < y->last_epoch);
}

/* Copies, with strings that still belong to others. */
static int collect(struct prof__arena *a, const struct prof__map *map, size_t n_maps,
                   struct prof__module **ret_module, size_t *ret_n)
{
    size_t n = 0;
    struct prof__module *module = prof__arena_array(a, n_maps + known.n + gone.n, sizeof(*module));

    if (!module)
        return -ENOMEM;
    for (size_t i = 0; i < n_maps; i++)
        if (strcmp(map[i].path, "[vsyscall]") != 0)
            module[n++] = from_map(&map[i]);
    for (size_t i = 0; n_maps == 0 && i < known.n; i++)
        module[n++] = known.record[i].m;
    for (size_t i = 0; i < gone.n; i++)
        module[n++] = gone.record[i].m;
    for (size_t i = 0; i < n; i++) { /* while we hold the lock that guards them */
        module[i].file = prof__arena_strdup(a, module[i].file);
        if (!module[i].file)
            return -ENOMEM;
    }
    *ret_module = module;
    *ret_n = n;
    return 0;
}

static int load(struct prof__arena *a, struct prof__modules *ret)
{
    struct prof__arena work = { 0 };
    struct prof__module *module = NULL;
    struct prof__map *map = NULL;
    size_t n_maps = 0, n = 0;
    uint64_t longest = 0;
    int r = refresh();

    if (r == 0)
        r = prof__maps_read(&work, &map, &n_maps);
    if (r == -ENOMEM)
        goto out;
    prof__lock(&lock);
    r = collect(a, map, n_maps, &module, &n);
    prof__unlock(&lock);
    for (size_t i = 0; i < n && r == 0; i++) {
        r = finish(&module[i], a);
        if (r == 0 && !module[i].is_elf)
            r = probe(&module[i], &work);
        longest = PROF_MAX(longest, module[i].limit - module[i].start);
    }
    if (r < 0)
        goto out;
    qsort(module, n, sizeof(*module), order);
    ret->module = module;
    ret->n = n;
    ret->longest = longest;
out:
    prof__arena_free(&work);
    return r;
}

int prof__modules_load(struct prof__arena *a, struct prof__modules *ret)
{
    int cancel;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int r = load(a, ret);
    pthread_setcancelstate(cancel, NULL);
    return r;
}

/* --- looking up ------------------------------------------------------------------------------ */

static bool covers(const struct prof__module *m, uint64_t address, uint32_t epoch)
{
    return address >= m->start && address < m->limit && epoch >= m->first_epoch &&
           epoch <= m->last_epoch;
}

const struct prof__module *prof__modules_find(const struct prof__modules *m, uint64_t address,
                                              uint32_t epoch)
{
    uint64_t reach = m->longest ? m->longest : UINT64_MAX;
    size_t first = 0, low, high = m->n;

    for (; first < m->n && m->module[first].is_main; first++)
        if (covers(&m->module[first], address, epoch))
            return &m->module[first];
    for (low = first; low < high;) { /* the first that starts after `address` */
        size_t mid = low + (high - low) / 2;

        if (m->module[mid].start <= address)
            low = mid + 1;
        else
            high = mid;
    }
    /* Those no longer mapped may overlap others, so it need not be the last before. */
    while (low-- > first && address - m->module[low].start < reach)
        if (covers(&m->module[low], address, epoch))
            return &m->module[low];
    return NULL;
}

/* A thread that is gone may have been half-way through a change; then what was known is given up.
 * Otherwise the history goes on in the child. */
void prof__modules_fork_child(void)
{
    if (atomic_load_explicit(&lock.state, memory_order_relaxed) != 0) {
        known = gone = (struct records) { 0 };
        names = (struct prof__arena) { 0 };
        names_bytes = 0;
    }
    prof__lock_reset(&lock);
}
