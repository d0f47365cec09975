/*
 * census.c - one walk, each chunk looked at once, into rows. What takes a flood as well stands in
 * census_leaks.c and census_holders.c.
 */
#include "outside/census_parts.h"

#include <errno.h>
#include <prof/prof.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/path.h"
#include "scan/words.h"

enum {
    PAGE = PROF__IMAGE_PAGE,
    WINDOW = 64 * 1024,
    ROWS_MAX = 1 << 20,
    SIZES_EXACT = 64 * 1024, /* larger blocks' sizes are rounded down to classes */
};

/* --- lifetime -------------------------------------------------------------------------------- */

int prof__census_begin(struct prof__census *c, struct prof__image *image)
{
    *c = (struct prof__census) { .image = image, .pace = { .cpu_percent = 100 } };
    prof__pace_start(&c->pace);
    c->sweep = (struct prof__sweep) { .image = image, .pace = &c->pace };
    c->sweep.buf = prof__arena_alloc(&c->arena, PROF__SWEEP_BYTES);
    c->types = prof__types_new(image, &c->arena);
    return c->sweep.buf && c->types ? 0 : -ENOMEM;
}

void prof__census_end(struct prof__census *c)
{
    free(c->row);
    free(c->slot);
    prof__arena_free(&c->pass_arena);
    prof__arena_free(&c->arena);
    c->row = NULL;
    c->slot = NULL;
}

/* --- rows ------------------------------------------------------------------------------------ */

static size_t slot_of(const struct prof__census *c, const struct prof__census_row *key)
{
    uint64_t hash = prof__hash(key->size << 20 ^ key->type);
    size_t at = prof__hash_more(hash, (uint64_t)key->holder << 2 | (uint64_t)key->possible << 1 |
                                          key->indirect) &
                (c->n_slots - 1);

    for (;; at = (at + 1) & (c->n_slots - 1)) {
        const struct prof__census_row *r = c->slot[at] ? &c->row[c->slot[at] - 1] : NULL;

        if (!r || (r->type == key->type && r->size == key->size && r->holder == key->holder &&
                   r->possible == key->possible && r->indirect == key->indirect))
            return at;
    }
}

static bool grow_rows(struct prof__census *c)
{
    size_t room = c->room_rows ? c->room_rows * 2 : 1024;
    struct prof__census_row *row = realloc(c->row, room * sizeof(*row));
    uint32_t *slot = row ? calloc(room * 2, sizeof(*slot)) : NULL;

    if (row)
        c->row = row;
    if (!slot)
        return false;
    free(c->slot);
    c->slot = slot;
    c->n_slots = room * 2;
    c->room_rows = room;
    for (size_t i = 0; i < c->n_rows; i++)
        c->slot[slot_of(c, &c->row[i])] = (uint32_t)i + 1;
    return true;
}

int prof__census_count(struct prof__census *c, struct prof__census_row key, double blocks,
                       double bytes)
{
    if (c->n_rows >= ROWS_MAX)
        key.size = 0;
    if (c->n_rows == c->room_rows && !grow_rows(c))
        return -ENOMEM;
    size_t at = slot_of(c, &key);
    if (!c->slot[at]) {
        key.blocks = key.bytes = 0;
        c->row[c->n_rows] = key;
        c->slot[at] = (uint32_t)++c->n_rows;
    }
    struct prof__census_row *r = &c->row[c->slot[at] - 1];
    r->blocks += blocks;
    r->bytes += bytes;
    return 0;
}

void prof__census_clear(struct prof__census *c)
{
    c->n_rows = 0;
    if (c->slot)
        memset(c->slot, 0, c->n_slots * sizeof(*c->slot));
}

uint64_t prof__census_size_class(uint64_t size)
{
    if (size <= SIZES_EXACT)
        return size;
    unsigned shift = 61 - (unsigned)__builtin_clzll(size);
    return size >> shift << shift;
}

/* --- the walk -------------------------------------------------------------------------------- */

/* Another allocator's library, that the program uses. */
static const char *other_allocator(const struct prof__image *image)
{
    const char *name;

    for (size_t i = 0; i < image->n_maps; i++)
        if ((name = prof__image_other_allocator(image->map[i].name)))
            return name;
    return NULL;
}

static int not_walked(const struct prof__census *c)
{
    const char *other = other_allocator(c->image);

    if (other)
        return prof_set_last_error(-ENOTSUP,
                                   "the heap is %s's, which cannot be walked from outside: start "
                                   "the program with libprof (profrun) and its samples tell the "
                                   "same",
                                   other);
    if (c->image->absent_bytes)
        return prof_set_last_error(-ENOTSUP,
                                   "no heap of glibc's malloc was found: the core is cut short by "
                                   "%llu bytes, and it may have been there",
                                   (unsigned long long)c->image->absent_bytes);
    return prof_set_last_error(-ENOTSUP,
                               "no heap of glibc's malloc was found; others (jemalloc, tcmalloc, "
                               "mimalloc, musl) cannot be walked from outside: samples of libprof "
                               "(profrun) tell the same");
}

