/*
 * heap.c - from mappings to chunks.
 *
 * Where heaps are (malloc/arena.c, malloc/malloc.c of glibc 2.26 and later):
 *
 *   main       [heap], which grows by sbrk(). The first chunk is at its beginning, unless the
 *              program has called sbrk() before malloc(): found by trying
 *   others     at multiples of 64 MiB (HEAP_MAX_SIZE): struct heap_info { arena, previous heap,
 *              size, ... }, in the first heap of an arena its malloc_state, then chunks to the end
 *              of `size`. The first chunk is found by trying offsets until the walk goes through
 *   mmapped    one chunk, in pages of its own: 0, then its size and the flag 2. A sampled block
 *              there is certain; others are looked for, and may be memory of the program's that
 *              happens to look so
 *
 * The heap moves while it is walked. A header is read together with what is around it, so most
 * changes fall between two readings, and a chunk that was cut, or joined with its neighbour, in
 * between makes the next header nonsense. Then the walk reads once more from the last good chunk,
 * and if that does not help it goes on from the next sampled block. What it passed over is taken as
 * one chunk that is in use.
 */
#include "scan/heap.h"

#include <errno.h>
#include <string.h>

enum {
    PAGE = PROF__IMAGE_PAGE,
    MIN_CHUNK = 32,
    PREV_INUSE = PROF__PREV_INUSE,
    IS_MMAPPED = 2,
    OTHER_ARENA = 4,
    FLAGS = 7,
    FIRST_CHUNK_MAX = 8192, /* heap_info and malloc_state are some 2300 bytes */
    TRIAL_CHUNKS = 64,
    RETRIES = 2,
    GARBLED_MAX = 1024,
    GUARD_MAX = 1 << 20,
};

#define HEAP_MAX_SIZE ((uint64_t)64 << 20)
#define GROWTH        HEAP_MAX_SIZE /* of the main heap while it is looked at */

/* --- reading --------------------------------------------------------------------------------- */

/* A window onto the image. */
struct reader {
    struct prof__sweep *s;
    uint64_t from;
    size_t n;
    int error;
};

/* The n bytes at `at`, or NULL. Reads no page that is not there. */
static const uint64_t *look_at(struct reader *r, uint64_t at, size_t n)
{
    enum { PAGES = PROF__SWEEP_BYTES / PAGE };
    uint8_t state[PAGES];
    uint64_t page = at & ~(uint64_t)(PAGE - 1);
    size_t k = 0;

    if (at >= r->from && at + n <= r->from + r->n)
        return &r->s->buf[(at - r->from) / 8];
    r->s->image->ops->presence(r->s->image, page, PAGES, state);
    while (k < PAGES &&
           (state[k] == PROF__PAGE_PRESENT || (state[k] == PROF__PAGE_SWAPPED && r->s->swap)))
        k++;
    if (k == 0 && state[0] == PROF__PAGE_SWAPPED)
        r->s->swapped_pages++;
    r->from = page;
    r->n = k ? prof__image_read(r->s->image, page, r->s->buf, k * PAGE) : 0;
    r->s->read_bytes += r->n;
    if (r->error == 0)
        r->error = prof__pace_step(r->s->pace, r->n + 4096);
    return at + n <= r->from + r->n ? &r->s->buf[(at - r->from) / 8] : NULL;
}

static void forget(struct reader *r)
{
    r->n = 0;
}

/* --- chunks ---------------------------------------------------------------------------------- */

struct header {
    uint64_t previous, size;
    unsigned flags;
};

enum kind { CHUNK, LAST, NONSENSE };

bool prof__chunk_parse(const uint64_t word[2], bool other_arena, uint64_t *ret_size,
                       unsigned *ret_flags)
{
    *ret_size = word[1] & ~(uint64_t)FLAGS;
    *ret_flags = (unsigned)(word[1] & FLAGS);
    return *ret_size >= MIN_CHUNK && *ret_size % PROF__UNIT == 0 && !(*ret_flags & IS_MMAPPED) &&
           !(*ret_flags & OTHER_ARENA && !other_arena);
}

/* The header at `at` of a region that ends at `end`. */
static enum kind parse(struct reader *r, uint64_t at, uint64_t end, bool other_arena,
                       struct header *ret)
{
    const uint64_t *w = end - at >= 16 ? look_at(r, at, 16) : NULL;

