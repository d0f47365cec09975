/*
 * areas.c - areas by the sweep, and what is in none by itself.
 */
#include "scan/areas.h"

struct reading {
    const struct prof__area *area;
    prof__area_fn *each;
    void *arg;
};

static void give(void *arg, uint64_t address, const uint64_t *word, size_t n)
{
    struct reading *r = arg;

    r->each(r->arg, r->area, address, word, n);
}

static int read_area(const struct prof__area *area, struct prof__sweep *s, prof__area_fn *each,
                     void *arg)
{
    struct reading r = { area, each, arg };

    return prof__sweep(s, area->start, area->end, give, &r);
}

static void give_words(enum prof__root root, uint32_t who, const uint64_t *word, size_t n,
                       prof__area_fn *each, void *arg)
{
    struct prof__area area = { .root = root, .who = who };

    for (size_t i = 0; i < n; i++)
        each(arg, &area, i, &word[i], 1);
}

int prof__areas_read(const struct prof__plan *plan, struct prof__sweep *s, enum prof__root root,
                     prof__area_fn *each, void *arg)
{
    const struct prof__image *image = plan->image;
    int e = 0;

    if (root == PROF__ROOT_KERNEL)
        for (size_t i = 0; i < image->n_held; i++)
            give_words(root, (uint32_t)i, &image->held[i].value, 1, each, arg);
    if (root == PROF__ROOT_NAMED)
        give_words(root, UINT32_MAX, plan->ignored, plan->n_ignored, each, arg);
    if (root == PROF__ROOT_REGISTER)
        for (size_t i = 0; i < image->n_threads; i++)
            give_words(root, (uint32_t)i, image->thread[i].reg, image->thread[i].n_regs, each, arg);
    for (size_t i = 0; i < plan->n_areas && e == 0; i++)
        if (plan->area[i].root == root)
            e = read_area(&plan->area[i], s, each, arg);
    return e;
}

int prof__areas_read_new(const struct prof__plan *plan, struct prof__sweep *s, prof__area_fn *each,
                         void *arg)
{
    struct prof__area *area;
    size_t n = 0;
    int e = prof__plan_more(plan, &area, &n);

    for (size_t i = 0; i < n && e == 0; i++)
        e = read_area(&area[i], s, each, arg);
    return e;
}
