/*
 * census_holders.c - what holds the blocks of each type: the flood, with the way to a sample of
 * them.
 */
#include <errno.h>
#include <string.h>

#include "outside/census_parts.h"
#include "outside/threads.h"
#include "scan/flood.h"

enum {
    SAMPLES = 40000,
    PATHS = 1 << 18,
};

/* One block in `interval` bytes, by rising address, and large ones all. */
struct sampling {
    double interval, left;
    struct prof__image_block *block;
    size_t n, room;
};

static int sample_chunk(struct prof__census *c, uint32_t type, const struct prof__chunk *chunk,
                        void *arg)
{
    struct sampling *s = arg;
    double size = (double)(chunk->end - chunk->start);

    s->left -= size;
    if (s->left > 0)
        return 0;
    while (s->left <= 0)
        s->left += s->interval;
    if (s->n == s->room) {
        size_t room = s->room ? s->room * 2 : 4096;
        void *more = prof__arena_array(&c->arena, room, sizeof(*s->block));

        if (!more)
            return -ENOMEM;
        if (s->n)
            memcpy(more, s->block, s->n * sizeof(*s->block));
        s->block = more;
        s->room = room;
    }
    double stands_for = PROF_MAX(1, s->interval / size);
    s->block[s->n++] = (struct prof__image_block) {
        .address = chunk->start + PROF__CHUNK_HEADER,
        .size = chunk->end - chunk->start - 8,
        .row = type,
        .objects = (int64_t)(stands_for * (1 << 16)),
        .bytes = (int64_t)(stands_for * size),
    };
    return 0;
}

static uint64_t used_bytes(const struct prof__census *c)
{
    uint64_t n = c->glibc.mapped_bytes;

    for (size_t i = 0; i < c->glibc.n_arenas; i++)
        n += c->glibc.arena[i].used_bytes;
    return n;
}

static int choose_blocks(struct prof__census *c)
{
    struct sampling s = { 0 };
    int r = prof__census_look(c);

    if (r < 0)
        return r;
    s.interval = s.left = PROF_MAX((double)used_bytes(c) / SAMPLES, 1);
    c->sampled_bytes = s.interval;
    r = prof__census_each_used(c, sample_chunk, &s);
    c->image->given = s.block;
    c->image->n_given = s.n;
    return r;
}

static uint32_t row_of_block(void *arg, uint64_t block, uint64_t end)
{
    struct prof__census *c = arg;
    uint64_t chunk = block - PROF__CHUNK_HEADER;
    uint32_t region = prof__ranges_find(&c->heap.ranges, chunk);

    return region == PROF__NO_RANGE ? 0 : prof__census_type_of(c, region, chunk, end);
}

/* One look: the path of each target into `path`. */
static int look_at_holders(struct prof__census *c, uint32_t **path)
{
    struct prof__pass_count count = { 0 };
    int r = prof__census_look(c);

    if (r == 0)
        r = prof__census_storage(c);
    if (r < 0)
        return r;
    prof__outside_frames(c->image, &c->pass_arena);
    *path = prof__arena_array(&c->arena, c->targets.n + 1, sizeof(**path));
    if (!*path)
        return -ENOMEM;
    struct prof__ways ways = { .paths = &c->paths,
                               .path_of = { *path, NULL },
                               .name_root = prof__root_kind,
                               .name_arg = &c->roots,
                               .row_of = row_of_block,
                               .row_arg = c };
    return prof__flood(&c->heap, &c->targets, &c->plan, &c->sweep, &c->pass_arena, &count, &ways,
                       false);
}

int prof__census_holders(struct prof__census *c, int passes, unsigned depth)
{
    uint32_t *first = NULL, *path = NULL;
    int r = choose_blocks(c);

    c->roots = (struct prof__roots) { .arena = &c->arena, .plan = &c->plan, .heap = &c->heap };
    if (r == 0)
        r = prof__paths_init(&c->paths, &c->arena, PATHS, depth + 1);
    for (int pass = 0; pass < passes && r == 0; pass++) {
        if (pass > 0)
            r = prof__pace_sleep(&c->pace, PROF__CENSUS_INTERVAL_NS);
        if (r == 0)
            r = look_at_holders(c, &path);
        for (size_t i = 0; i < c->targets.n && r == 0 && first; i++)
            first[i] = prof__paths_common(&c->paths, first[i], path[i]);
        if (!first)
            first = path;
        c->passes = pass + 1;
    }
    prof__census_clear(c);
    for (size_t i = 0; i < c->targets.n && r == 0; i++) {
        const struct prof__target *t = &c->targets.target[i];

        if (!(t->state & PROF__TARGET_WALKED) && t->block.objects)
            continue; /* freed meanwhile */
        r = prof__census_count(c,
                               (struct prof__census_row) {
                                   .type = t->block.row,
                                   .size = prof__census_size_class(t->block.size + 8),
                                   .holder = first[i],
                               },
                               (double)t->block.objects / (1 << 16), (double)t->block.bytes);
    }
    return prof__census_error(r);
}

static const char *step_text(struct prof__census *c, const struct prof__kind *k)
{
    const char *name;

    switch (k->of) {
    case PROF__KIND_ROOT:
        name = prof__root_name(&c->roots, &c->arena, k);
        return name ? name : "root";
    case PROF__KIND_SAMPLED:
        name = prof__type_at(c->types, k->who)->name;
        if (prof__type_at(c->types, k->who)->of == PROF__TYPE_SIZE)
            name =
                prof__arena_printf(&c->arena, "block of %llu B", (unsigned long long)(k->detail));
        return name ? name : "block";
    default:
        name = prof__arena_printf(&c->arena, "block of %llu B", (unsigned long long)k->detail);
        return name ? name : "block";
    }
}

size_t prof__census_path(struct prof__census *c, uint32_t holder, const char **ret, size_t n)
{
    size_t k = 0;

    for (; holder && k < n; holder = c->paths.path[holder].parent)
        ret[k++] = step_text(c, &c->paths.path[holder].kind);
    return k;
}
