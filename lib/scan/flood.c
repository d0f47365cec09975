/*
 * flood.c - marking, without a queue of blocks.
 *
 * Reading a chunk by itself costs a microsecond, reading all of the heap in one go a hundredth of
 * that for each chunk. So the heap is cut into windows of 64 KiB. What is reached is only marked,
 * in the bits that heap.h describes, and its window is put in line, once. When a window's turn
 * comes all that is marked in it is read: together with the window if there is much of it, else
 * each by itself. By then others have marked more in it. So the memory needed does not depend on
 * how the heap is knotted, and a list that leads all over it costs one reading a node at worst.
 *
 * With paths, a marked chunk has an entry that says how it was reached, until it is read; from a
 * pool of fixed size, and without one its path is lost and nothing else.
 *
 * The heap moves on. A block that was given out since the walk may be the one that an old one hangs
 * on, always the same way: a list whose newest comes first. So where a word points into memory that
 * was free, or not there yet, the header before it is read again, and if it says that a chunk in
 * use begins there, one does.
 *
 * What glibc itself remembers is no use of a block: its bins point to headers of chunks, not to
 * what is behind them, and a thread's cache of free blocks is told by its shape.
 */
#include "scan/flood.h"

#include <errno.h>
#include <string.h>

#include "scan/flood_internal.h"
#include "scan/words.h"

enum {
    DENSE = 16, /* chunks of a window from which on it is read as a whole */
    PAGE = PROF__IMAGE_PAGE,
    ENTRIES = 1 << 20,   /* of chunks that are marked and not read, with their paths */
    YOUNG_MAX = 1 << 18, /* headers read again, in a pass */
    CACHE_CHUNK = 0x290, /* of tcache_perthread_struct, glibc 2.30 and later */
    CACHE_BINS = 64,
};

/* --- marking --------------------------------------------------------------------------------- */

static uint32_t window_of(const struct prof__heap_region *g, uint64_t unit)
{
    return g->first_window + (g->big ? 0 : (uint32_t)(unit * PROF__UNIT / PROF__WINDOW));
}

/* How this chunk is reached: from the block that is read, or from a root, which gets its name only
 * now that it leads somewhere. */
static uint32_t path_here(struct flood *f)
{
    struct prof__kind kind = { .of = PROF__KIND_ROOT };

    if (!f->area)
        return f->path;
    kind.extra = (uint8_t)f->area->root;
    kind.who = f->area->who;
    if (f->o->name_root)
        f->o->name_root(f->o->name_arg, f->area, f->address, &kind);
    return prof__paths_add(f->o->paths, 0, &kind);
}

static void note_path(struct flood *f, uint32_t window, uint64_t unit)
{
    uint32_t i = f->free_entry;

    if (i)
        f->free_entry = f->entry[i - 1].next;
    else if (f->n_entries < ENTRIES)
        i = ++f->n_entries;
    if (!i)
        return;
    f->entry[i - 1] = (struct entry) { unit, path_here(f), f->entries[window] };
    f->entries[window] = i;
}

static void put_in_line(struct flood *f, struct prof__heap_region *g, uint64_t unit)
{
    uint32_t w = window_of(g, unit);

    f->pending[w]++;
    if (f->o->paths)
        note_path(f, w, unit);
    if (!f->in_line[w]) {
        f->in_line[w] = 1;
        f->line[(f->first + f->n_line++) % f->h->n_windows] = w;
    }
}

void prof__flood_mark_unit(struct flood *f, struct prof__heap_region *g, uint64_t unit)
{
    if (g->big)
        g->marked = true;
    else
        prof__bit_set(g->marks, unit);
    put_in_line(f, g, unit);
}

/* Is a chunk in use at `at` now? Its size, or 0. */
static uint64_t size_in_use(struct flood *f, const struct prof__heap_region *g, uint64_t at)
{
    uint64_t word[2], next[2], size, next_size;
    unsigned flags;

    if (prof__image_read(f->s->image, at, word, sizeof(word)) != sizeof(word) ||
        !prof__chunk_parse(word, g->other_arena, &size, &flags) || size >= g->end - at ||
        prof__image_read(f->s->image, at + size, next, sizeof(next)) != sizeof(next) ||
        !prof__chunk_parse(next, g->other_arena, &next_size, &flags))
        return 0;
    return flags & PROF__PREV_INUSE ? size : 0;
}

