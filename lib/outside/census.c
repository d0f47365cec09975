/*
 * census.c - one walk, each chunk looked at once; then, if asked for, one flood.
 */
#include "outside/census.h"

#include <errno.h>
#include <prof/prof.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/path.h"
#include "outside/threads.h"
#include "scan/flood.h"
#include "scan/words.h"

enum {
    PAGE = PROF__IMAGE_PAGE,
    WINDOW = 64 * 1024,
    ROWS_MAX = 1 << 20,
    SIZES_EXACT = 64 * 1024, /* larger blocks' sizes are rounded down to classes */
    SAMPLES = 40000,
    PATHS = 1 << 18,
    LEAKS_MAX = 1 << 22,
    INTERVAL_NS = 300 * 1000 * 1000,
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

static int count_row(struct prof__census *c, struct prof__census_row key, double blocks,
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

static void clear_rows(struct prof__census *c)
{
    c->n_rows = 0;
    if (c->slot)
        memset(c->slot, 0, c->n_slots * sizeof(*c->slot));
}

static uint64_t size_class(uint64_t size)
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
    static const struct {
        const char *part, *name;
    } known[] = {
        { "libjemalloc", "jemalloc" },     { "libtcmalloc", "tcmalloc" },
        { "libmimalloc", "mimalloc" },     { "libsnmalloc", "snmalloc" },
        { "libhoard", "Hoard" },           { "librpmalloc", "rpmalloc" },
        { "libasan", "AddressSanitizer" }, { "libtsan", "ThreadSanitizer" },
        { "ld-musl-", "musl's malloc" },   { "libc.musl-", "musl's malloc" },
        { "libscudo", "scudo" },
    };

    for (size_t i = 0; i < image->n_maps; i++)
        for (size_t k = 0; k < ARRAY_LEN(known); k++)
            if (image->map[i].name[0] == '/' && strncmp(prof__base_name(image->map[i].name),
                                                        known[k].part, strlen(known[k].part)) == 0)
                return known[k].name;
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
                               "no heap of glibc's malloc was found: the program has none, or "
                               "another allocator linked in (jemalloc, tcmalloc, mimalloc, musl), "
                               "which cannot be walked from outside; started with libprof "
                               "(profrun) its samples tell the same");
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

static int out_of_memory(int r)
{
    return r == -ENOMEM ? prof_set_last_error(r, "out of memory") : r;
}

static int walk(struct prof__census *c)
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
    clear_rows(c);
    return out_of_memory(walk(c));
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
    PROF__EACH_POINTER(&c->heap.ranges, word, n, {
        uint64_t block;

        if (at + 3 <= n && (block = prof__words_string(&word[at], &request)) != 0)
            note_storage(c, block, request, 0);
        if (at + 3 <= n && (block = prof__words_vector(&word[at], &request)) != 0)
            note_storage(c, block, request, 1);
    });
}

static int find_storage(struct prof__census *c)
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

/* Each chunk in use. */
static int each_used(struct prof__census *c, struct window *w,
                     int (*each)(struct prof__census *c, uint32_t type,
                                 const struct prof__chunk *chunk, void *arg),
                     void *arg)
{
    int r = 0;

    for (uint32_t i = 0; i < c->heap.n && r == 0; i++) {
        struct prof__chunk chunk = { 0 };

        while (r == 0 && prof__chunk_next(&c->heap.region[i], &chunk))
            if (chunk.used)
                r = each(c, type_of(c, w, i, chunk.start, chunk.end), &chunk, arg);
    }
    return r;
}

static struct window *new_window(struct prof__census *c)
{
    struct window *w = prof__arena_alloc(&c->pass_arena, sizeof(*w));

    if (w)
        w->c = c;
    return w;
}

static int count_chunk(struct prof__census *c, uint32_t type, const struct prof__chunk *chunk,
                       void *arg)
{
    uint64_t size = chunk->end - chunk->start;

    (void)arg;
    return count_row(c, (struct prof__census_row) { .type = type, .size = size_class(size) }, 1,
                     (double)size);
}

int prof__census_types(struct prof__census *c)
{
    struct window *w = new_window(c);
    int r = w ? find_storage(c) : -ENOMEM;

    return out_of_memory(r < 0 ? r : each_used(c, w, count_chunk, NULL));
}

