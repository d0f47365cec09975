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
 * Memory: 7 bytes a target, beside the targets and what wanted.h says.
 */
#include "scan/pass.h"

#include <errno.h>

#include "scan/wanted.h"
#include "scan/words.h"

enum { RECORD = 128, RECORD_WORD = 8, LARGE = 16 * 1024, PAGE = PROF__IMAGE_PAGE };

#define RECORDED 0x80 /* in a target's state: something like a record of it was met */

struct refs {
    struct prof__targets *t;
    struct prof__sweep *sweep;
    struct prof__pass_count *count;
    const struct prof__ways *ways; /* NULL: not asked for */
    uint32_t *path_of;
    const uint8_t *walked;         /* the targets' states before */
    const struct prof__area *area; /* the root that is read now; NULL: a target */
    uint32_t path;                 /* of that target, itself included */
    struct prof__wanted wanted;    /* where those are that have not been reached */
    uint8_t *reached;              /* of each target, by itself: asked most often */
    uint32_t *queue;               /* targets reached, in order; */
    size_t n_queued, n_read;       /* so many of them read */
    uint32_t from;                 /* the target that is read now; PROF__NO_RANGE: none */
    bool leftover;                 /* and it is one that was not reached; */
    uint32_t source, first;        /* what leads to it, by number; the target that is that */
};

/* How target i is reached by the word at `slot`. */
static uint32_t path_here(struct refs *r, uint64_t slot)
{
    struct prof__kind kind = { .of = PROF__KIND_ROOT };

    if (!r->area)
        return r->path;
    r->ways->name_root(r->ways->name_arg, r->area, slot, &kind);
    return prof__paths_add(r->ways->paths, 0, &kind);
}

static void reach(struct refs *r, uint32_t i, uint64_t slot)
{
    struct prof__target *t = &r->t->target[i];

    if (r->reached[i])
        return;
    r->reached[i] = 1;
    prof__wanted_drop(&r->wanted, r->t->start[i], r->t->end[i]);
    t->state |= PROF__TARGET_REACHED;
    r->queue[r->n_queued++] = i;
    if (r->ways && !(r->walked[i] & PROF__TARGET_WALKED))
        r->path_of[i] = path_here(r, slot);
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
    reach(r, i, slot);
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
            reach(r, (uint32_t)i, 0);
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
    if (r->ways && !r->leftover) {
        struct prof__kind kind = { .of = PROF__KIND_SAMPLED, .who = b->row, .detail = b->size };

        r->path = prof__paths_add(r->ways->paths, r->path_of[i], &kind);
    }
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

static void look_at_words(struct refs *r, enum prof__root root, uint32_t who, const uint64_t *word,
                          size_t n)
{
    struct prof__area area = { .root = root, .who = who };

    r->area = &area;
    for (size_t i = 0; i < n; i++)
        look(r, i, &word[i], 1);
    r->area = NULL;
}

static int read_class(struct refs *r, const struct prof__plan *plan, enum prof__root root)
{
    const struct prof__image *image = plan->image;
    int e = 0;

    if (root == PROF__ROOT_KERNEL)
        for (size_t i = 0; i < image->n_held; i++)
            look_at_words(r, root, (uint32_t)i, &image->held[i].value, 1);
    if (root == PROF__ROOT_NAMED)
        look_at_words(r, root, UINT32_MAX, plan->ignored, plan->n_ignored);
    if (root == PROF__ROOT_REGISTER)
        for (size_t i = 0; i < image->n_threads; i++)
            look_at_words(r, root, (uint32_t)i, image->thread[i].reg, image->thread[i].n_regs);
    for (size_t i = 0; i < plan->n_areas && e == 0; i++)
        if (plan->area[i].root == root) {
            r->area = &plan->area[i];
            e = prof__sweep(r->sweep, r->area->start, r->area->end, look_between, r);
        }
    return e;
}

/* With ways, what one root leads to is read before the next. What is mapped comes last: most of it
 * is the heap, which is in use for want of knowing better. */
static int read_roots(struct refs *r, const struct prof__plan *plan)
{
    int e = 0;

    for (enum prof__root root = 0; root < PROF__ROOTS && e == 0; root++) {
        if (root == PROF__ROOT_MAPPED)
            continue;
        e = read_class(r, plan, root);
        if (e == 0 && r->ways)
            e = read_queue(r);
    }
    if (e == 0)
        e = read_class(r, plan, PROF__ROOT_MAPPED);
    struct prof__area *area;
    size_t n = 0;
    if (e == 0)
        e = prof__plan_more(plan, &area, &n);
    for (size_t i = 0; i < n && e == 0; i++) {
        r->area = &area[i];
        e = prof__sweep(r->sweep, area[i].start, area[i].end, look_between, r);
    }
    return e;
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

    if (ways && ways->paths) {
        r.ways = ways;
        r.path_of = ways->path_of[fed];
    }

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
    if (e == 0)
        e = read_roots(&r, plan);
    r.area = NULL;
    r.path = 0;
    judge_records(&r);
    if (e == 0)
        e = read_queue(&r);
    if (e == 0 && explain)
        e = find_sources(&r, plan->image, a);
    for (size_t i = 0; i < t->n; i++)
        if (walked[i] & PROF__TARGET_WALKED)
            t->target[i].state = walked[i];
    return e;
}
