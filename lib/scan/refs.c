/*
 * refs.c - which sampled blocks does anything point to?
 *
 *   areas, less the targets in them -> words -> targets pointed to -> their words -> ...
 *
 * A flood whose roots are all memory but the targets themselves. Each target is read once, when it
 * is reached, so a pass reads everything once at most, and a block that only points to itself, or
 * to others like it, is not reached. What is left is looked through at last, for who holds whom,
 * and taken apart by sources as in leftovers.c.
 *
 * jemalloc keeps a record of each large block: a word of bits, the block's address, and its size in
 * pages, at a multiple of 128 bytes. Such a reference would keep every large block in use. It is
 * told by its shape and by its being everywhere: if nine in ten of all large blocks have one, these
 * are the allocator's records and none counts; else they are the program's own, and all do.
 *
 * How they are reached is noted on the way, and completed as in trail.c.
 *
 * Memory: 7 bytes a target, beside the targets and what wanted.h says; 16 more with the ways.
 */
#include "scan/pass.h"

#include <errno.h>

#include "scan/areas.h"
#include "scan/trail.h"
#include "scan/wanted.h"
#include "scan/words.h"

enum { RECORD = 128, RECORD_WORD = 8, LARGE = 16 * 1024, PAGE = PROF__IMAGE_PAGE };

#define RECORDED 0x80 /* in a target's state: something like a record of it was met */

struct refs {
    struct prof__targets *t;
    struct prof__sweep *sweep;
    struct prof__pass_count *count;
    struct prof__trail *trail;     /* NULL: how they are reached is not asked for */
    const uint8_t *walked;         /* the targets' states before */
    const struct prof__area *area; /* the root that is read now; NULL: a target */
    struct prof__wanted wanted;    /* where those are that have not been reached */
    uint8_t *reached;              /* of each target, by itself: asked most often */
    uint32_t *queue;               /* targets reached, in order; */
    size_t n_queued, n_read;       /* so many of them read */
    uint32_t from;                 /* the target that is read now; PROF__NO_RANGE: none */
    bool leftover;                 /* and it is one that was not reached; */
    uint32_t source, first;        /* what leads to it, by number; the target that is that */
};

/* Target i is reached by the word at `slot`. */
static void note_way(struct refs *r, uint32_t i, uint64_t slot)
{
    if (!r->trail || r->walked[i] & PROF__TARGET_WALKED)
        return;
    if (r->area)
        prof__trail_note(r->trail, i, r->area, slot);
    else if (r->from != PROF__NO_RANGE)
        prof__trail_note_target(r->trail, i, r->from);
}

static void reach(struct refs *r, uint32_t i)
{
    struct prof__target *t = &r->t->target[i];

    if (r->reached[i])
        return;
    r->reached[i] = 1;
    prof__wanted_drop(&r->wanted, r->t->start[i], r->t->end[i]);
    t->state |= PROF__TARGET_REACHED;
    r->queue[r->n_queued++] = i;
}

/* Does this word, with the next, look like what an allocator notes of a large block? */
static bool is_record(uint64_t address, uint64_t size, uint64_t slot, const uint64_t *word,
                      size_t n)
{
    uint64_t pages = n > 1 ? word[1] & ~(uint64_t)(PAGE - 1) : 0;

    return slot % RECORD == RECORD_WORD && word[0] == address && pages + PAGE >= size &&
           pages <= size + size / 4 + 3 * PAGE;
}

/* The word at `slot`, with those that follow it. */
static void hit(struct refs *r, uint64_t slot, const uint64_t *at, size_t n)
{
    uint64_t word = *at, address = word & PROF__ADDRESS_MASK;
    uint32_t i = prof__ranges_find(&r->t->ranges, address);

    if (i == PROF__NO_RANGE || i == r->from)
        return;
    uint64_t start = r->t->start[i], size = r->t->end[i] - start;
    if (PROF_UNLIKELY(size >= LARGE) && r->from == PROF__NO_RANGE &&
        is_record(start, size, slot, at, n)) {
        if (!r->reached[i])
            note_way(r, i, slot); /* if it should count */
        r->t->target[i].state |= RECORDED;
        return;
    }
    if (r->leftover && !(r->t->target[i].state & PROF__TARGET_REACHED))
        r->t->target[i].state |= PROF__TARGET_HELD;
    if (r->reached[i])
        return;
    if (r->leftover) {
        r->reached[i] = 1;
        r->queue[r->n_queued++] = i;
        return;
    }
    r->count->words_tagged += address != word;
    note_way(r, i, slot);
    reach(r, i);
}