/* A word points into [chunk, ..), which was free. */
static void mark_young(struct flood *f, struct prof__heap_region *g, uint64_t chunk,
                       uint64_t address)
{
    uint64_t unit = (address - g->start) / PROF__UNIT - 1, end = prof__chunk_after(g, chunk);

    if (address % PROF__UNIT != 0 || f->from_libc || unit < chunk || end - unit < 2 ||
        f->n_young == YOUNG_MAX || (unit > chunk && prof__bit(g->marks, unit) && unit > chunk + 1))
        return;
    f->n_young++;
    uint64_t size = size_in_use(f, g, g->start + unit * PROF__UNIT);
    uint64_t next = unit + size / PROF__UNIT;
    if (size == 0 || next > end) {
        if (unit > chunk + 1)
            prof__bit_set(g->marks, unit); /* looked at; no chunk begins there */
        return;
    }
    if (next + 1 < end) {
        prof__bit_set(g->starts, next);
        prof__bit_clear(g->marks, next);
        prof__bit_set(g->marks, next + 1);
    }
    prof__bit_set(g->starts, unit);
    prof__bit_clear(g->marks, unit + 1);
    prof__flood_mark_unit(f, g, unit);
}

/* The target that a chunk is the block of, or PROF__NO_RANGE. */
static uint32_t target_of(const struct flood *f, uint64_t chunk)
{
    uint64_t block = chunk + PROF__CHUNK_HEADER;
    uint32_t i = prof__ranges_find(&f->t->ranges, block);

    return i != PROF__NO_RANGE && f->t->start[i] == block ? i : PROF__NO_RANGE;
}

/* A leftover chunk has a word that leads to the one at `chunk`. */
static void hold(struct flood *f, uint64_t chunk)
{
    uint32_t i = chunk == f->chunk ? PROF__NO_RANGE : target_of(f, chunk);

    if (i != PROF__NO_RANGE && f->t->target[i].state & PROF__TARGET_WALKED)
        f->t->target[i].state |= PROF__TARGET_HELD;
}

/* The one at `chunk` is read. */
static void see_leftover(struct flood *f, uint64_t chunk)
{
    uint32_t i = f->source ? target_of(f, chunk) : PROF__NO_RANGE;

    f->chunk = chunk;
    if (i == PROF__NO_RANGE)
        return;
    f->t->target[i].source = f->source;
    f->t->target[i].first = chunk == f->source_chunk;
}

void prof__flood_mark(struct flood *f, uint64_t word)
{
    uint64_t address = word & PROF__ADDRESS_MASK;
    uint32_t i = prof__ranges_find(&f->h->ranges, address);

    if (i == PROF__NO_RANGE)
        return;
    struct prof__heap_region *g = &f->h->region[i];
    f->count->words_tagged += address != word;
    if (g->big) {
        if (address < g->start + PROF__CHUNK_HEADER)
            return;
        if (f->leftover)
            hold(f, g->start);
        if (!g->marked)
            prof__flood_mark_unit(f, g, 0);
        return;
    }
    uint64_t unit = (address - g->start) / PROF__UNIT;
    uint64_t chunk = prof__chunk_of(g, unit);
    if (chunk == UINT64_MAX)
        return;
    if (chunk == unit) {
        /* Into a header: its first word is the last of the block before. libc's bins lead here. */
        if (address % PROF__UNIT >= 8 || f->from_libc || unit == 0)
            return;
        chunk = prof__chunk_of(g, unit - 1);
        if (chunk == UINT64_MAX)
            return;
    }
    if (PROF_UNLIKELY(f->leftover))
        hold(f, g->start + chunk * PROF__UNIT);
    if (prof__bit(g->marks, chunk))
        return;
    if (prof__bit(g->marks, chunk + 1))
        mark_young(f, g, chunk, address);
    else
        prof__flood_mark_unit(f, g, chunk);
}

