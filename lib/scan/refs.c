/*
 * refs.c - which sampled blocks does anything point to?
 *
 *   areas, less the targets in them -> words -> targets pointed to -> their words -> ...
 *
 * A flood whose roots are all memory but the targets themselves. Each target is read once, when it
 * is reached, so a pass reads everything once at most, and a block that only points to itself, or
 * to others like it, is not reached. What is left is looked through at last, for who holds whom.
 *
 * jemalloc keeps a record of each large block: a word of bits, the block's address, and its size in
 * pages, at a multiple of 128 bytes. Such a reference would keep every large block in use. It is
 * told by its shape and by its being everywhere: if nine in ten of all large blocks have one, these
 * are the allocator's records and none counts; else they are the program's own, and all do.
 *
 * Memory: 6 bytes a target, beside the targets.
 */
#include "scan/pass.h"

#include <errno.h>

#include "scan/words.h"

enum { RECORD = 128, RECORD_WORD = 8, LARGE = 16 * 1024, PAGE = PROF__IMAGE_PAGE };

#define RECORDED 0x80 /* in a target's state: something like a record of it was met */

struct refs {
    struct prof__targets *t;
    struct prof__sweep *sweep;
    struct prof__pass_count *count;
    uint32_t *queue; /* targets reached and not read yet */
    size_t n_queued;
    uint32_t from; /* the target that is read now; PROF__NO_RANGE: none */
    bool leftover; /* and it is one that was not reached */
};

static void reach(struct refs *r, uint32_t i)
{
    struct prof__target *t = &r->t->target[i];

    if (t->state & PROF__TARGET_REACHED)
        return;
    t->state |= PROF__TARGET_REACHED;
    r->queue[r->n_queued++] = i;
}

/* Does this word, with the next, look like what an allocator notes of a large block? */
static bool is_record(const struct prof__image_block *b, uint64_t slot, const uint64_t *word,
                      size_t n)
{
    uint64_t pages = n > 1 ? word[1] & ~(uint64_t)(PAGE - 1) : 0;

    return slot % RECORD == RECORD_WORD && b->size >= LARGE && word[0] == b->address &&
           pages + PAGE >= b->size && pages <= b->size + b->size / 4 + 3 * PAGE;
}

/* The word at `slot`, with those that follow it. */
static void hit(struct refs *r, uint64_t slot, const uint64_t *at, size_t n)
{
    uint64_t word = *at, address = word & PROF__ADDRESS_MASK;
    uint32_t i = prof__ranges_find(&r->t->ranges, address);

    if (i == PROF__NO_RANGE || i == r->from)
        return;
    struct prof__target *t = &r->t->target[i];
    if (r->from == PROF__NO_RANGE && is_record(&t->block, slot, at, n)) {
        t->state |= RECORDED;
        return;
    }
    if (t->state & PROF__TARGET_REACHED)
        return;
    if (r->leftover) {
        t->state |= PROF__TARGET_HELD;
        return;
    }
    r->count->words_tagged += address != word;
    reach(r, i);
}

static void look(struct refs *r, uint64_t address, const uint64_t *word, size_t n)
{
    const struct prof__ranges *g = &r->t->ranges;

    PROF__EACH_POINTER(g, word, n, hit(r, address + at * 8, &word[at], n - at));
}

/* Are the records the allocator's? If not they are references like all others. */
static void judge_records(struct refs *r)
{
    size_t large = 0, recorded = 0;

    for (size_t i = 0; i < r->t->n; i++)
        if (r->t->target[i].block.size >= LARGE) {
            large++;
            recorded += (r->t->target[i].state & RECORDED) != 0;
        }
    for (size_t i = 0; i < r->t->n; i++) {
        struct prof__target *t = &r->t->target[i];

        if (t->state & RECORDED && recorded * 10 < large * 9)
            reach(r, (uint32_t)i);
        t->state &= (uint8_t)~RECORDED;
    }
}

/* What lies in targets is passed over: it counts when they are reached. */
static void look_between(void *arg, uint64_t address, const uint64_t *word, size_t n)
{
    struct refs *r = arg;
    const struct prof__ranges *g = &r->t->ranges;
    uint64_t end = address + n * 8, at = address;
    size_t low = 0, high = g->n;

    while (low < high) { /* the first that ends above */
        size_t middle = (low + high) / 2;

        if (g->end[middle] <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (; at < end && low < g->n && g->start[low] < end; low++) {
        /* A word that is partly in a target is the target's. */
        uint64_t stop = PROF_MAX(at, g->start[low] & ~(uint64_t)7);

        look(r, at, word + (at - address) / 8, (stop - at) / 8);
        at = PROF_MAX(at, (g->end[low] + 7) & ~(uint64_t)7);
    }
    if (at < end)
        look(r, at, word + (at - address) / 8, (end - at) / 8);
}

static void look_inside(void *arg, uint64_t address, const uint64_t *word, size_t n)
{
    look(arg, address, word, n);
}

static int read_target(struct refs *r, uint32_t i)
{
    const struct prof__image_block *b = &r->t->target[i].block;

    r->from = i;
    return prof__sweep(r->sweep, (b->address + 7) & ~(uint64_t)7,
                       (b->address + b->size) & ~(uint64_t)7, look_inside, r);
}

static int read_queue(struct refs *r)
{
    int e = 0;

    while (r->n_queued > 0 && e == 0)
        e = read_target(r, r->queue[--r->n_queued]);
    r->from = PROF__NO_RANGE;
    return e;
}

static int read_roots(struct refs *r, const struct prof__plan *plan)
{
    const struct prof__image *image = plan->image;
    int e = 0;

    for (size_t i = 0; i < image->n_held; i++)
        look(r, 0, &image->held[i].value, 1);
    look(r, 0, plan->ignored, plan->n_ignored);
    for (size_t i = 0; i < image->n_threads; i++)
        look(r, 0, image->thread[i].reg, image->thread[i].n_regs);
    for (size_t i = 0; i < plan->n_areas && e == 0; i++)
        e = prof__sweep(r->sweep, plan->area[i].start, plan->area[i].end, look_between, r);
    return e;
}

int prof__refs_pass(struct prof__targets *t, const struct prof__plan *plan, struct prof__sweep *s,
                    struct prof__arena *a, struct prof__pass_count *count)
{
    struct refs r = { .t = t, .sweep = s, .count = count, .from = PROF__NO_RANGE };

    r.queue = prof__arena_array(a, t->n + 1, sizeof(*r.queue));
    if (!r.queue)
        return -ENOMEM;
    uint8_t *walked = prof__arena_alloc(a, t->n + 1);
    if (!walked)
        return -ENOMEM;
    for (size_t i = 0; i < t->n; i++) {
        walked[i] = t->target[i].state;
        t->target[i].state = 0;
    }
    int e = read_roots(&r, plan);
    judge_records(&r);
    if (e == 0)
        e = read_queue(&r);
    r.leftover = true;
    for (size_t i = 0; i < t->n && e == 0; i++)
        if (!(t->target[i].state & PROF__TARGET_REACHED))
            e = read_target(&r, (uint32_t)i);
    for (size_t i = 0; i < t->n; i++)
        if (walked[i] & PROF__TARGET_WALKED)
            t->target[i].state = walked[i];
    return e;
}