    if (!w)
        return NONSENSE;
    bool good = prof__chunk_parse(w, other_arena, &ret->size, &ret->flags);
    ret->previous = w[0];
    if (end - at <= 64 && ret->size <= 16) /* fence posts */
        return LAST;
    if (!good)
        return NONSENSE;
    if (ret->size > end - at) /* the heap has grown since, and its top with it */
        return (at + ret->size) % PAGE == 0 && ret->size < HEAP_MAX_SIZE ? LAST : NONSENSE;
    return ret->size == end - at ? LAST : CHUNK;
}

/* Does a walk from here go through, for as long as one tries? */
static bool is_chain(struct reader *r, uint64_t at, uint64_t end, bool other_arena)
{
    struct header h = { 0 };
    uint64_t before = 0;

    for (int i = 0; i < TRIAL_CHUNKS; i++) {
        switch (parse(r, at, end, other_arena, &h)) {
        case NONSENSE:
            return false;
        case LAST:
            return i > 0 || (h.flags & PREV_INUSE);
        case CHUNK:
            break;
        }
        if (i == 0 && !(h.flags & PREV_INUSE)) /* there is none before the first */
            return false;
        if (i > 0 && !(h.flags & PREV_INUSE) && h.previous != before)
            return false;
        before = h.size;
        at += h.size;
    }
    return true;
}

/* Where the chunks of a heap begin; 0: nowhere. */
static uint64_t first_chunk(struct reader *r, uint64_t from, uint64_t end, bool other_arena)
{
    for (uint64_t at = from; at < from + FIRST_CHUNK_MAX && at + MIN_CHUNK <= end; at += PROF__UNIT)
        if (is_chain(r, at, end, other_arena))
            return at;
    return 0;
}

/* --- one region ------------------------------------------------------------------------------ */

