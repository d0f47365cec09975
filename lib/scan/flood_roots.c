/*
 * flood_roots.c - where a flood begins: each kind of root, in the order of their kinds.
 */
#include "scan/areas.h"
#include "scan/flood_internal.h"

/* Where libc's own data is: in a static program among that of the program. */
static bool has_libc(const struct prof__plan *plan, uint32_t module)
{
    for (size_t i = 0; i < plan->n_modules; i++)
        if (prof__image_is_libc(plan->module[i].path))
            return prof__image_is_libc(plan->module[module].path);
    return true;
}

struct from {
    struct flood *f;
    const struct prof__plan *plan;
};

static void look_in_area(void *arg, const struct prof__area *area, uint64_t address,
                         const uint64_t *word, size_t n)
{
    struct from *from = arg;
    struct flood *f = from->f;

    if (f->error)
        return;
    if (area != f->area) {
        f->area = area;
        f->from_libc = area->root == PROF__ROOT_GLOBAL && has_libc(from->plan, area->who);
    }
    prof__flood_look(f, address, word, n);
}

static void end_of_roots(struct flood *f, int e)
{
    f->from_libc = false;
    f->area = NULL;
    if (f->error == 0)
        f->error = e;
}

void prof__flood_from_roots(struct flood *f, const struct prof__plan *plan, enum prof__root root)
{
    struct from from = { f, plan };

    end_of_roots(f, prof__areas_read(plan, f->s, root, look_in_area, &from));
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
    struct from from = { f, plan };

    end_of_roots(f, prof__areas_read_new(plan, f->s, look_in_area, &from));
}