void prof__flood_look(void *arg, uint64_t address, const uint64_t *word, size_t n)
{
    struct flood *f = arg;
    const struct prof__ranges *ranges = &f->h->ranges;

    PROF__EACH_POINTER(prof__ranges_maybe, ranges, word, n, {
        f->address = address + at * 8;
        prof__flood_mark(f, word[at]);
    });
}

/* --- reading chunks -------------------------------------------------------------------------- */

/* Is it the cache of free blocks that each thread has? A count for each size, and a list that is
 * empty where the count is 0. */
static bool is_cache(const uint64_t *word, size_t n)
{
    const uint16_t *count = (const uint16_t *)word;
    const uint64_t *first = word + CACHE_BINS * sizeof(*count) / 8;

    if (n < CACHE_BINS * sizeof(*count) / 8 + CACHE_BINS)
        return false;
    for (int i = 0; i < CACHE_BINS; i++)
        if ((count[i] == 0) != (first[i] == 0))
            return false;
    return true;
}

static void look_in_block(struct flood *f, uint64_t address, const uint64_t *word, size_t n,
                          uint64_t size)
{
    if (size != CACHE_CHUNK || !is_cache(word, n))
        prof__flood_look(f, address, word, n);
}

struct block {
    struct flood *f;
    uint64_t size; /* of its chunk */
};

static void look_in_whole(void *arg, uint64_t address, const uint64_t *word, size_t n)
{
    struct block *b = arg;

    look_in_block(b->f, address, word, n, b->size);
}

/* The block of a chunk [start, end): to the first word of the next header. */
static void read_block(struct flood *f, uint64_t start, uint64_t end)
{
    struct block b = { f, end - start };
    int e = prof__sweep_block(f->s, start + PROF__CHUNK_HEADER, end + 8, look_in_whole, &b);

    if (f->error == 0)
        f->error = e;
}

/* What is in the chunk is held by it, and it by `path`. */
static void step_into(struct flood *f, uint64_t start, uint64_t end, uint32_t path)
{
    struct prof__kind kind = { .of = PROF__KIND_UNSAMPLED, .detail = end - start - 8 };
    uint32_t i = target_of(f, start);

    f->area = NULL;
    if (i != PROF__NO_RANGE) {
        const struct prof__image_block *b = &f->t->target[i].block;

        kind = (struct prof__kind) { .of = PROF__KIND_SAMPLED, .who = b->row, .detail = b->size };
        f->o->path_of[0][i] = path;
    } else if (path && f->o->row_of) {
        kind.of = PROF__KIND_SAMPLED;
        kind.who = f->o->row_of(f->o->row_arg, start + PROF__CHUNK_HEADER, end);
    }
    f->path = path ? prof__paths_add(f->o->paths, path, &kind) : 0;
}

/* --- windows --------------------------------------------------------------------------------- */

/* The part of the window that is there, [from, to). */
struct loaded {
    uint64_t from, to;
};

static struct loaded load_window(struct flood *f, uint64_t from, uint64_t to)
{
    enum { PAGES = PROF__WINDOW / PAGE + 1 };
    uint8_t state[PAGES];
    uint64_t page = from & ~(uint64_t)(PAGE - 1);
    size_t n = (size_t)((to - page + PAGE - 1) / PAGE), k = 0;
    struct loaded none = { from, from };

    f->s->image->ops->presence(f->s->image, page, n, state);
    while (k < n &&
           (state[k] == PROF__PAGE_PRESENT || (state[k] == PROF__PAGE_SWAPPED && f->s->swap)))
        k++;
    if (k == 0)
        return none;
    uint64_t end = PROF_MIN(to, page + k * PAGE);
    size_t got = prof__image_read(f->s->image, from, f->window, end - from) & ~(size_t)7;
    f->s->read_bytes += got;
    int e = prof__pace_step(f->s->pace, got);
    if (f->error == 0)
        f->error = e;
    return (struct loaded) { from, from + got };
}