/* --- holders --------------------------------------------------------------------------------- */

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
    struct window *w;
    struct sampling s = { 0 };
    int r = walk(c);

    if (r < 0)
        return r;
    w = new_window(c);
    s.interval = s.left = PROF_MAX((double)used_bytes(c) / SAMPLES, 1);
    c->sampled_bytes = s.interval;
    r = w ? find_storage(c) : -ENOMEM;
    if (r == 0)
        r = each_used(c, w, sample_chunk, &s);
    c->image->given = s.block;
    c->image->n_given = s.n;
    return r;
}

static uint32_t row_of_block(void *arg, uint64_t block, uint64_t end)
{
    struct prof__census *c = arg;
    uint64_t chunk = block - PROF__CHUNK_HEADER;
    uint32_t region = prof__ranges_find(&c->heap.ranges, chunk);

    return region == PROF__NO_RANGE ? 0 : type_of(c, NULL, region, chunk, end);
}

/* One look: the path of each target into `path`. */
static int look_at_holders(struct prof__census *c, uint32_t **path)
{
    struct prof__pass_count count = { 0 };
    int r = walk(c);

    if (r == 0)
        r = find_storage(c);
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
            r = prof__pace_sleep(&c->pace, INTERVAL_NS);
        if (r == 0)
            r = look_at_holders(c, &path);
        for (size_t i = 0; i < c->targets.n && r == 0 && first; i++)
            first[i] = prof__paths_common(&c->paths, first[i], path[i]);
        if (!first)
            first = path;
        c->passes = pass + 1;
    }
    clear_rows(c);
    for (size_t i = 0; i < c->targets.n && r == 0; i++) {
        const struct prof__target *t = &c->targets.target[i];

        if (!(t->state & PROF__TARGET_WALKED) && t->block.objects)
            continue; /* freed meanwhile */
        r = count_row(c,
                      (struct prof__census_row) {
                          .type = t->block.row,
                          .size = size_class(t->block.size + 8),
                          .holder = first[i],
                      },
                      (double)t->block.objects / (1 << 16), (double)t->block.bytes);
    }
    return out_of_memory(r);
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

/* --- leaks ----------------------------------------------------------------------------------- */

struct leaked {
    uint64_t start, end;
    uint32_t type;
    bool held, possible; /* by another leaked one; only because of what could not be read */
};

struct leaks {
    struct leaked *chunk; /* by rising address */
    size_t n, room;
    bool overflow;
};

static bool is_reached(const struct prof__heap_region *g, const struct prof__chunk *c)
{
    return g->big ? g->marked : prof__bit(g->marks, (c->start - g->start) / PROF__UNIT);
}

/* Chunks in use that the flood has not come to. */
static int gather_unreached(struct prof__census *c, struct leaks *l)
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
                    l->overflow = true;
                    return 0;
                }
                l->chunk = more;
                l->room = room;
            }
            l->chunk[l->n++] = (struct leaked) { .start = chunk.start, .end = chunk.end };
        }
    }
    return 0;
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
    int r = find_storage(c);

    for (size_t i = 0; i < l->n && r == 0; i++) {
        struct leaked *one = &l->chunk[i];
        struct holding h = { l, one };
        uint32_t region = prof__ranges_find(&c->heap.ranges, one->start);

        if (region == PROF__NO_RANGE)
            continue;
        one->type = type_of(c, NULL, region, one->start, one->end);
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

        *ret = count_row(c,
                         (struct prof__census_row) { .type = one->type,
                                                     .size = size_class(size),
                                                     .indirect = one->held,
                                                     .possible = possible },
                         1, (double)size);
    }
}

int prof__census_leaks(struct prof__census *c, int passes)
{
    struct leaks all = { 0 };
    int r = 0;

    for (int pass = 0; pass < passes && r == 0; pass++) {
        struct prof__pass_count count = { 0 };
        struct leaks now = { 0 };

        if (pass > 0)
            r = prof__pace_sleep(&c->pace, INTERVAL_NS);
        if (r == 0)
            r = walk(c);
        if (r == 0)
            r = prof__flood(&c->heap, &c->targets, &c->plan, &c->sweep, &c->pass_arena, &count,
                            NULL, false);
        if (r == 0)
            r = gather_unreached(c, &now);
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
    clear_rows(c);
    count_leaks(c, &all, &r);
    free(all.chunk);
    return out_of_memory(r);
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
            r = count_row(now, key, -blocks, -bytes);
    }
    return out_of_memory(r);
}
