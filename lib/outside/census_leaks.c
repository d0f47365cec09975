/*
 * census_leaks.c - chunks in use that no look has come to, and which of them hold the others.
 */
#include <stdlib.h>

#include "outside/census_parts.h"
#include "scan/flood.h"

enum { LEAKS_MAX = 1 << 22 };

struct leaked {
    uint64_t start, end;
    uint32_t type;
    bool held; /* by another leaked one */
};

struct leaks {
    struct leaked *chunk; /* by rising address */
    size_t n, room;
};

static bool is_reached(const struct prof__heap_region *g, const struct prof__chunk *c)
{
    return g->big ? g->marked : prof__bit(g->marks, (c->start - g->start) / PROF__UNIT);
}

/* Chunks in use that the flood has not come to. */
static void gather_unreached(struct prof__census *c, struct leaks *l)
{
    for (uint32_t i = 0; i < c->heap.n; i++) {
        const struct prof__heap_region *g = &c->heap.region[i];
        struct prof__chunk chunk = { 0 };

        if (g->big && !g->certain)
            continue;
        while (prof__chunk_next(g, &chunk)) {
            if (!chunk.used || is_reached(g, &chunk))
                continue;
            if (l->n == l->room) {
                size_t room = l->room ? l->room * 2 : 1024;
                struct leaked *more =
                    room <= LEAKS_MAX ? realloc(l->chunk, room * sizeof(*more)) : NULL;

                if (!more) {
                    c->cut = true;
                    return;
                }
                l->chunk = more;
                l->room = room;
            }
            l->chunk[l->n++] = (struct leaked) { .start = chunk.start, .end = chunk.end };
        }
    }
}

static struct leaked *leaked_at(const struct leaks *l, uint64_t address)
{
    size_t low = 0, high = l->n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (l->chunk[middle].end + 8 <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < l->n && l->chunk[low].start + PROF__CHUNK_HEADER <= address ? &l->chunk[low]
                                                                             : NULL;
}

static void keep_common(struct leaks *all, const struct leaks *now)
{
    size_t kept = 0, k = 0;

    for (size_t i = 0; i < all->n; i++) {
        while (k < now->n && now->chunk[k].start < all->chunk[i].start)
            k++;
        if (k < now->n && now->chunk[k].start == all->chunk[i].start &&
            now->chunk[k].end == all->chunk[i].end)
            all->chunk[kept++] = all->chunk[i];
    }
    all->n = kept;
}

struct holding {
    struct leaks *leaks;
    struct leaked *from;
};

static void hold(void *arg, uint64_t address, const uint64_t *word, size_t n)
{
    struct holding *h = arg;

    (void)address;
    for (size_t i = 0; i < n; i++) {
        struct leaked *to = leaked_at(h->leaks, word[i] & PROF__ADDRESS_MASK);

        if (to && to != h->from)
            to->held = true;
    }
}

static int judge_leaks(struct prof__census *c, struct leaks *l)
{
    int r = prof__census_storage(c);

    for (size_t i = 0; i < l->n && r == 0; i++) {
        struct leaked *one = &l->chunk[i];
        struct holding h = { l, one };
        uint32_t region = prof__ranges_find(&c->heap.ranges, one->start);

        if (region == PROF__NO_RANGE)
            continue;
        one->type = prof__census_type_of(c, region, one->start, one->end);
        r = prof__sweep_block(&c->sweep, one->start + PROF__CHUNK_HEADER, one->end, hold, &h);
    }
    return r;
}

/* As many components as there are registers that could not be read may hang from them: where there
 * are no more than that, each is only possibly leaked. */
static void count_leaks(struct prof__census *c, const struct leaks *l, int *ret)
{
    size_t first = 0;

    for (size_t i = 0; i < l->n; i++)
        first += !l->chunk[i].held;
    bool possible = first <= c->hidden_regs;
    for (size_t i = 0; i < l->n && *ret == 0; i++) {
        const struct leaked *one = &l->chunk[i];
        uint64_t size = one->end - one->start;

        *ret = prof__census_count(c,
                                  (struct prof__census_row) { .type = one->type,
                                                              .size = prof__census_size_class(size),
                                                              .indirect = one->held,
                                                              .possible = possible },
                                  1, (double)size);
    }
}

int prof__census_leaks(struct prof__census *c, int passes)
{
    struct leaks all = { 0 };
    int r = 0;

    c->cut = false;
    for (int pass = 0; pass < passes && r == 0; pass++) {
        struct prof__pass_count count = { 0 };
        struct leaks now = { 0 };

        if (pass > 0)
            r = prof__pace_sleep(&c->pace, PROF__CENSUS_INTERVAL_NS);
        if (r == 0)
            r = prof__census_look(c);
        if (r == 0)
            r = prof__flood(&c->heap, &c->targets, &c->plan, &c->sweep, &c->pass_arena, &count,
                            NULL, false);
        if (r == 0)
            gather_unreached(c, &now);
        if (pass == 0) {
            all = now;
        } else {
            keep_common(&all, &now);
            free(now.chunk);
        }
        c->passes = pass + 1;
    }
    if (r == 0)
        r = judge_leaks(c, &all);
    prof__census_clear(c);
    count_leaks(c, &all, &r);
    free(all.chunk);
    return prof__census_error(r);
}