/* If the arenas' own count agrees, what looks like an mmapped chunk is one. */
static void settle_mapped(struct prof__census *c)
{
    const struct prof__glibc *g = &c->glibc;

    if (!g->has_par || g->told_mapped_blocks != g->mapped_blocks ||
        g->told_mapped_bytes != g->mapped_bytes)
        return;
    for (size_t i = 0; i < c->heap.n; i++)
        c->heap.region[i].certain = true;
}

int prof__census_error(int r)
{
    return r == -ENOMEM ? prof_set_last_error(r, "out of memory") : r;
}

int prof__census_look(struct prof__census *c)
{
    struct prof__arena *a = &c->pass_arena;
    int r;

    prof__arena_free(a);
    c->storage = NULL;
    c->heap = (struct prof__heap) { 0 };
    c->targets = (struct prof__targets) { 0 };
    if ((r = prof__image_refresh(c->image)) < 0)
        return r;
    c->hidden_regs = prof__image_hidden_regs(c->image);
    prof__types_refresh(c->types);
    if ((r = prof__targets_take(&c->targets, c->image, a, 0, UINT32_MAX, false)) < 0 ||
        (r = prof__plan_begin(&c->plan, c->image, a)) < 0 ||
        (r = prof__heap_walk(&c->heap, &c->plan, &c->targets, &c->sweep, a)) < 0 ||
        (r = prof__plan_finish(&c->plan, NULL, 0)) < 0)
        return r;
    if (c->heap.why || c->heap.n == 0)
        return not_walked(c);
    if ((r = prof__glibc_look(&c->glibc, &c->heap, &c->plan, &c->sweep, a)) < 0)
        return r;
    settle_mapped(c);
    return 0;
}

int prof__census_walk(struct prof__census *c)
{
    prof__census_clear(c);
    return prof__census_error(prof__census_look(c));
}

/* --- storage of strings and vectors ------------------------------------------------------------
 */

/* What malloc makes of a request. */
static uint64_t chunk_of_request(uint64_t request)
{
    return PROF_MAX((request + 8 + 15) & ~(uint64_t)15, (uint64_t)32);
}

static void note_storage(struct prof__census *c, uint64_t block, uint64_t request, unsigned bit)
{
    struct prof__chunk chunk;
    uint32_t region;

    if (!prof__chunk_at(&c->heap, block, &region, &chunk) || !chunk.used)
        return;
    const struct prof__heap_region *g = &c->heap.region[region];
    uint64_t size = chunk.end - chunk.start, want = chunk_of_request(request);
    /* A rest that is too small for a chunk stays with it; an mmapped one has whole pages. */
    if (size < want || size - want > (g->big ? PAGE + 16 : 16))
        return;
    uint64_t unit = g->big ? 0 : (chunk.start - g->start) / PROF__UNIT;
    prof__bit_set(c->storage[region], unit + bit);
}

static void look_for_storage(void *arg, uint64_t address, const uint64_t *word, size_t n)
{
    struct prof__census *c = arg;
    uint64_t request;

    (void)address;
    PROF__EACH_POINTER(prof__ranges_maybe, &c->heap.ranges, word, n, {
        uint64_t block;

        if (at + 3 <= n && (block = prof__words_string(&word[at], &request)) != 0)
            note_storage(c, block, request, 0);
        if (at + 3 <= n && (block = prof__words_vector(&word[at], &request)) != 0)
            note_storage(c, block, request, 1);
    });
}

int prof__census_storage(struct prof__census *c)
{
    int r = 0;

    c->storage = prof__arena_array(&c->pass_arena, c->heap.n + 1, sizeof(*c->storage));
    if (!c->storage)
        return -ENOMEM;
    for (size_t i = 0; i < c->heap.n; i++) {
        const struct prof__heap_region *g = &c->heap.region[i];
        uint64_t units = g->big ? 2 : (g->end - g->start) / PROF__UNIT;

        c->storage[i] = prof__arena_array(&c->pass_arena, units / 64 + 2, sizeof(**c->storage));
        if (!c->storage[i])
            return -ENOMEM;
    }
    for (size_t i = 0; i < c->plan.n_areas && r == 0; i++)
        r = prof__sweep(&c->sweep, c->plan.area[i].start, c->plan.area[i].end, look_for_storage, c);
    for (size_t i = 0; i < c->heap.n && r == 0; i++) {
        const struct prof__heap_region *g = &c->heap.region[i];

        r = prof__sweep(&c->sweep, g->start, g->big ? g->end & ~(uint64_t)7 : g->walk_end,
                        look_for_storage, c);
    }
    return r;
}