static void look(struct refs *r, uint64_t address, const uint64_t *word, size_t n)
{
    const struct prof__wanted *w = &r->wanted;

    PROF__EACH_POINTER(prof__wanted_maybe, w, word, n, hit(r, address + at * 8, &word[at], n - at));
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

/* Where a large block begins is wanted to the end: its record may be met when it is long reached.
 */
static int want_all(struct refs *r, struct prof__arena *a)
{
    int e = prof__wanted_build(&r->wanted, &r->t->ranges, a);

    for (size_t i = 0; i < r->t->n && e == 0; i++) {
        uint64_t start = r->t->start[i], end = r->t->end[i];

        prof__wanted_add(&r->wanted, start, end);
        if (end - start >= LARGE)
            prof__wanted_add(&r->wanted, start, start + 1);
    }
    return e;
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
    r->area = NULL;
    if (r->source && !(r->walked[i] & PROF__TARGET_WALKED)) {
        r->t->target[i].source = r->source;
        r->t->target[i].first = r->first == i;
    }
    if (r->trail && !r->leftover)
        prof__trail_own(r->trail, i);
    return prof__sweep_block(r->sweep, (b->address + 7) & ~(uint64_t)7,
                             (b->address + b->size) & ~(uint64_t)7, look_inside, r);
}

static int read_queue(struct refs *r)
{
    int e = 0;

    while (r->n_read < r->n_queued && e == 0)
        e = read_target(r, r->queue[r->n_read++]);
    r->from = PROF__NO_RANGE;
    return e;
}

static void look_in_area(void *arg, const struct prof__area *area, uint64_t address,
                         const uint64_t *word, size_t n)
{
    struct refs *r = arg;

    r->area = area;
    if (area->end)
        look_between(r, address, word, n);
    else
        look(r, address, word, n);
    r->area = NULL;
}

/* With ways, what one root leads to is read before the next. What is mapped comes last: most of it
 * is the heap, which is in use for want of knowing better. */
static int read_roots(struct refs *r, const struct prof__plan *plan)
{
    int e = 0;

    for (enum prof__root root = 0; root < PROF__ROOTS && e == 0; root++) {
        if (root == PROF__ROOT_MAPPED)
            continue;
        e = prof__areas_read(plan, r->sweep, root, look_in_area, r);
        if (e == 0 && r->trail)
            e = read_queue(r);
    }
    if (e == 0)
        e = prof__areas_read(plan, r->sweep, PROF__ROOT_MAPPED, look_in_area, r);
    return e == 0 ? prof__areas_read_new(plan, r->sweep, look_in_area, r) : e;
}

static int flood_from(struct refs *r, uint32_t i)
{
    r->n_read = r->n_queued = 0;
    r->reached[i] = 1;
    r->queue[r->n_queued++] = i;
    return read_queue(r);
}

static int find_sources(struct refs *r, const struct prof__image *image, struct prof__arena *a)
{
    uint8_t *candidate = prof__arena_alloc(a, r->t->n + 1);
    int e = candidate ? 0 : -ENOMEM;

    r->leftover = true;
    for (uint32_t i = 0; i < r->t->n && e == 0; i++)
        if (!r->reached[i]) {
            candidate[i] = 1;
            e = flood_from(r, i);
        }
    if (e < 0 || prof__image_hidden_regs(image) == 0)
        return e;
    for (uint32_t i = 0; i < r->t->n; i++)
        r->reached[i] = (r->t->target[i].state & PROF__TARGET_REACHED) != 0;
    for (uint32_t i = (uint32_t)r->t->n; i-- > 0 && e == 0;)
        if (candidate[i] && !r->reached[i]) {
            r->source++;
            r->first = i;
            e = flood_from(r, i);
        }
    return e;
}

int prof__refs_pass(struct prof__targets *t, const struct prof__plan *plan, struct prof__sweep *s,
                    struct prof__arena *a, struct prof__pass_count *count,
                    const struct prof__ways *ways, bool fed, bool explain)
{
    struct refs r = { .t = t, .sweep = s, .count = count, .from = PROF__NO_RANGE };
    struct prof__trail trail = { .t = t, .plan = plan, .sweep = s, .ways = ways };

    r.queue = prof__arena_array(a, t->n + 1, sizeof(*r.queue));
    if (!r.queue)
        return -ENOMEM;
    uint8_t *walked = prof__arena_alloc(a, t->n + 1);
    r.reached = prof__arena_alloc(a, t->n + 1);
    if (!walked || !r.reached)
        return -ENOMEM;
    for (size_t i = 0; i < t->n; i++) {
        walked[i] = t->target[i].state;
        t->target[i].state = 0;
    }
    r.walked = walked;
    int e = want_all(&r, a);
    if (e == 0 && ways && ways->paths) {
        trail.path_of = ways->path_of[fed];
        r.trail = &trail;
        e = prof__trail_init(&trail, a, t->n);
    }
    if (e == 0)
        e = read_roots(&r, plan);
    judge_records(&r);
    if (e == 0)
        e = read_queue(&r);
    if (e == 0 && r.trail)
        e = prof__trail_follow(&trail, a);
    if (e == 0 && explain)
        e = find_sources(&r, plan->image, a);
    for (size_t i = 0; i < t->n; i++)
        if (walked[i] & PROF__TARGET_WALKED)
            t->target[i].state = walked[i];
    return e;
}
