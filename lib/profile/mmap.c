/*
 * mmap.c - memory that is mapped: what the program maps, by who did, exactly; and what
 * others have mapped for it, by kind.
 *
 * The first are rows that collect_map.c fills. The rest is what the kernel lists and no hook has
 * seen: libc's malloc, thread stacks and the dynamic linker map from inside. It is made up anew for
 * each reader, as rows of one pseudo frame, so that the profile adds up to what the process has.
 * Memory without access (reserves, guard pages) is left out of those.
 */
#include "profile/builtin.h"
#include "profile/snapshot.h"
#include "record/collect_map.h"
#include "record/presence.h"
#include "symbol/maps.h"
#include "table/mappings.h"
#include "unwind/stack.h"

#include <errno.h>
#include <string.h>

static const enum prof__pseudo unseen[] = {
    PROF__PC_MAPPED_HEAP,
    PROF__PC_MAPPED_LIBC,
    PROF__PC_MAPPED_FILES,
};

struct part {
    uint64_t objects, bytes;
};

struct sums {
    struct prof__map *map;
    size_t n, at;
    uint64_t seen_in; /* bytes of map[at] that are in `each` */
    struct part part[ARRAY_LEN(unseen)];
};

/* The rest of a mapping goes to its kind. */
static void add_rest(struct sums *s)
{
    const struct prof__map *m = &s->map[s->at];
    uint64_t size = m->limit - m->start;

    if (size > s->seen_in && (m->readable || m->writable || m->executable)) {
        struct part *p = &s->part[strcmp(m->path, "[heap]") == 0 ? 0 : *m->path == '/' ? 2 : 1];

        p->objects++;
        p->bytes += size - s->seen_in;
    }
    s->at++;
    s->seen_in = 0;
}

static void take_off(uintptr_t start, uintptr_t end, struct sums *s)
{
    while (s->at < s->n && start < end) {
        const struct prof__map *m = &s->map[s->at];

        if (start < m->limit && end > m->start) {
            uint64_t from = PROF_MAX(start, m->start), to = PROF_MIN(end, m->limit);

            s->seen_in += to - from;
            if (end < m->limit)
                return;
        } else if (end <= m->start) {
            return;
        }
        add_rest(s);
    }
}

/* Where an end was missed the kernel knows better: what lies between its mappings is gone. */
static void agree(const struct prof__map *map, size_t n, uint64_t moment)
{
    static _Atomic uint64_t agreed;
    uint64_t missed = prof__mappings_missed(), end = 0;

    if (atomic_load_explicit(&agreed, memory_order_relaxed) == missed)
        return;
    for (size_t i = 0; i < n; i++) {
        if (map[i].start > end)
            prof__map_removed((const void *)(uintptr_t)end, map[i].start - end, moment);
        end = map[i].limit;
    }
    atomic_store_explicit(&agreed, missed, memory_order_relaxed);
}

static int read_sums(struct prof__snapshot *snapshot, struct sums *s)
{
    struct prof__mapping *seen = NULL;
    uint64_t moment = prof__mappings_now();
    size_t n = 0;
    int r = prof__maps_read_all(&snapshot->arena, &s->map, &s->n);

    if (r < 0)
        return r == -ENOMEM ? r : 0; /* without /proc: what the hooks have seen */
    agree(s->map, s->n, moment);
    r = prof__mappings_copy(&snapshot->arena, &seen, &n);
    for (size_t i = 0; i < n; i++)
        take_off(seen[i].start, seen[i].end, s);
    while (s->at < s->n)
        add_rest(s);
    return r == -ENOMEM ? r : 0;
}

static void add_unseen(struct prof__snapshot *snapshot, const struct sums *s, const uint32_t ref[])
{
    for (size_t i = 0; i < snapshot->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(unseen); k++)
            if (snapshot->sample[i].row == ref[k]) {
                snapshot->sample[i].raw.value[0] = s->part[k].objects;
                snapshot->sample[i].raw.value[1] = s->part[k].bytes;
            }
}

static int take(const struct prof_write_options *w, struct prof__snapshot *ret)
{
    uint32_t ref[ARRAY_LEN(unseen)];

    (void)w;

    for (size_t k = 0; k < ARRAY_LEN(unseen); k++) {
        uintptr_t pc = unseen[k];

        ref[k] =
            prof__rows_get(PROF__TABLE_MMAP, prof__stack_table_add(PROF__STORE_KEPT, &pc, 1), 0, 0);
    }
    struct sums sums = { 0 };
    int r = read_sums(ret, &sums);
    if (r < 0)
        return r;
    r = prof__snapshot_take(PROF__TABLE_MMAP, ret);
    if (r == 0)
        add_unseen(ret, &sums, ref);
    return r;
}

static void finish(const struct prof__values *raw, int64_t ret_value[PROF__VALUES_MAX])
{
    const uint64_t *v = raw->value;

    ret_value[0] = prof__values_total(raw, 0, 0);
    ret_value[1] = prof__values_total(raw, 1, 0);
    ret_value[2] = (int64_t)(v[0] - v[2]);
    ret_value[3] = (int64_t)(v[1] - v[3]);
}

static int status(char *buf, size_t size)
{
    int length = 0;

    enum prof__hooks how = prof__hooks_how();

    if (how != PROF__HOOKS_HERE && how != PROF__HOOKS_WRAPPED && how != PROF__HOOKS_BYPASSED)
        prof__append(buf, size, &length,
                     "mmap is not watched: link libprof-hooks, or run under profrun; all mappings "
                     "are under what is not the program's own\n");
    if (prof__map_lost())
        prof__append(buf, size, &length,
                     "%llu mappings are missing in what is in use: there were too many, or they "
                     "were made while another thread, or a fork, was at it\n",
                     (unsigned long long)prof__map_lost());
    prof__append_losses(buf, size, &length);
    return length;
}

struct prof_profile prof__profile_mmap = {
    .name = "mmap",
    .description = "Memory mapped now, by who mapped it; what libc maps for itself is apart.",
    .table = PROF__TABLE_MMAP,
    .text = PROF__TEXT_HEAP,
    .n_values = 4,
    .value_type = {
        { "alloc_objects", "count" }, { "alloc_space", "bytes" },
        { "inuse_objects", "count" }, { "inuse_space", "bytes" },
    },
    .period_type = { "space", "bytes" },
    .finish = finish,
    .take = take,
    .status = status,
};