/* --- types ----------------------------------------------------------------------------------- */

/* A window of the image that moves along. */
struct window {
    struct prof__census *c;
    uint64_t from;
    size_t n;
    uint64_t word[WINDOW / 8];
};

/* Up to `n` words at `at`. How many there are: as many as there are in memory. */
static size_t words_at(struct window *w, uint64_t at, size_t n, const uint64_t **ret)
{
    enum { PAGES = WINDOW / PAGE };

    if (at < w->from || at + n * 8 > w->from + w->n) {
        uint8_t state[PAGES];
        size_t k = 0;

        w->from = at & ~(uint64_t)(PAGE - 1);
        w->c->image->ops->presence(w->c->image, w->from, PAGES, state);
        while (k < PAGES && state[k] == PROF__PAGE_PRESENT)
            k++;
        w->n = k ? prof__image_read(w->c->image, w->from, w->word, k * PAGE) : 0;
    }
    *ret = &w->word[(at - w->from) / 8];
    return at >= w->from + w->n ? 0 : PROF_MIN(n, (size_t)(w->from + w->n - at) / 8);
}

/* `w` where chunk after chunk is asked for, NULL for one here and there. */
static uint32_t type_of(struct prof__census *c, struct window *w, uint32_t region, uint64_t start,
                        uint64_t end)
{
    const struct prof__heap_region *g = &c->heap.region[region];
    uint64_t unit = g->big ? 0 : (start - g->start) / PROF__UNIT, size = end - start;
    uint64_t few[PROF__TYPE_WORDS];
    const uint64_t *word = few;

    size_t n = PROF_MIN((size_t)PROF__TYPE_WORDS, (size_t)(size - 8) / 8);
    if (w)
        n = words_at(w, start + PROF__CHUNK_HEADER, n, &word);
    else
        n = prof__image_read(c->image, start + PROF__CHUNK_HEADER, few, n * 8) / 8;
    uint32_t type = prof__type_by_words(c->types, word, n, size);
    if (prof__type_at(c->types, type)->of != PROF__TYPE_SIZE)
        return type;
    if (prof__bit(c->storage[region], unit))
        return prof__type_of_string(c->types);
    if (prof__bit(c->storage[region], unit + 1))
        return prof__type_of_vector(c->types);
    return type;
}

uint32_t prof__census_type_of(struct prof__census *c, uint32_t region, uint64_t start, uint64_t end)
{
    return type_of(c, NULL, region, start, end);
}

int prof__census_each_used(struct prof__census *c, prof__census_each_fn *each, void *arg)
{
    struct window *w = prof__arena_alloc(&c->pass_arena, sizeof(*w));
    int r = w ? prof__census_storage(c) : -ENOMEM;

    if (w)
        w->c = c;

    for (uint32_t i = 0; i < c->heap.n && r == 0; i++) {
        struct prof__chunk chunk = { 0 };

        while (r == 0 && prof__chunk_next(&c->heap.region[i], &chunk))
            if (chunk.used)
                r = each(c, type_of(c, w, i, chunk.start, chunk.end), &chunk, arg);
    }
    return r;
}

static int count_chunk(struct prof__census *c, uint32_t type, const struct prof__chunk *chunk,
                       void *arg)
{
    uint64_t size = chunk->end - chunk->start;

    (void)arg;
    return prof__census_count(
        c, (struct prof__census_row) { .type = type, .size = prof__census_size_class(size) }, 1,
        (double)size);
}

int prof__census_types(struct prof__census *c)
{
    return prof__census_error(prof__census_each_used(c, count_chunk, NULL));
}

/* --- differences ----------------------------------------------------------------------------- */

static int find_type(struct prof__census *c, const struct prof__type *type, uint32_t *ret)
{
    for (uint32_t i = 0; i < prof__types_count(c->types); i++) {
        const struct prof__type *t = prof__type_at(c->types, i);

        if (t->of == type->of && strcmp(t->name, type->name) == 0) {
            *ret = i;
            return 0;
        }
    }
    return prof__type_add(c->types, type, ret);
}

int prof__census_subtract(struct prof__census *now, const struct prof__census *before)
{
    int r = 0;

    for (size_t i = 0; i < before->n_rows && r == 0; i++) {
        struct prof__census_row key = before->row[i];
        double blocks = key.blocks, bytes = key.bytes;

        if (now->types != before->types)
            r = find_type(now, prof__type_at(before->types, key.type), &key.type);
        if (r == 0)
            r = prof__census_count(now, key, -blocks, -bytes);
    }
    return prof__census_error(r);
}
