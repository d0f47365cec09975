/*
 * resident.c - /proc/self/smaps, proc(5): for each mapping its line of /proc/self/maps, then
 *
 *   Rss:                  88 kB
 *   AnonHugePages:         0 kB
 *   Swap:                  0 kB
 *
 * Unlike VmRSS, which threads add to in batches, this is exact at the moment at which it is read.
 */
#include "image/resident.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/task.h"
#include "image/lines.h"
#include "symbol/maps.h"

struct list {
    struct prof__arena *arena;
    struct prof__resident *item;
    size_t n, room;
    bool out_of_memory;
};

static bool grow(struct list *l)
{
    size_t room = l->room ? l->room * 2 : 512;
    struct prof__resident *more = prof__arena_array(l->arena, room, sizeof(*more));

    if (!more) {
        l->out_of_memory = true;
        return false;
    }
    if (l->n)
        memcpy(more, l->item, l->n * sizeof(*more));
    l->item = more;
    l->room = room;
    return true;
}

static void add(struct list *l, struct prof__image_map map)
{
    if (l->n == l->room && !grow(l))
        return;
    /* Neighbours are of one file, as a rule. */
    if (l->n && strcmp(l->item[l->n - 1].map.name, map.name) == 0)
        map.name = l->item[l->n - 1].map.name;
    else if (!(map.name = prof__arena_strdup(l->arena, map.name)))
        l->out_of_memory = true;
    if (map.name)
        l->item[l->n++] = (struct prof__resident) { .map = map };
}

static void add_field(struct prof__resident *r, const char *line)
{
    static const struct {
        const char *name;
        size_t at;
    } fields[] = {
        { "Rss:", offsetof(struct prof__resident, resident) },
        { "Swap:", offsetof(struct prof__resident, swapped) },
        { "AnonHugePages:", offsetof(struct prof__resident, huge) },
        { "Shared_Hugetlb:", offsetof(struct prof__resident, hugetlb) },
        { "Private_Hugetlb:", offsetof(struct prof__resident, hugetlb) },
    };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        size_t n = strlen(fields[i].name);

        if (strncmp(line, fields[i].name, n) != 0)
            continue;
        line += n + strspn(line + n, " ");
        uint64_t kib = 0;
        for (; *line >= '0' && *line <= '9'; line++)
            kib = kib * 10 + (uint64_t)(*line - '0');
        *(uint64_t *)((char *)r + fields[i].at) += kib * 1024;
        return;
    }
}

static void take_line(char *line, void *arg)
{
    struct list *l = arg;
    struct prof__map map;

    if (*line >= 'A' && *line <= 'Z') {
        if (l->n)
            add_field(&l->item[l->n - 1], line);
    } else if (prof__map_parse(line, &map)) {
        add(l, prof__image_map_from(&map));
    }
}

static int count_pages(struct prof__image *image, struct list *l)
{
    enum { BATCH = 1024 };
    uint8_t state[BATCH];

    for (size_t i = 0; i < image->n_maps; i++) {
        const struct prof__image_map *m = &image->map[i];

        add(l, *m);
        if (l->out_of_memory)
            return -ENOMEM;
        if (m->untouchable)
            continue;
        struct prof__resident *r = &l->item[l->n - 1];
        for (uint64_t at = m->start; at < m->end; at += BATCH * PROF__IMAGE_PAGE) {
            size_t n = PROF_MIN((size_t)BATCH, (m->end - at) / PROF__IMAGE_PAGE);

            image->ops->presence(image, at, n, state);
            for (size_t k = 0; k < n; k++) {
                r->resident += state[k] == PROF__PAGE_PRESENT ? PROF__IMAGE_PAGE : 0;
                r->swapped += state[k] == PROF__PAGE_SWAPPED ? PROF__IMAGE_PAGE : 0;
            }
        }
    }
    return 0;
}

int prof__resident_read(struct prof__image *image, struct prof__arena *a,
                        struct prof__resident **ret, size_t *ret_n, bool *ret_counted)
{
    struct list l = { .arena = a };
    int r = prof__lines_each("/proc/self/smaps", take_line, &l);

    *ret_counted = !l.out_of_memory && l.n == 0;
    if (*ret_counted)
        r = count_pages(image, &l);
    *ret = l.item;
    *ret_n = l.n;
    return l.out_of_memory ? -ENOMEM : r;
}

uint64_t prof__resident_page_tables(void)
{
    char text[4096];
    int r = prof__task_read(getpid(), "status", text, sizeof(text));
    const char *line = r > 0 ? strstr(text, "\nVmPTE:") : NULL;
    uint64_t kib = 0;

    if (!line)
        return 0;
    for (line += 7; *line == ' ' || *line == '\t'; line++)
        ;
    for (; *line >= '0' && *line <= '9'; line++)
        kib = kib * 10 + (uint64_t)(*line - '0');
    return kib * 1024;
}