static void read_chunk(struct flood *f, struct prof__heap_region *g, uint64_t unit,
                       const struct loaded *l, uint32_t path)
{
    uint64_t start = g->start + unit * PROF__UNIT;
    uint64_t end = g->start + prof__chunk_after(g, unit) * PROF__UNIT;

    prof__bit_set(g->marks, unit + 1);
    if (PROF_UNLIKELY(f->leftover))
        see_leftover(f, start);
    if (f->o->paths)
        step_into(f, start, end, path);
    if (start + PROF__CHUNK_HEADER >= l->from && end + 8 <= l->to)
        look_in_block(f, start + PROF__CHUNK_HEADER,
                      f->window + (start + PROF__CHUNK_HEADER - l->from) / 8, (end - start - 8) / 8,
                      end - start);
    else
        read_block(f, start, PROF_MIN(end, g->end - 8));
}

/* Those with a path first. */
static void read_entries(struct flood *f, struct prof__heap_region *g, uint32_t w,
                         const struct loaded *l)
{
    while (f->entries[w] && f->error == 0) {
        uint32_t i = f->entries[w];
        struct entry e = f->entry[i - 1];

        f->entries[w] = e.next;
        f->entry[i - 1].next = f->free_entry;
        f->free_entry = i;
        f->pending[w]--;
        read_chunk(f, g, e.unit, l, e.path);
    }
}

static void read_marked(struct flood *f, struct prof__heap_region *g, uint32_t w, uint64_t first,
                        uint64_t last, const struct loaded *l)
{
    for (uint64_t i = first / 64; i <= last / 64 && f->error == 0; i++) {
        uint64_t word = g->marks[i] & g->starts[i];

        for (; word && f->pending[w] > 0; word &= word - 1) {
            uint64_t unit = i * 64 + (uint64_t)__builtin_ctzll(word);

            if (unit < first || unit > last || prof__bit(g->marks, unit + 1))
                continue;
            f->pending[w]--;
            read_chunk(f, g, unit, l, 0);
        }
    }
}

static void read_window(struct flood *f, struct prof__heap_region *g, uint32_t w)
{
    uint64_t from = g->start + (uint64_t)(w - g->first_window) * PROF__WINDOW;
    uint64_t to = PROF_MIN(from + PROF__WINDOW, g->end);
    uint64_t first = (from - g->start) / PROF__UNIT, last = (to - g->start) / PROF__UNIT - 1;
    struct loaded l = { from, from };

    if (f->pending[w] >= DENSE)
        l = load_window(f, from, to);
    /* What it leads to in this window is read on the same visit. */
    while (f->pending[w] > 0 && f->error == 0) {
        if (f->o->paths)
            read_entries(f, g, w, &l);
        read_marked(f, g, w, first, last, &l);
    }
}

static void read_big(struct flood *f, struct prof__heap_region *g, uint32_t w)
{
    uint32_t path = 0;

    f->pending[w] = 0;
    g->read = true;
    if (f->leftover)
        see_leftover(f, g->start);
    if (f->o->paths) {
        if (f->entries[w])
            path = f->entry[f->entries[w] - 1].path;
        f->entries[w] = 0;
        step_into(f, g->start, g->end, path);
    }
    int e = prof__sweep(f->s, g->start + PROF__CHUNK_HEADER, g->end & ~(uint64_t)7,
                        prof__flood_look, f);
    if (f->error == 0)
        f->error = e;
}

static struct prof__heap_region *region_of_window(struct prof__heap *h, uint32_t w)
{
    size_t low = 0, high = h->n;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;

        if (h->region[middle].first_window <= w)
            low = middle;
        else
            high = middle;
    }
    return &h->region[low];
}

void prof__flood_run(struct flood *f)
{
    f->area = NULL;
    f->from_libc = false;
    f->path = 0;
    while (f->n_line > 0 && f->error == 0) {
        uint32_t w = f->line[f->first];
        struct prof__heap_region *g = region_of_window(f->h, w);

        f->first = (f->first + 1) % f->h->n_windows;
        f->n_line--;
        f->in_line[w] = 0;
        if (g->big)
            read_big(f, g, w);
        else
            read_window(f, g, w);
    }
}