static size_t first_target(const struct prof__targets *t, uint64_t address)
{
    size_t low = 0, high = t->n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (t->start[middle] < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t unit_of(const struct prof__heap_region *g, uint64_t at)
{
    return (at - g->start) / PROF__UNIT;
}

static void begin_chunk(struct prof__heap *h, struct prof__heap_region *g, uint64_t at)
{
    prof__bit_set(g->starts, unit_of(g, at));
    h->chunks++;
}

static void set_free(struct prof__heap *h, struct prof__heap_region *g, uint64_t at)
{
    prof__bit_set(g->marks, unit_of(g, at) + 1);
    h->free_chunks++;
}

/* A chunk before the next sampled block at or after `at`; the region's end if there is none. */
static uint64_t next_known(const struct prof__targets *t, const struct prof__heap_region *g,
                           uint64_t at)
{
    size_t i = first_target(t, at + PROF__CHUNK_HEADER);

    while (i < t->n && t->start[i] % PROF__UNIT != 0)
        i++;
    return i < t->n && t->start[i] < g->walk_end ? t->start[i] - PROF__CHUNK_HEADER : g->walk_end;
}

static void pass_over(struct prof__heap *h, struct prof__heap_region *g, uint64_t from, uint64_t to)
{
    h->garbled_bytes += to - from;
    h->resyncs++;
    if (h->n_garbled == GARBLED_MAX || to - from < MIN_CHUNK)
        return;
    begin_chunk(h, g, from);
    h->garbled[h->n_garbled++] = (struct prof__image_span) { from, to };
}

static int walk_region(struct prof__heap *h, struct prof__heap_region *g,
                       const struct prof__targets *t, struct reader *r)
{
    uint64_t at = g->start, before = 0; /* the last good chunk; 0: there is none */
    uint64_t before_size = 0;
    int tries = 0;

    while (at < g->walk_end && r->error == 0) {
        struct header c;
        enum kind kind = parse(r, at, g->walk_end, g->other_arena, &c);

        if (kind != NONSENSE && before && !(c.flags & PREV_INUSE) && c.previous != before_size)
            kind = NONSENSE; /* says the one before is free, and has another size */
        if (kind == NONSENSE) {
            forget(r);
            if (tries++ < RETRIES) { /* the last one may have been cut since */
                struct header again;

                if (before && parse(r, before, g->walk_end, g->other_arena, &again) == CHUNK &&
                    before + again.size < g->walk_end) {
                    at = before + again.size;
                    before_size = again.size;
                }
                continue;
            }
            uint64_t next = next_known(t, g, at + MIN_CHUNK);

            pass_over(h, g, at, next);
            at = next;
            before = 0;
            tries = 0;
            continue;
        }
        if (tries) /* chunks that were begun beyond the last good one: there are none */
            tries = 0;
        if (before && !(c.flags & PREV_INUSE))
            set_free(h, g, before);
        if (kind == LAST) {
            break;
        }
        begin_chunk(h, g, at);
        before = at;
        before_size = c.size;
        at += c.size;
    }
    /* The top: all that is not given out, and what is yet to come. */
    if (g->end - at >= MIN_CHUNK) {
        begin_chunk(h, g, at);
        set_free(h, g, at);
    }
    return r->error;
}

/* --- finding them ---------------------------------------------------------------------------- */

struct finder {
    struct prof__heap *h;
    struct prof__plan *plan;
    struct prof__arena *arena;
    struct reader *r;
    size_t room;
};

static int add_region(struct finder *f, struct prof__heap_region g)
{
    if (f->h->n == f->room) {
        size_t room = f->room ? f->room * 2 : 64;
        struct prof__heap_region *more = prof__arena_array(f->arena, room, sizeof(*more));

        if (!more)
            return -ENOMEM;
        if (f->h->n)
            memcpy(more, f->h->region, f->h->n * sizeof(*more));
        f->h->region = more;
        f->room = room;
    }
    f->h->region[f->h->n++] = g;
    return 0;
}

static bool is_heap_memory(const struct prof__image_map *m)
{
    return m->anonymous && m->readable && m->writable && !m->shared && !m->untouchable;
}

static bool is_main(const struct prof__image_map *m)
{
    return is_heap_memory(m) && strcmp(m->name, "[heap]") == 0;
}

/* What a forked child adds to its parent's heap is a mapping of its own. */
static int find_main(struct finder *f, const struct prof__image_map *m)
{
    const struct prof__image *image = f->plan->image;
    const struct prof__image_map *last = m, *end = image->map + image->n_maps;

    while (last + 1 < end && last[1].start == last->end && is_main(&last[1]))
        last++;
    if (m > image->map && m[-1].end == m->start && is_main(&m[-1]))
        return 0; /* had with that */
    uint64_t next = last + 1 < end ? last[1].start : UINT64_MAX;
    uint64_t first = first_chunk(f->r, m->start, last->end, false);
    return first ? add_region(
                       f, (struct prof__heap_region) { .start = first,
                                                       .end = PROF_MIN(last->end + GROWTH, next),
                                                       .walk_end = last->end })
                 : 0;
}

/* A heap of another arena at `at`. Its end, or 0. */
static uint64_t find_other(struct finder *f, const struct prof__image_map *m, uint64_t at,
                           int *ret_error)
{
    const uint64_t *info = look_at(f->r, at, 32);
    uint64_t size = info ? info[2] : 0;

    /* It may have grown since the mappings were taken. */
    if (!info || size < PAGE || size % PAGE != 0 || size > HEAP_MAX_SIZE || info[0] % 8 != 0 ||
        info[0] == 0)
        return 0;
    /* The arena lies in its own first heap, right behind the heap's head. */
    uint64_t arena = info[0], previous = info[1];
    if (arena % HEAP_MAX_SIZE > 256 || previous % HEAP_MAX_SIZE != 0 ||
        (previous == 0) != (arena - arena % HEAP_MAX_SIZE == at))
        return 0;
    uint64_t first = first_chunk(f->r, at + 32, at + size, true);
    if (!first)
        return 0;
    *ret_error = add_region(f, (struct prof__heap_region) { .start = first,
                                                            .end = at + HEAP_MAX_SIZE,
                                                            .walk_end = at + size,
                                                            .head = at,
                                                            .other_arena = true });
    return at + size;
}

static int find_others(struct finder *f, const struct prof__image_map *m)
{
    int e = 0;

    for (uint64_t at = (m->start + HEAP_MAX_SIZE - 1) & ~(HEAP_MAX_SIZE - 1); at < m->end && e == 0;
         at += HEAP_MAX_SIZE)
        find_other(f, m, at, &e);
    return e;
}

/* The mmapped chunk that begins at `at`, if one could. Its size, or 0. */
static uint64_t mmapped_at(struct finder *f, const struct prof__image_map *m, uint64_t at)
{
    const uint64_t *w = look_at(f->r, at, 16);

    if (!w || (w[1] & FLAGS) != IS_MMAPPED)
        return 0;
    uint64_t size = w[1] & ~(uint64_t)FLAGS;
    /* An aligned block leaves some of its first page before the chunk, and says how much. */
    if (size < MIN_CHUNK || size > m->end - at || w[0] >= HEAP_MAX_SIZE || w[0] > at - m->start ||
        (at - w[0]) % PAGE != 0 || (size + w[0]) % PAGE != 0)
        return 0;
    return size;
}

/* Those of sampled blocks, which are certain. */
static int find_known(struct finder *f, const struct prof__targets *t)
{
    const struct prof__image_map *m = NULL;
    int e = 0;

    for (size_t i = 0; i < t->n && e == 0; i++) {
        uint64_t at = t->start[i] - PROF__CHUNK_HEADER;

        if (!m || at < m->start || at >= m->end)
            m = prof__image_map_of(f->plan->image, at);
        if (!m || !is_heap_memory(m) || at % PROF__UNIT != 0 || t->end[i] - t->start[i] < 2048)
            continue;
        uint64_t size = mmapped_at(f, m, at);
        if (size)
            e = add_region(f, (struct prof__heap_region) {
                                  .start = at, .end = at + size, .big = true, .certain = true });
    }
    return e;
}

static void sort_regions(struct prof__heap *h)
{
    for (size_t gap = h->n / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < h->n; i++) {
            struct prof__heap_region one = h->region[i];
            size_t k = i;

            for (; k >= gap && h->region[k - gap].start > one.start; k -= gap)
                h->region[k] = h->region[k - gap];
            h->region[k] = one;
        }
}

/* What else looks like mmapped chunks, page by page of what no region and nobody else has. */
static int find_unknown(struct finder *f)
{
    const struct prof__image *image = f->plan->image;
    size_t known = f->h->n, next = 0, own = 0;
    int e = 0;

    for (size_t i = 0; i < image->n_maps && e == 0; i++) {
        const struct prof__image_map *m = &image->map[i];

        /* Behind a guard are threads' stacks, unless it is what an arena has yet to use; and no
         * chunk is as small as one page. */
        if (!is_heap_memory(m) || m->name[0] == '[' ||
            (i > 0 && m[-1].end == m->start && !m[-1].readable &&
             m[-1].end - m[-1].start <= GUARD_MAX))
            continue;
        for (uint64_t at = m->start; at + 2 * PAGE <= m->end && e == 0;) {
            while (next < known && f->h->region[next].end <= at)
                next++;
            while (own < image->n_own && image->own[own].end <= at)
                own++;
            uint64_t taken = 0;
            if (next < known && f->h->region[next].start < at + PAGE)
                taken = f->h->region[next].end;
            else if (own < image->n_own && image->own[own].start < at + PAGE)
                taken = image->own[own].end;
            if (taken) {
                at = (taken + PAGE - 1) & ~(uint64_t)(PAGE - 1);
                continue;
            }
            uint64_t size = mmapped_at(f, m, at);
            if (size >= 2 * PAGE && size % PAGE == 0) {
                e = add_region(
                    f, (struct prof__heap_region) { .start = at, .end = at + size, .big = true });
                at += size;
            } else {
                at += PAGE;
            }
            if (e == 0)
                e = f->r->error;
        }
        own = next = 0;
    }
    return e;
}

/* --- all ------------------------------------------------------------------------------------- */

static int allocate_bits(struct prof__heap_region *g, struct prof__arena *a)
{
    uint64_t words = ((g->end - g->start) / PROF__UNIT + 63) / 64;

    g->starts = prof__arena_array(a, words + 1, sizeof(*g->starts));
    g->marks = prof__arena_array(a, words + 1, sizeof(*g->marks));
    return g->starts && g->marks ? 0 : -ENOMEM;
}

/* Regions must not overlap; of two that do, the earlier is believed. */
static void drop_overlaps(struct prof__heap *h)
{
    size_t kept = 0;

    for (size_t i = 0; i < h->n; i++)
        if (kept == 0 || h->region[kept - 1].end <= h->region[i].start)
            h->region[kept++] = h->region[i];
        else if (h->region[i].certain && h->region[kept - 1].big && !h->region[kept - 1].certain)
            h->region[kept - 1] = h->region[i];
    h->n = kept;
}

static int index_regions(struct prof__heap *h, struct prof__arena *a)
{
    uint64_t *start = prof__arena_array(a, h->n + 1, sizeof(*start));
    uint64_t *end = prof__arena_array(a, h->n + 1, sizeof(*end));

    if (!start || !end)
        return -ENOMEM;
    for (size_t i = 0; i < h->n; i++) {
        struct prof__heap_region *g = &h->region[i];

        start[i] = g->start;
        end[i] = g->end;
        g->first_window = h->n_windows;
        h->n_windows +=
            g->big ? 1 : (uint32_t)((g->end - g->start + PROF__WINDOW - 1) / PROF__WINDOW);
        h->bytes += (g->big ? g->end : g->walk_end) - g->start;
    }
    return prof__ranges_build(&h->ranges, a, start, end, h->n);
}

/* Did the walk come by that block? */
static bool is_met(const struct prof__heap *h, const struct prof__image_block *b)
{
    uint32_t i = prof__ranges_find(&h->ranges, b->address - PROF__CHUNK_HEADER);

    if (i == PROF__NO_RANGE)
        return false;
    const struct prof__heap_region *g = &h->region[i];
    uint64_t at = b->address - PROF__CHUNK_HEADER;
    if (g->big)
        return at == g->start;
    return at % PROF__UNIT == 0 && prof__bit(g->starts, unit_of(g, at)) &&
           prof__bit(g->marks, unit_of(g, at) + 1) == 0;
}

/* The blocks that are certain to be malloc's must be chunks, if they have not been freed since. */
static void judge(struct prof__heap *h, struct prof__image *image, struct prof__targets *t)
{
    size_t met = 0;

    for (size_t i = 0; i < t->n; i++)
        if (is_met(h, &t->target[i].block)) {
            t->target[i].state |= PROF__TARGET_WALKED;
            met++;
        }
    if (met < t->n)
        prof__targets_look_again(t, image);
    for (size_t i = 0; i < t->n; i++)
        if (!(t->target[i].state & PROF__TARGET_WALKED)) {
            if (t->target[i].live)
                h->missed++;
            else
                t->target[i].state |= PROF__TARGET_REACHED; /* nobody asks */
        }
    if (h->n == 0 || (met == 0 && h->missed > 0))
        h->why = "the heap is not that of glibc's malloc";
    else if (h->missed * 50 > met + h->missed && h->missed > 2)
        h->why = "the heap could not be walked: too many sampled blocks were not met";
    else if (h->garbled_bytes > h->bytes / 10)
        h->why = "the heap could not be walked: it changed too fast";
    for (size_t i = 0; i < t->n && h->why; i++)
        t->target[i].state &= (uint8_t)~PROF__TARGET_WALKED; /* judged by references, all of them */
}

int prof__heap_walk(struct prof__heap *h, struct prof__plan *plan, struct prof__targets *t,
                    struct prof__sweep *s, struct prof__arena *a)
{
    struct reader r = { .s = s };
    struct finder f = { .h = h, .plan = plan, .arena = a, .r = &r };
    const struct prof__image *image = plan->image;
    int e;

    *h = (struct prof__heap) { 0 };
    h->garbled = prof__arena_array(a, GARBLED_MAX, sizeof(*h->garbled));
    e = h->garbled ? find_known(&f, t) : -ENOMEM;
    for (size_t i = 0; i < image->n_maps && e == 0; i++) {
        const struct prof__image_map *m = &image->map[i];

        if (!is_heap_memory(m))
            continue;
        e = is_main(m) ? find_main(&f, m) : find_others(&f, m);
    }
    sort_regions(h);
    drop_overlaps(h);
    if (e == 0 && h->n > 0)
        e = find_unknown(&f);
    sort_regions(h);
    drop_overlaps(h);
    if (e == 0)
        e = index_regions(h, a);
    for (size_t i = 0; i < h->n && e == 0; i++)
        if (h->region[i].big) {
            h->chunks++;
        } else {
            forget(&r);
            e = allocate_bits(&h->region[i], a);
            if (e == 0)
                e = walk_region(h, &h->region[i], t, &r);
        }
    if (e == 0)
        judge(h, plan->image, t);
    for (size_t i = 0; i < h->n && e == 0 && !h->why; i++)
        e = prof__plan_exclude(plan, h->region[i].head ? h->region[i].head : h->region[i].start,
                               h->region[i].end);
    return e;
}
