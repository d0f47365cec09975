/*
 * roots.c - kinds of roots, and their names.
 *
 * A kind is made of what stays the same from one pass to the next: addresses of variables, thread
 * ids, numbers of descriptors, starts of mappings.
 */
#include "scan/roots.h"

#include <string.h>

#include "base/path.h"
#include "table/stack_table.h"

/* --- kinds ----------------------------------------------------------------------------------- */

static struct prof__roots_module *module_of(struct prof__roots *r, const struct prof__area *area,
                                            uint32_t *ret_index)
{
    const struct prof__plan_module *m = &r->plan->module[area->who];

    for (size_t i = 0; i < r->n_modules; i++)
        if (r->module[i].bias == m->bias && strcmp(r->module[i].path, m->path) == 0) {
            *ret_index = (uint32_t)i;
            return &r->module[i];
        }
    if (r->n_modules == r->room) {
        size_t room = r->room ? r->room * 2 : 32;
        void *more = prof__arena_array(r->arena, room, sizeof(*r->module));

        if (!more)
            return NULL;
        if (r->n_modules)
            memcpy(more, r->module, r->n_modules * sizeof(*r->module));
        r->module = more;
        r->room = room;
    }
    struct prof__roots_module *out = &r->module[r->n_modules];
    *out =
        (struct prof__roots_module) { .path = prof__arena_strdup(r->arena, m->path),
                                      .file = prof__image_path(r->plan->image, r->arena, m->path),
                                      .bias = m->bias };
    if (!out->path || !out->file)
        return NULL;
    *ret_index = (uint32_t)r->n_modules++;
    return out;
}

static void global_kind(struct prof__roots *r, const struct prof__area *area, uint64_t slot,
                        struct prof__kind *ret)
{
    struct prof__roots_module *m = module_of(r, area, &ret->who);

    ret->detail = slot & ~(uint64_t)(PROF__IMAGE_PAGE - 1);
    if (!m)
        return;
    if (!m->loaded) {
        m->loaded = true;
        prof__data_symbols_load(m->file, r->arena, &m->symbol, &m->n);
    }
    const struct prof__data_symbol *s = prof__data_symbol_find(m->symbol, m->n, slot - m->bias);
    /* A field of a variable is told apart, in a large array no longer. */
    if (s)
        ret->detail = s->size <= 256 ? slot : m->bias + s->start;
}

static bool is_libcs(const struct prof__image *image, uint64_t pc)
{
    const struct prof__image_map *m = prof__image_map_of(image, pc);

    return m && prof__image_is_libc(m->name);
}

/* The function of a thread that a word of its stack belongs to: the one whose frame it is in, or
 * if that is libc's, where it has put its callers' registers, the innermost that is not. */
static uint64_t frame_of(const struct prof__image *image, const struct prof__image_thread *t,
                         uint64_t slot)
{
    size_t i = 0;

    while (i < t->n_frames && t->frame[i].cfa <= slot)
        i++;
    while (i + 1 < t->n_frames && t->frame[i + 1].cfa && is_libcs(image, t->frame[i].pc))
        i++;
    return i < t->n_frames ? t->frame[i].pc : 0;
}

void prof__root_kind(void *roots, const struct prof__area *area, uint64_t slot,
                     struct prof__kind *ret)
{
    struct prof__roots *r = roots;
    const struct prof__image *image = r->plan->image;

    ret->extra = (uint8_t)area->root;
    ret->detail = 0;
    switch (area->root) {
    case PROF__ROOT_GLOBAL:
        global_kind(r, area, slot, ret);
        break;
    case PROF__ROOT_STACK:
        ret->who = (uint32_t)image->thread[area->who].tid;
        ret->detail = frame_of(image, &image->thread[area->who], slot);
        break;
    case PROF__ROOT_TLS:
    case PROF__ROOT_REGISTER:
        ret->who = (uint32_t)image->thread[area->who].tid;
        break;
    case PROF__ROOT_KERNEL:
        ret->who = (uint32_t)image->held[area->who].by;
        ret->detail = (uint64_t)image->held[area->who].number;
        break;
    case PROF__ROOT_SHARED:
    case PROF__ROOT_MAPPED:
        ret->who = 0;
        if (area->who < image->n_maps) {
            const struct prof__image_map *m = &image->map[area->who];

            ret->who = 1;
            bool may_be_heap = m->name[0] == '\0' || strcmp(m->name, "[heap]") == 0;

            if (!r->heap->why || !may_be_heap)
                ret->detail = m->start;
        }
        break;
    default:
        ret->who = area->who == UINT32_MAX;
        ret->detail = area->who == UINT32_MAX ? 0 : area->start;
        break;
    }
}

