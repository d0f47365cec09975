/*
 * modules.c - every executable mapping, put together from three sources.
 *
 *   /proc/self/maps     what is mapped, from which file
 *   module_history.c    what the dynamic linker says of it: bias and build id; and what is gone
 *   the file's headers  for what the linker does not list
 *
 * Without /proc the linker's list is all there is.
 */
#include "symbol/modules.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "base/thread.h"
#include "base/utf8.h"
#include "symbol/loader.h"
#include "symbol/map_module.h"
#include "symbol/maps.h"
#include "symbol/module_history.h"
#include "table/eras.h"

static void refresh_quietly(void)
{
    int saved = errno, cancel;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    prof__history_refresh(); /* no memory: names of this object may be lost, nothing else */
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

/* --- loading ---------------------------------------------------------------------------------- */

static bool overlaps(const struct prof__module *a, const struct prof__module *b)
{
    return a->start < b->limit && b->start < a->limit;
}

/* One executable mapping. */
static int from_map(struct prof__arena *a, const struct prof__map *map,
                    const struct prof__history *h, struct prof__module *ret_module)
{
    struct prof__module m;

    for (size_t i = 0; i < h->n_loaded; i++) {
        if (map->start < h->loaded[i].start || map->start >= h->loaded[i].limit)
            continue;
        m = h->loaded[i];
        m.offset += map->start - m.start;
        if (map->inode) { /* a better path than the linker's: no links, never relative */
            m.offset = map->offset;
            m.file = map->path;
            m.inode = map->inode;
            if (h->loaded[i].inode != m.inode || strcmp(h->loaded[i].file, m.file) != 0)
                prof__history_set_file(&m);
        }
        m.start = map->start;
        m.limit = map->limit;
        *ret_module = m;
        return 0;
    }
    int r = prof__map_module(a, map, ret_module);
    /* Nobody told of it, so what is sampled in it is marked as something new. */
    for (size_t i = 0; i < h->n_gone; i++)
        if (overlaps(&h->gone[i], ret_module))
            ret_module->era = h->fresh;
    return r;
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

static int order(const void *a, const void *b)
{
    const struct prof__module *x = a, *y = b;

    if (x->is_main != y->is_main)
        return x->is_main ? -1 : 1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->era > y->era) - (x->era < y->era);
}

static int load(struct prof__arena *a, struct prof__arena *work, struct prof__modules *ret)
{
    struct prof__history h;
    struct prof__map *map = NULL;
    size_t n_maps = 0, n = 0;
    int r = prof__history_refresh();

    if (r == -ENOMEM &&
        a->claim) /* what is known of what was there before is better than nothing */
        r = 0;
    if (r == 0)
        r = prof__maps_read(work, &map, &n_maps);
    if (r != -ENOMEM)
        r = prof__history_copy(work, &h);
    if (r < 0)
        return r;
    struct prof__module *module =
        prof__arena_array(a, n_maps + h.n_loaded + h.n_gone, sizeof(*module));
    if (!module)
        return -ENOMEM;
    for (size_t i = 0; i < n_maps && r == 0; i++)
        if (strcmp(map[i].path, "[vsyscall]") != 0)
            r = from_map(work, &map[i], &h, &module[n++]);
    for (size_t i = 0; n_maps == 0 && i < h.n_loaded; i++)
        module[n++] = h.loaded[i];
    for (size_t i = 0; i < h.n_gone; i++)
        module[n++] = h.gone[i];
    ret->longest = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        r = finish(&module[i], a);
        ret->longest = PROF_MAX(ret->longest, module[i].limit - module[i].start);
    }
    if (r < 0)
        return r;
    qsort(module, n, sizeof(*module), order);
    ret->module = module;
    ret->n = n;
    return 0;
}

int prof__modules_load(struct prof__arena *a, struct prof__modules *ret)
{
    bool entered = prof__enter(&prof__self); /* qsort() may allocate */
    struct prof__arena work = { .claim = a->claim };
    int cancel;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int r = load(a, &work, ret);
    prof__arena_free(&work);
    pthread_setcancelstate(cancel, NULL);
    if (entered)
        prof__leave(&prof__self);
    return r;
}

/* --- looking up ------------------------------------------------------------------------------ */

static bool covers(const struct prof__module *m, uint64_t address, uint32_t era)
{
    return address >= m->start && address < m->limit && era == m->era && era != PROF__ERA_LAST;
}

const struct prof__module *prof__modules_find(const struct prof__modules *m, uint64_t marked)
{
    uint64_t address = prof__era_address(marked);
    uint32_t era = prof__era_of(marked);
    uint64_t reach = m->longest ? m->longest : UINT64_MAX;
    size_t first = 0, low, high = m->n;

    for (; first < m->n && m->module[first].is_main; first++)
        if (covers(&m->module[first], address, era))
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
        if (covers(&m->module[low], address, era))
            return &m->module[low];
    return NULL;
}

const struct prof__module *prof__modules_find_loaded(const struct prof__modules *m,
                                                     uint64_t address)
{
    bool user = address >> PROF__ERA_SHIFT == 0 || prof__era_address(address) == address;

    return user ? prof__modules_find(m, prof__era_mark(address)) : NULL;
}
