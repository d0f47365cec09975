/*
 * glibc.c - arenas, fastbins and the caches of threads; see glibc.h for how they are known.
 */
#include "outside/glibc.h"

#include <errno.h>
#include <string.h>

enum {
    PAGE = PROF__IMAGE_PAGE,
    BINS = 127,
    BINS_EMPTY = 48, /* of them, at least, in an arena */
    FAST_BINS = 10,
    TOP_BEFORE = 2,             /* words before the bins: top, last_remainder */
    NEXT_BEHIND = 2 * BINS + 2, /* words from the first bin: behind binmap */
    SYSTEM_BEHIND = NEXT_BEHIND + 3,
    STATE_WORDS = SYSTEM_BEHIND + 2,
    CACHE_CHUNK = 0x290,
    CACHE_BINS = 64,
    CACHE_LARGEST = 1032,
    MAPS_MAX = 65536, /* n_mmaps_max, unless mallopt() says other */
    CACHE_WORDS = CACHE_BINS * 2 / 8 + CACHE_BINS,
    LIST_MAX = 1 << 20,
    ARENAS_MAX = 4096,
    WINDOW = 64 * 1024,
};

#define HEAP_ALIGN ((uint64_t)64 << 20)

/* --- chunks ---------------------------------------------------------------------------------- */

bool prof__chunk_next(const struct prof__heap_region *g, struct prof__chunk *c)
{
    uint64_t n = (g->end - g->start) / PROF__UNIT, unit, next;

    if (g->big) {
        if (c->end)
            return false;
        *c = (struct prof__chunk) { g->start, g->end, true, false };
        return true;
    }
    if (!c->end) {
        unit = prof__bit(g->starts, 0) ? 0 : prof__chunk_after(g, 0);
    } else {
        unit = (c->end - g->start) / PROF__UNIT;
        if (unit < n && !prof__bit(g->starts, unit))
            unit = prof__chunk_after(g, unit);
    }
    if (unit >= n)
        return false;
    next = prof__chunk_after(g, unit);
    *c = (struct prof__chunk) {
        .start = g->start + unit * PROF__UNIT,
        .end = g->start + next * PROF__UNIT,
        .used = !(prof__bit(g->marks, unit + 1) && !prof__bit(g->marks, unit)),
        .top = next >= n,
    };
    if (c->top)
        c->used = false;
    return true;
}

bool prof__chunk_at(const struct prof__heap *h, uint64_t address, uint32_t *ret_region,
                    struct prof__chunk *ret)
{
    /* It may be any word at all. */
    if (address % PROF__UNIT != 0 || address < PROF__IMAGE_PAGE || address > PROF__ADDRESS_MASK)
        return false;
    uint32_t i = prof__ranges_find(&h->ranges, address - PROF__CHUNK_HEADER);
    if (i == PROF__NO_RANGE)
        return false;
    const struct prof__heap_region *g = &h->region[i];
    uint64_t unit = (address - PROF__CHUNK_HEADER - g->start) / PROF__UNIT;
    *ret_region = i;
    if (g->big) {
        *ret = (struct prof__chunk) { g->start, g->end, true, false };
        return unit == 0;
    }
    if (!prof__bit(g->starts, unit))
        return false;
    uint64_t next = prof__chunk_after(g, unit);
    *ret = (struct prof__chunk) {
        .start = g->start + unit * PROF__UNIT,
        .end = g->start + next * PROF__UNIT,
        .used = !(prof__bit(g->marks, unit + 1) && !prof__bit(g->marks, unit)),
        .top = next >= (g->end - g->start) / PROF__UNIT,
    };
    return true;
}

/* --- arenas ---------------------------------------------------------------------------------- */

struct looker {
    struct prof__glibc *g;
    struct prof__heap *h;
    struct prof__image *image;
    struct prof__arena *arena;
    uint64_t state_before_bins; /* bytes from a malloc_state to its bins */
};

static bool is_empty_bin(const uint64_t *pair, uint64_t at)
{
    return pair[0] == at - 16 && pair[1] == at - 16;
}

