/*
 * flood_roots.c - where a flood begins: each kind of root, in the order of their kinds.
 */
#include "scan/flood_internal.h"

/* Where libc's own data is: in a static program among that of the program. */
static bool has_libc(const struct prof__plan *plan, uint32_t module)
{
    for (size_t i = 0; i < plan->n_modules; i++)
        if (prof__image_is_libc(plan->module[i].path))
            return prof__image_is_libc(plan->module[module].path);
    return true;
}

static void look_at_words(struct flood *f, enum prof__root root, uint32_t who, const uint64_t *word,
                          size_t n)
{
    struct prof__area area = { .root = root, .who = who };

    f->area = &area;
    for (size_t i = 0; i < n; i++)
        prof__flood_look(f, i, &word[i], 1);
    f->area = NULL;
}

void prof__flood_from_roots(struct flood *f, const struct prof__plan *plan, enum prof__root root)
{
    const struct prof__image *image = plan->image;

    if (root == PROF__ROOT_KERNEL)
        for (size_t i = 0; i < image->n_held; i++)
            look_at_words(f, root, (uint32_t)i, &image->held[i].value, 1);
    if (root == PROF__ROOT_NAMED)
        look_at_words(f, root, UINT32_MAX, plan->ignored, plan->n_ignored);
    if (root == PROF__ROOT_REGISTER)
        for (size_t i = 0; i < image->n_threads; i++)
            look_at_words(f, root, (uint32_t)i, image->thread[i].reg, image->thread[i].n_regs);
    for (size_t i = 0; i < plan->n_areas && f->error == 0; i++) {
        const struct prof__area *area = &plan->area[i];

        if (area->root != root)
            continue;
        f->area = area;
        f->from_libc = root == PROF__ROOT_GLOBAL && has_libc(plan, area->who);
        int e = prof__sweep(f->s, area->start, area->end, prof__flood_look, f);
        if (f->error == 0)
            f->error = e;
    }
    f->from_libc = false;
    f->area = NULL;
}

void prof__flood_from_garbled(struct flood *f)
{
    struct prof__area area = { .root = PROF__ROOT_MAPPED, .who = UINT32_MAX };

    f->area = &area;
    for (size_t i = 0; i < f->h->n_garbled; i++) {
        f->address = f->h->garbled[i].start;
        prof__flood_mark(f, f->h->garbled[i].start + PROF__CHUNK_HEADER);
    }
    f->area = NULL;
}

void prof__flood_from_new(struct flood *f, const struct prof__plan *plan)
{
    struct prof__area *area;
    size_t n;
    int e = prof__plan_more(plan, &area, &n);

    for (size_t i = 0; i < n && e == 0; i++) {
        f->area = &area[i];
        e = prof__sweep(f->s, area[i].start, area[i].end, prof__flood_look, f);
    }
    f->area = NULL;
    if (f->error == 0)
        f->error = e;
}
