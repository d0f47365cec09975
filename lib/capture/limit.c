/*
 * limit.c - memory.current, .max, .stat and .events of cgroups(7), and their like of version 1.
 */
#include "capture/limit.h"

#include <math.h>
#include <stdio.h>
#include <sys/sysinfo.h>

#include "base/hash.h"
#include "capture/file.h"
#include "image/headroom.h"

enum { STAT_BYTES = 8192, GROUPS_BYTES = 4096 };

static const struct names {
    const char *used, *most, *stat;
    const char *files, *shared, *slab; /* fields of `stat` */
    /* Of its own limit, not those of groups below, where the kernel tells them apart; or else of
     * all, which its neighbours have a part in. */
    const char *events[2], *all_events;
} names[] = {
    { "memory.current",
      "memory.max",
      "memory.stat",
      "\nfile ",
      "\nshmem ",
      "\nslab_reclaimable ",
      { "memory.events.local", NULL },
      "memory.events" },
    /* With the groups below, which its use has with it. */
    { "memory.usage_in_bytes",
      "memory.limit_in_bytes",
      "memory.stat",
      "\ntotal_cache ",
      "\ntotal_shmem ",
      NULL,
      { "memory.failcnt", "memory.oom_control" },
      NULL },
};

static const char *const event_fields[PROF__EVENTS] = {
    [PROF__EVENT_LOW] = "\nlow ", [PROF__EVENT_HIGH] = "\nhigh ",     [PROF__EVENT_MAX] = "\nmax ",
    [PROF__EVENT_OOM] = "\noom ", [PROF__EVENT_KILL] = "\noom_kill ",
};

/* --- opening ---------------------------------------------------------------------------------- */

static int open_in(const char *folder, const char *name)
{
    char path[640];

    return name && snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path)
               ? prof__file_open(path)
               : -1;
}

static void close_level(struct prof__limit_level *level)
{
    prof__file_close(&level->used);
    prof__file_close(&level->most);
    prof__file_close(&level->stat);
    prof__file_close(&level->events[0]);
    prof__file_close(&level->events[1]);
}

void prof__limit_add(struct prof__limit *l, const char *folder, bool version_1)
{
    const struct names *n = &names[version_1];

    if (l->n == PROF__LIMIT_LEVELS)
        return;
    struct prof__limit_level level = { -1, open_in(folder, n->most), -1, { -1, -1 }, version_1 };
    if (level.most < 0) /* the root has none */
        return;
    level.used = open_in(folder, n->used);
    level.stat = open_in(folder, n->stat);
    level.events[0] = open_in(folder, n->events[0]);
    level.events[1] = open_in(folder, n->events[1]);
    if (level.events[0] < 0)
        level.events[0] = open_in(folder, n->all_events);
    if (level.used < 0)
        close_level(&level);
    else
        l->level[l->n++] = level;
}

static void add(const char *folder, bool version_1, void *limit)
{
    prof__limit_add(limit, folder, version_1);
}

void prof__limit_close(struct prof__limit *l)
{
    while (l->n > 0)
        close_level(&l->level[--l->n]);
    l->group_hash = 0;
}

void prof__limit_follow(struct prof__limit *l, int cgroups)
{
    char text[GROUPS_BYTES];

    if (!prof__file_read(cgroups, text, sizeof(text)))
        return;
    uint64_t hash = prof__hash_bytes(text, strlen(text)) | 1;
    if (hash == l->group_hash)
        return;
    prof__limit_close(l);
    l->group_hash = hash;
    prof__memory_groups(text, add, l);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* "max" is no number. */
static bool read_bytes(int fd, uint64_t *ret)
{
    char text[32];

    if (!prof__file_read(fd, text, sizeof(text)) || text[0] < '0' || text[0] > '9')
        return false;
    *ret = prof__file_number(text, 10);
    return true;
}

/* What the kernel takes back before it kills. */
static uint64_t read_spare(const struct prof__limit_level *level)
{
    const struct names *n = &names[level->version_1];
    char text[STAT_BYTES] = "\n";
    uint64_t files = 0, shared = 0, slab = 0;

    if (!prof__file_read(level->stat, text + 1, sizeof(text) - 1))
        return 0;
    prof__file_field(text, n->files, 10, &files);
    prof__file_field(text, n->shared, 10, &shared);
    if (n->slab)
        prof__file_field(text, n->slab, 10, &slab);
    return files - PROF_MIN(shared, files) + slab;
}

bool prof__limit_read(const struct prof__limit *l, double *ret_used, double *ret_limit)
{
    struct sysinfo machine;
    double all = sysinfo(&machine) == 0 ? (double)machine.totalram * machine.mem_unit : 0;
    bool found = false;

    for (unsigned i = 0; i < l->n; i++) {
        uint64_t used, most;

        if (!read_bytes(l->level[i].most, &most) || (all > 0 && (double)most >= all) ||
            !read_bytes(l->level[i].used, &used))
            continue;
        used -= PROF_MIN(used, read_spare(&l->level[i]));
        if (found && *ret_limit - *ret_used <= (double)most - (double)used)
            continue;
        *ret_used = (double)used;
        *ret_limit = (double)most;
        found = true;
    }
    if (!found && all > 0)
        *ret_limit = all;
    return found;
}

static void add_event(double *sum, uint64_t n)
{
    *sum = isnan(*sum) ? (double)n : *sum + (double)n;
}

void prof__limit_read_events(const struct prof__limit *l, double ret[PROF__EVENTS])
{
    for (unsigned e = 0; e < PROF__EVENTS; e++)
        ret[e] = NAN;
    for (unsigned i = 0; i < l->n; i++) {
        const struct prof__limit_level *level = &l->level[i];
        bool version_1 = level->version_1;
        char text[512] = "\n";
        uint64_t n;

        if (version_1 && read_bytes(level->events[0], &n))
            add_event(&ret[PROF__EVENT_MAX], n);
        if (!prof__file_read(level->events[version_1], text + 1, sizeof(text) - 1))
            continue;
        for (unsigned e = 0; e < PROF__EVENTS; e++)
            if (prof__file_field(text, event_fields[e], 10, &n))
                add_event(&ret[e], n);
    }
}
