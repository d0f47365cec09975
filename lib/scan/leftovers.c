/*
 * leftovers.c - how the chunks that nothing in use leads to hang together.
 *
 * A register that nobody can read may hold one chunk, and so keeps that and all that it leads to.
 * To tell how much that can be at most, leftovers are taken apart into what hangs from one chunk
 * each, its source:
 *
 *   1. from each leftover that no earlier one leads to: flood. These are the candidates. Whatever
 *      the order, what nothing else leads to is one; and of a ring of such chunks one is
 *   2. unmark it all, and flood from the candidates backwards. One that is reached by then is led
 *      to by a later one, and none; each of the rest is a source
 *
 * (A candidate that a source leads to was not reached from that in the first round, so the source
 * came later.) On the way it is seen which targets another leftover points to.
 *
 * Memory: one bit for each 16 bytes of heap. The bit of a candidate is that behind its own, where a
 * copy of a mark tells what has been read, as leftovers have not been.
 */
#include "scan/flood_internal.h"

#include <errno.h>

/* Of each region, as it was before. */
struct saved {
    uint64_t *marks;
    bool marked, candidate; /* big */
};

static size_t words_of(const struct prof__heap_region *g)
{
    return ((g->end - g->start) / PROF__UNIT + 63) / 64;
}

static bool is_leftover(const struct prof__heap_region *g, uint64_t unit)
{
    return g->big ? !g->marked : !prof__bit(g->marks, unit) && !prof__bit(g->marks, unit + 1);
}

/* A flood marks little of a heap whose other part is in use: most words stay untouched. */
static int save(struct flood *f, struct prof__arena *a, struct saved *saved)
{
    for (size_t i = 0; i < f->h->n; i++) {
        const struct prof__heap_region *g = &f->h->region[i];

        saved[i].marked = g->marked;
        if (g->big)
            continue;
        size_t n = words_of(g);
        if (!(saved[i].marks = prof__arena_array(a, n + 1, sizeof(uint64_t))))
            return -ENOMEM;
        for (size_t k = 0; k < n; k++)
            if (g->marks[k])
                saved[i].marks[k] = g->marks[k];
    }
    return 0;
}

static void flood_from(struct flood *f, struct prof__heap_region *g, uint64_t unit)
{
    prof__flood_mark_unit(f, g, unit);
    prof__flood_run(f);
}

/* The first round; `saved` may be NULL. */
static void find_candidates(struct flood *f, struct saved *saved)
{
    for (size_t i = 0; i < f->h->n; i++) {
        struct prof__heap_region *g = &f->h->region[i];

        if (g->big && is_leftover(g, 0)) {
            if (saved)
                saved[i].candidate = true;
            flood_from(f, g, 0);
        }
        for (size_t k = 0; !g->big && k < words_of(g) && f->error == 0; k++)
            for (uint64_t word = g->starts[k]; word; word &= word - 1) {
                uint64_t unit = k * 64 + (uint64_t)__builtin_ctzll(word);

                if (!is_leftover(g, unit))
                    continue;
                if (saved)
                    prof__bit_set(saved[i].marks, unit + 1);
                flood_from(f, g, unit);
            }
    }
}

/* The marks are as before; saved[].marks is of candidates. */
static void turn_back(struct flood *f, struct saved *saved)
{
    for (size_t i = 0; i < f->h->n; i++) {
        struct prof__heap_region *g = &f->h->region[i];
        uint64_t *before = saved[i].marks, *now = g->marks;

        g->marked = g->read = saved[i].marked;
        for (size_t k = 0; !g->big && k < words_of(g); k++)
            for (uint64_t word = g->starts[k]; word; word &= word - 1) {
                uint64_t unit = k * 64 + (uint64_t)__builtin_ctzll(word);

                if (!prof__bit(now, unit))
                    continue;
                if (!prof__bit(before, unit) && prof__bit(before, unit + 1))
                    prof__bit_clear(before, unit + 1);
                else
                    prof__bit_clear(now, unit);
            }
        g->marks = before;
        saved[i].marks = now;
    }
}

static void flood_from_source(struct flood *f, struct prof__heap_region *g, uint64_t unit)
{
    f->source++;
    f->source_chunk = g->start + unit * PROF__UNIT;
    flood_from(f, g, unit);
}

static void find_sources(struct flood *f, const struct saved *saved)
{
    for (size_t i = f->h->n; i-- > 0;) {
        struct prof__heap_region *g = &f->h->region[i];

        if (g->big && saved[i].candidate && is_leftover(g, 0))
            flood_from_source(f, g, 0);
        for (size_t k = g->big ? 0 : words_of(g); k-- > 0 && f->error == 0;)
            for (uint64_t word = g->starts[k] & saved[i].marks[k]; word;) {
                unsigned bit = 63 - (unsigned)__builtin_clzll(word);

                word &= ~((uint64_t)1 << bit);
                if (is_leftover(g, k * 64 + bit))
                    flood_from_source(f, g, k * 64 + bit);
            }
    }
}

void prof__flood_leftovers(struct flood *f, const struct prof__image *image, struct prof__arena *a)
{
    struct saved *saved = NULL;
    unsigned hidden = prof__image_hidden_regs(image);

    if (hidden) {
        saved = prof__arena_array(a, f->h->n + 1, sizeof(*saved));
        f->error = saved ? save(f, a, saved) : -ENOMEM;
    }
    f->leftover = true;
    if (f->error == 0)
        find_candidates(f, saved);
    if (f->error == 0 && hidden) {
        turn_back(f, saved);
        find_sources(f, saved);
    }
    f->leftover = false;
    f->source = 0;
}