/* Do the words at `at` look like bins? Empty ones point to two words before themselves. */
static bool are_bins(const uint64_t *word, uint64_t at)
{
    int empty = 0;

    for (int i = 0; i < BINS; i++) {
        const uint64_t *pair = &word[2 * i];
        uint64_t self = at + (uint64_t)i * 16 - 16;

        if (is_empty_bin(pair, at + (uint64_t)i * 16))
            empty++;
        else if (pair[0] == self || pair[1] == self || pair[0] == 0 || pair[1] == 0)
            return false;
    }
    return empty >= BINS_EMPTY;
}

static bool bins_at(struct looker *l, uint64_t at)
{
    uint64_t word[2 * BINS];

    return prof__image_read(l->image, at, word, sizeof(word)) == sizeof(word) && are_bins(word, at);
}

/* Of malloc_par, from three words before mmapped_mem on: since glibc 2.35 { hp_flags, n_mmaps },
 * { n_mmaps_max, max_n_mmaps }, ..; before, { n_mmaps, n_mmaps_max }, ... */
static bool is_par(const uint64_t *word, uint64_t *ret_mapped)
{
    if (word[5] % PAGE != 0 || word[6] != CACHE_BINS || word[7] != CACHE_LARGEST)
        return false;
    if ((uint32_t)word[1] == MAPS_MAX) {
        *ret_mapped = word[0] >> 32;
        return true;
    }
    *ret_mapped = (uint32_t)word[1];
    return word[1] >> 32 == MAPS_MAX;
}

static int add_arena(struct looker *l, uint64_t at)
{
    struct prof__glibc *g = l->g;

    if (g->n_arenas == ARENAS_MAX)
        return -1;
    if (!g->arena)
        g->arena = prof__arena_array(l->arena, ARENAS_MAX, sizeof(*g->arena));
    if (!g->arena)
        return -1;
    g->arena[g->n_arenas].at = at;
    return (int)g->n_arenas++;
}

static uint64_t state_word(struct looker *l, uint64_t state, int behind)
{
    uint64_t w = 0;

    prof__image_word(l->image, state + l->state_before_bins + (uint64_t)behind * 8, &w);
    return w;
}

/* Do arenas whose malloc_state has its bins `before` bytes in form a ring that leads back to the
 * one at `first`? */
static bool is_ring(struct looker *l, uint64_t first, uint64_t before)
{
    uint64_t at = first;
    size_t n = 0;

    l->state_before_bins = before;
    do {
        if (!bins_at(l, at + before))
            return false;
        at = state_word(l, at, NEXT_BEHIND);
    } while (at != first && ++n < ARENAS_MAX);
    return at == first;
}

/* A pair of words at `pair` is an empty bin: of the main arena? */
static bool find_main(struct looker *l, uint64_t pair)
{
    static const uint64_t before[] = { 0x70, 0x68 }; /* since 2.27; 2.26 */

    for (uint64_t i = 0; i < BINS; i++)
        for (size_t k = 0; k < ARRAY_LEN(before) && bins_at(l, pair - i * 16); k++) {
            uint64_t first = pair - i * 16 - before[k], at = first;

            if (!is_ring(l, first, before[k]))
                continue;
            do {
                int added = add_arena(l, at);

                if (added < 0)
                    return false;
                l->g->arena[added].system = state_word(l, at, SYSTEM_BEHIND);
                at = state_word(l, at, NEXT_BEHIND);
            } while (at != first);
            return true;
        }
    return false;
}

/* One module's data, in pieces. */
static void search_data(struct looker *l, uint64_t start, uint64_t end)
{
    enum { PIECE = 64 * 1024 / 8, PAR_WORDS = 8 };
    static uint64_t word[PIECE];
    uint64_t done = start; /* no bins before here */

    while (start < end && (!l->g->has_state || !l->g->has_par)) {
        size_t n = prof__image_read(l->image, start, word, PROF_MIN(end - start, sizeof(word))) / 8;

        for (size_t i = 0; i + PAR_WORDS <= n; i++) {
            uint64_t at = start + i * 8, mapped;

            if (!l->g->has_state && at >= done && is_empty_bin(&word[i], at)) {
                l->g->has_state = find_main(l, at);
                done = at + BINS * 16;
            }
            if (!l->g->has_par && is_par(&word[i], &mapped)) {
                l->g->has_par = true;
                l->g->told_mapped_blocks = mapped;
                l->g->told_mapped_bytes = word[i + 3];
            }
        }
        if (start + n * 8 < end)
            n = n < PIECE ? (size_t)(((start + n * 8) | (PAGE - 1)) + 1 - start) / 8 /* a hole */
                          : n - PAR_WORDS;
        start += n * 8;
    }
}