/* --- names ----------------------------------------------------------------------------------- */

static const char *global_name(struct prof__roots *r, struct prof__arena *a,
                               const struct prof__kind *kind)
{
    if (kind->who >= r->n_modules)
        return "global";
    const struct prof__roots_module *m = &r->module[kind->who];
    const struct prof__data_symbol *s =
        prof__data_symbol_find(m->symbol, m->n, kind->detail - m->bias);
    const char *name = s ? prof__data_symbol_name(m->file, a, s) : NULL;
    if (!name)
        return prof__arena_printf(a, "global at 0x%llx (%.200s)",
                                  (unsigned long long)(kind->detail - m->bias),
                                  prof__base_name(m->path));
    if (!r->namer)
        r->namer = prof__namer_new(r->arena);
    if (r->namer)
        name = prof__namer_show(r->namer, name, PROF__NAMES_SHORT);
    uint64_t offset = kind->detail - m->bias - s->start;
    if (offset)
        return prof__arena_printf(a, "global %.300s+0x%llx (%.200s)", name,
                                  (unsigned long long)offset, prof__base_name(m->path));
    return prof__arena_printf(a, "global %.300s (%.200s)", name, prof__base_name(m->path));
}

/* A core file has no names but that of the first. */
static const char *thread_name(const struct prof__image *image, struct prof__arena *a, uint32_t tid)
{
    for (size_t i = 0; i < image->n_threads; i++)
        if ((uint32_t)image->thread[i].tid == tid)
            return image->thread[i].name[0] ? image->thread[i].name
                                            : prof__arena_printf(a, "%u", (unsigned)tid);
    return "that has ended";
}

static const char *stack_name(struct prof__roots *r, struct prof__arena *a,
                              const struct prof__kind *kind)
{
    struct prof__image *image = r->plan->image;
    const char *thread = thread_name(image, a, kind->who);
    const char *function = kind->detail ? image->ops->function(image, a, kind->detail) : NULL;

    if (function)
        return prof__arena_printf(a, "thread %s in %.300s", thread, function);
    return prof__arena_printf(a, "stack of thread %s", thread);
}

static const char *mapping_name(struct prof__roots *r, struct prof__arena *a,
                                const struct prof__kind *kind)
{
    const struct prof__image_map *m = prof__image_map_of(r->plan->image, kind->detail);

    if (kind->who == 0)
        return "heap that could not be walked";
    if (kind->detail == 0)
        return "heap (not sampled), or mapped memory";
    if (!m || m->start != kind->detail)
        return "mapping that has gone";
    if (!m->name[0])
        return prof__arena_printf(a, "mapping of %llu KiB",
                                  (unsigned long long)((m->end - m->start) / 1024));
    const char *name =
        m->name[0] == '/' && strncmp(m->name, "/memfd:", 7) == 0 ? m->name + 1 : m->name;
    return prof__arena_printf(a, "mapping %.300s", name);
}

const char *prof__root_name(struct prof__roots *r, struct prof__arena *a,
                            const struct prof__kind *kind)
{
    switch (kind->extra) {
    case PROF__ROOT_GLOBAL:
        return global_name(r, a, kind);
    case PROF__ROOT_NAMED:
        return kind->who ? "told by prof_heap_ignore()"
                         : prof__arena_printf(a, "root 0x%llx, told by prof_heap_root()",
                                              (unsigned long long)kind->detail);
    case PROF__ROOT_TLS:
        return prof__arena_printf(a, "tls of %s", thread_name(r->plan->image, a, kind->who));
    case PROF__ROOT_KERNEL:
        return kind->who == PROF__HELD_EPOLL
                   ? prof__arena_printf(a, "epoll fd %d", (int)kind->detail)
                   : "timer";
    case PROF__ROOT_STACK:
        return stack_name(r, a, kind);
    case PROF__ROOT_REGISTER:
        return prof__arena_printf(a, "register of thread %s",
                                  thread_name(r->plan->image, a, kind->who));
    default:
        return mapping_name(r, a, kind);
    }
}