/* --- targets --------------------------------------------------------------------------------- */

static bool is_reached(const struct prof__heap *h, const struct prof__image_block *b)
{
    uint64_t chunk = b->address - PROF__CHUNK_HEADER;
    uint32_t i = prof__ranges_find(&h->ranges, chunk);

    if (i == PROF__NO_RANGE)
        return true;
    const struct prof__heap_region *g = &h->region[i];
    return g->big ? g->marked : prof__bit(g->marks, (chunk - g->start) / PROF__UNIT);
}

static size_t judge(struct flood *f, uint8_t with)
{
    size_t left = 0;

    for (size_t i = 0; i < f->t->n; i++) {
        struct prof__target *t = &f->t->target[i];

        if (!(t->state & PROF__TARGET_WALKED) || t->state & PROF__TARGET_REACHED)
            continue;
        if (is_reached(f->h, &t->block))
            t->state |= with;
        else
            left++;
    }
    return left;
}

/* Memory that may be no chunk at all: what only that leads to is in doubt. */
static void flood_from_uncertain(struct flood *f)
{
    struct prof__area area = { .root = PROF__ROOT_MAPPED, .who = UINT32_MAX };

    f->area = &area;
    for (size_t i = 0; i < f->h->n; i++) {
        struct prof__heap_region *g = &f->h->region[i];

        if (g->big && !g->certain && !g->marked)
            prof__flood_mark(f, g->start + PROF__CHUNK_HEADER);
    }
    prof__flood_run(f);
}

/* --- all ------------------------------------------------------------------------------------- */

static int allocate(struct flood *f, struct prof__arena *a)
{
    uint32_t n = PROF_MAX(f->h->n_windows, 1u);

    f->pending = prof__arena_array(a, n, sizeof(*f->pending));
    f->line = prof__arena_array(a, n, sizeof(*f->line));
    f->in_line = prof__arena_array(a, n, sizeof(*f->in_line));
    f->window = prof__arena_alloc(a, PROF__WINDOW + PAGE);
    if (!f->pending || !f->line || !f->in_line || !f->window)
        return -ENOMEM;
    if (!f->o->paths)
        return 0;
    f->entries = prof__arena_array(a, n, sizeof(*f->entries));
    f->entry = prof__arena_array(a, ENTRIES, sizeof(*f->entry));
    return f->entries && f->entry ? 0 : -ENOMEM;
}

int prof__flood(struct prof__heap *h, struct prof__targets *t, const struct prof__plan *plan,
                struct prof__sweep *s, struct prof__arena *a, struct prof__pass_count *count,
                const struct prof__ways *o, bool explain)
{
    static const struct prof__ways none;
    struct flood f = { .h = h, .t = t, .s = s, .count = count, .o = o ? o : &none };
    int e = allocate(&f, a);

    if (e < 0)
        return e;
    for (size_t i = 0; i < t->n; i++)
        if (t->target[i].state & PROF__TARGET_WALKED)
            t->target[i].state = PROF__TARGET_WALKED;
    for (enum prof__root root = 0; root < PROF__ROOTS && f.error == 0; root++) {
        prof__flood_from_roots(&f, plan, root);
        if (f.o->paths)
            prof__flood_run(&f);
    }
    prof__flood_from_garbled(&f);
    if (f.error == 0)
        prof__flood_run(&f);
    if (f.error == 0)
        prof__flood_from_new(&f, plan);
    if (f.error == 0)
        prof__flood_run(&f);
    if (f.error == 0 && judge(&f, PROF__TARGET_REACHED) > 0 && explain) {
        flood_from_uncertain(&f);
        if (f.error == 0 && judge(&f, PROF__TARGET_DOUBTFUL) > 0)
            prof__flood_leftovers(&f, plan->image, a);
    }
    return f.error;
}