/* Which arena a region is of: the first word of its heap_info tells. */
static uint32_t arena_of(struct looker *l, const struct prof__heap_region *r)
{
    uint64_t at = 0;

    if (r->big)
        return UINT32_MAX;
    if (r->other_arena)
        prof__image_word(l->image, r->head ? r->head : r->start & ~(HEAP_ALIGN - 1), &at);
    else
        return 0;
    for (uint32_t i = 1; i < l->g->n_arenas; i++)
        if (l->g->arena[i].at == at)
            return i;
    int i = add_arena(l, at);
    return i < 0 ? 0 : (uint32_t)i;
}

static int find_arenas(struct looker *l, const struct prof__plan *plan)
{
    struct prof__glibc *g = l->g;

    for (size_t i = 0; i < plan->n_areas; i++) {
        const struct prof__area *area = &plan->area[i];

        if (area->root == PROF__ROOT_GLOBAL)
            search_data(l, area->start, area->end);
    }
    if (!g->has_state && add_arena(l, 0) < 0)
        return -ENOMEM;
    g->arena_of = prof__arena_array(l->arena, l->h->n + 1, sizeof(*g->arena_of));
    if (!g->arena_of)
        return -ENOMEM;
    for (size_t i = 0; i < l->h->n; i++)
        g->arena_of[i] = arena_of(l, &l->h->region[i]);
    return 0;
}

/* --- what is kept at hand ----------------------------------------------------------------------
 */

/* A chunk in use, of that size (0: any), whose block begins there: make it free. */
static bool take_kept(struct looker *l, uint64_t block, uint64_t size, uint64_t *ret_size)
{
    struct prof__chunk c;
    uint32_t region;

    if (!prof__chunk_at(l->h, block, &region, &c) || l->h->region[region].big || !c.used ||
        (size && c.end - c.start != size))
        return false;
    struct prof__heap_region *r = &l->h->region[region];
    prof__bit_set(r->marks, (c.start - r->start) / PROF__UNIT + 1);
    *ret_size = c.end - c.start;
    return true;
}

static bool is_block(struct looker *l, uint64_t block)
{
    struct prof__chunk c;
    uint32_t region;

    return prof__chunk_at(l->h, block, &region, &c);
}

/* The link at `at`: as it is, or protected. */
static uint64_t link_at(struct looker *l, uint64_t at, unsigned to_block)
{
    uint64_t w, plain;

    if (!prof__image_word(l->image, at, &w))
        return 0;
    plain = w ^ at >> 12;
    if (plain == 0 || is_block(l, plain + to_block)) {
        l->g->safe_links |= w != plain;
        return plain;
    }
    return w != 0 && is_block(l, w + to_block) ? w : 0;
}

static bool is_cache(const uint64_t *word)
{
    const uint16_t *count = (const uint16_t *)word;
    const uint64_t *first = word + CACHE_BINS * sizeof(*count) / 8;

    for (int i = 0; i < CACHE_BINS; i++)
        if ((count[i] == 0) != (first[i] == 0) || first[i] % PROF__UNIT != 0)
            return false;
    return true;
}

static void empty_cache(struct looker *l, uint64_t block, struct prof__glibc_arena *arena)
{
    uint64_t word[CACHE_WORDS];
    const uint16_t *count = (const uint16_t *)word;

    if (prof__image_read(l->image, block, word, sizeof(word)) != sizeof(word) || !is_cache(word))
        return;
    l->g->caches++;
    for (int i = 0; i < CACHE_BINS; i++) {
        uint64_t at = word[CACHE_BINS * 2 / 8 + i], size;

        for (unsigned n = 0; n < count[i] && at; n++) {
            if (!take_kept(l, at, 32 + 16 * (uint64_t)i, &size))
                break;
            arena->cached_blocks++;
            arena->cached_bytes += size;
            at = link_at(l, at, 0);
        }
    }
}

static void empty_caches(struct looker *l)
{
    for (size_t i = 0; i < l->h->n; i++) {
        const struct prof__heap_region *r = &l->h->region[i];
        struct prof__chunk c = { 0 };

        if (r->big)
            continue;
        while (prof__chunk_next(r, &c))
            if (c.used && c.end - c.start == CACHE_CHUNK)
                empty_cache(l, c.start + PROF__CHUNK_HEADER, &l->g->arena[l->g->arena_of[i]]);
    }
}

static void empty_fastbins(struct looker *l)
{
    for (size_t i = 0; i < l->g->n_arenas && l->g->has_state; i++) {
        struct prof__glibc_arena *arena = &l->g->arena[i];

        if (!arena->at)
            continue;
        for (int k = 0; k < FAST_BINS; k++) {
            uint64_t chunk = state_word(l, arena->at, k - TOP_BEFORE - FAST_BINS), size;

            for (int n = 0; n < LIST_MAX && chunk; n++) {
                if (!take_kept(l, chunk + PROF__CHUNK_HEADER, 0, &size))
                    break;
                arena->fast_blocks++;
                arena->fast_bytes += size;
                chunk = link_at(l, chunk + PROF__CHUNK_HEADER, PROF__CHUNK_HEADER);
            }
        }
    }
}

/* --- totals ---------------------------------------------------------------------------------- */

/* Whole pages of a free chunk that are in memory. */
static uint64_t present_bytes(struct looker *l, uint64_t start, uint64_t end)
{
    enum { BATCH = 512 };
    uint8_t state[BATCH];
    uint64_t bytes = 0;

    start = (start + 2 * PROF__CHUNK_HEADER + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    end &= ~(uint64_t)(PAGE - 1);
    while (start < end) {
        size_t n = PROF_MIN((size_t)BATCH, (size_t)((end - start) / PAGE));

        l->image->ops->presence(l->image, start, n, state);
        for (size_t i = 0; i < n; i++)
            bytes += state[i] == PROF__PAGE_PRESENT ? PAGE : 0;
        start += n * PAGE;
    }
    return bytes;
}

static void add_region(struct looker *l, const struct prof__heap_region *r,
                       struct prof__glibc_arena *arena)
{
    struct prof__chunk c = { 0 };

    while (prof__chunk_next(r, &c)) {
        uint64_t size = c.end - c.start;

        if (c.used) {
            arena->used_blocks++;
            arena->used_bytes += size;
        } else if (c.top) {
            size = r->walk_end - PROF_MIN(c.start, r->walk_end);
            arena->top_bytes += size;
            arena->trim_bytes += present_bytes(l, c.start, r->walk_end);
        } else {
            arena->free_blocks++;
            arena->free_bytes += size;
            arena->largest_free = PROF_MAX(arena->largest_free, size);
            if (size > PAGE)
                arena->trim_bytes += present_bytes(l, c.start, c.end);
        }
    }
}

static void add_up(struct looker *l)
{
    struct prof__glibc *g = l->g;

    for (size_t i = 0; i < l->h->n; i++) {
        const struct prof__heap_region *r = &l->h->region[i];

        if (r->big) {
            g->mapped_blocks++;
            g->mapped_bytes += r->end - r->start;
        } else {
            add_region(l, r, &g->arena[g->arena_of[i]]);
        }
    }
    /* Those kept at hand were met as free. */
    for (size_t i = 0; i < g->n_arenas; i++) {
        struct prof__glibc_arena *a = &g->arena[i];

        a->free_blocks -= PROF_MIN(a->free_blocks, a->cached_blocks + a->fast_blocks);
        a->free_bytes -= PROF_MIN(a->free_bytes, a->cached_bytes + a->fast_bytes);
    }
}

int prof__glibc_look(struct prof__glibc *g, struct prof__heap *h, const struct prof__plan *plan,
                     struct prof__sweep *s, struct prof__arena *a)
{
    struct looker l = { .g = g, .h = h, .image = s->image, .arena = a };

    *g = (struct prof__glibc) { 0 };
    int r = find_arenas(&l, plan);
    if (r < 0)
        return r;
    empty_caches(&l);
    empty_fastbins(&l);
    add_up(&l);
    return 0;
}
