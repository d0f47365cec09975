/*
 * memory.c - from mappings and claims to parts.
 *
 * Within a mapping pages are counted by presence(), since only that tells them apart; the kernel's
 * sum of the mapping is what holds. It is less where a page of zeros has been read and not written,
 * which the kernel does not count; and more or less by what the program does meanwhile. So pieces
 * take no more than there is, and what is left goes to what the mapping is by itself.
 *
 * In glibc's heap a page with no block in use is free as a whole, which malloc_trim() can give
 * back; what is free in other pages is a hole. A sampled block stands for as many bytes as its
 * weight says, less where pages of its own have never been written.
 */
#include "scan/memory.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/sampler.h"
#include "scan/memory_parts.h"
#include "table/mappings.h"

enum { PAGE = PROF__IMAGE_PAGE, BATCH = 1024 };

/* --- claims ----------------------------------------------------------------------------------- */

/* One list of spans, disjoint and by rising address, whole pages; and how far one has come. */
struct claims {
    struct claim {
        uint64_t start, end;
        enum prof__memory_kind kind;
        uint32_t who; /* heap: its region; data: the module; own: for this look; mapped: the row */
    } * claim;
    size_t n, at;
};

enum { CLAIMS_OWN, CLAIMS_HEAP, CLAIMS_STACKS, CLAIMS_DATA, CLAIMS_MAPPED, CLAIMS };

struct counter {
    struct prof__scan *s;
    struct prof__memory *m;
    struct claims claims[CLAIMS];
    struct prof__resident *item;
    size_t n;
    /* Of the mapping that is looked at: what no part has taken yet. */
    uint64_t resident, swapped;
    const struct prof__resident *in;
    int error;
};

static bool claims_start(struct claims *c, struct prof__arena *a, size_t room)
{
    *c = (struct claims) { .claim = prof__arena_array(a, room + 1, sizeof(*c->claim)) };
    return c->claim != NULL;
}

static void claim(struct claims *c, uint64_t start, uint64_t end, enum prof__memory_kind kind,
                  uint32_t who)
{
    c->claim[c->n++] = (struct claim) { start & ~(uint64_t)(PAGE - 1),
                                        (end + PAGE - 1) & ~(uint64_t)(PAGE - 1), kind, who };
}

static void sort_claims(struct claims *c)
{
    for (size_t gap = c->n / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < c->n; i++) {
            struct claim one = c->claim[i];
            size_t k = i;

            for (; k >= gap && c->claim[k - gap].start > one.start; k -= gap)
                c->claim[k] = c->claim[k - gap];
            c->claim[k] = one;
        }
}

/* The claim of a list on `at`, or NULL; *limit comes down to where that may change. */
static const struct claim *claim_on(struct claims *c, uint64_t at, uint64_t *limit)
{
    while (c->at < c->n && c->claim[c->at].end <= at)
        c->at++;
    if (c->at == c->n)
        return NULL;
    const struct claim *k = &c->claim[c->at];
    if (k->start > at) {
        *limit = PROF_MIN(*limit, k->start);
        return NULL;
    }
    *limit = PROF_MIN(*limit, k->end);
    return k;
}

static bool was_there(const struct prof__memory_own *before, uint64_t start)
{
    for (size_t i = 0; i < before->n; i++)
        if (before->start[i] == start)
            return true;
    return false;
}

static int make_claims(struct counter *c, const struct prof__image *now,
                       const struct prof__memory_own *before)
{
    const struct prof__plan *plan = &c->s->plan;
    struct prof__arena *a = &c->s->pass_arena;
    struct claims *own = &c->claims[CLAIMS_OWN], *heap = &c->claims[CLAIMS_HEAP];
    struct claims *stacks = &c->claims[CLAIMS_STACKS], *data = &c->claims[CLAIMS_DATA];
    struct claims *mapped = &c->claims[CLAIMS_MAPPED];
    struct prof__mapping *piece;
    size_t n;

    /* Where that is busy some are missing. */
    if (prof__mappings_copy(a, &piece, &n) == -ENOMEM || !claims_start(mapped, a, n))
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        claim(mapped, piece[i].start, piece[i].end, PROF__MEMORY_ANONYMOUS, piece[i].row);
    if (!claims_start(own, a, now->n_own) || !claims_start(heap, a, c->s->heap.n) ||
        !claims_start(stacks, a, plan->n_stacks) || !claims_start(data, a, plan->n_data))
        return -ENOMEM;
    for (size_t i = 0; i < now->n_own; i++)
        claim(own, now->own[i].start, now->own[i].end, PROF__MEMORY_OWN,
              !was_there(before, now->own[i].start));
    for (size_t i = 0; i < c->s->heap.n && c->m->walked; i++) {
        const struct prof__heap_region *g = &c->s->heap.region[i];

        claim(heap, g->head ? g->head : g->start, g->end, PROF__MEMORY_HEAP, (uint32_t)i);
    }
    for (size_t i = 0; i < plan->n_stacks; i++)
        claim(stacks, plan->stack[i].start, plan->stack[i].end,
              plan->stack[i].ended ? PROF__MEMORY_ENDED : PROF__MEMORY_STACKS, 0);
    sort_claims(stacks);
    for (size_t i = 0; i < plan->n_data; i++)
        claim(data, plan->data[i].start, plan->data[i].end, PROF__MEMORY_DATA,
              plan->data[i].module);
    return 0;
}

/* --- counting --------------------------------------------------------------------------------- */

/* Pages are told apart by this; the sums stay the kernel's. */
static void give_row(struct counter *c, enum prof__memory_kind kind, const char *name, uint32_t row,
                     uint64_t resident, uint64_t swapped, uint64_t mapped)
{
    struct prof__memory_part *p = prof__memory_part_of(c->m, kind, name, row);

    if (!p) {
        c->error = -ENOMEM;
        return;
    }
    resident = PROF_MIN(resident, c->resident);
    swapped = PROF_MIN(swapped, c->swapped);
    c->resident -= resident;
    c->swapped -= swapped;
    p->resident += resident;
    p->swapped += swapped;
    p->mapped += mapped;
    if (c->in->huge && c->in->resident)
        p->huge += (uint64_t)((double)c->in->huge * (double)resident / (double)c->in->resident);
}

static void give(struct counter *c, enum prof__memory_kind kind, const char *name,
                 uint64_t resident, uint64_t swapped, uint64_t mapped)
{
    give_row(c, kind, name, 0, resident, swapped, mapped);
}

struct presence {
    struct prof__image *image;
    uint64_t from;
    size_t n;
    uint8_t state[BATCH];
};

static uint8_t state_of(struct presence *p, uint64_t page, uint64_t end)
{
    uint64_t at = (page - p->from) / PAGE;

    if (page < p->from || at >= p->n) {
        p->from = page;
        p->n = PROF_MIN((size_t)BATCH, (end - page + PAGE - 1) / PAGE);
        p->image->ops->presence(p->image, page, p->n, p->state);
        at = 0;
    }
    return p->state[at];
}

static void count_pages(struct counter *c, uint64_t from, uint64_t to, uint64_t *ret_resident,
                        uint64_t *ret_swapped)
{
    struct presence p = { .image = &c->s->image };

    *ret_resident = *ret_swapped = 0;
    for (uint64_t page = from; page < to; page += PAGE) {
        uint8_t state = state_of(&p, page, to);

        *ret_resident += state == PROF__PAGE_PRESENT ? PAGE : 0;
        *ret_swapped += state == PROF__PAGE_SWAPPED ? PAGE : 0;
    }
}

/* Where the walk is: the chunk, and whether nobody uses it. */
struct chunk {
    const struct prof__heap_region *region;
    uint64_t start, end;
    bool free;
};

static void chunk_at(struct chunk *k, uint64_t unit)
{
    const struct prof__heap_region *g = k->region;

    k->start = g->start + unit * PROF__UNIT;
    k->end = g->start + prof__chunk_after(g, unit) * PROF__UNIT;
    k->free = !prof__bit(g->marks, unit) && prof__bit(g->marks, unit + 1);
}

/* The chunk that has `address`, or what is before the first. */
static struct chunk chunk_find(const struct prof__heap_region *g, uint64_t address)
{
    struct chunk k = { g, g->head ? g->head : g->start, g->start, false };

    if (address < g->start)
        return k;
    uint64_t unit = prof__chunk_of(g, (address - g->start) / PROF__UNIT);
    if (unit == UINT64_MAX)
        k.end = g->start + prof__chunk_after(g, 0) * PROF__UNIT;
    else
        chunk_at(&k, unit);
    return k;
}

/* Bytes of [from, to) that nobody uses; goes on with the chunks. */
static uint64_t free_bytes(struct chunk *k, uint64_t from, uint64_t to)
{
    uint64_t sum = 0;

    for (;;) {
        uint64_t low = PROF_MAX(from, k->start), high = PROF_MIN(to, k->end);

        if (k->free && low < high)
            sum += high - low;
        if (k->end >= to || k->end >= k->region->end)
            return sum;
        chunk_at(k, (k->end - k->region->start) / PROF__UNIT);
    }
}

static void count_heap(struct counter *c, const struct prof__heap_region *g, uint64_t from,
                       uint64_t to)
{
    static const char *const names[] = { "the main heap", "arenas of threads" };
    struct presence p = { .image = &c->s->image };
    struct chunk k = { 0 };
    uint64_t used[2] = { 0 }, holes[2] = { 0 }, idle[2] = { 0 };

    if (!g->big)
        k = chunk_find(g, from);
    for (uint64_t page = from; page < to; page += PAGE) {
        uint64_t unused = g->big ? 0 : free_bytes(&k, page, page + PAGE);
        uint8_t state = state_of(&p, page, to);
        unsigned i = state == PROF__PAGE_SWAPPED;

        if (page % (PAGE * BATCH) == 0 && c->error == 0)
            c->error = prof__pace_step(c->s->sweep.pace, 64 * 1024);
        if (state == PROF__PAGE_ABSENT)
            continue;
        idle[i] += unused == PAGE ? PAGE : 0;
        holes[i] += unused == PAGE ? 0 : unused;
        used[i] += PAGE - unused;
    }
    const char *name = names[g->other_arena];
    give(c, PROF__MEMORY_FREE, name, idle[0], idle[1], 0);
    give(c, PROF__MEMORY_HOLES, name, holes[0], holes[1], 0);
    give(c, PROF__MEMORY_UNTOLD, "", used[0], used[1], 0); /* for now */
    give(c, PROF__MEMORY_HEAP, "", 0, 0, to - from);
}

/* --- what a mapping is by itself -------------------------------------------------------------- */

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static bool is_shared_memory(const struct prof__image_map *m)
{
    return m->shared && (m->anonymous || starts(m->name, "/dev/zero") ||
                         starts(m->name, "/dev/shm/") || starts(m->name, "/memfd:") ||
                         starts(m->name, "/SYSV") || starts(m->name, "[anon_shmem"));
}

/* Mappings of a file lie side by side, and of an object one of them is code. */
static bool is_object(const struct counter *c, size_t i)
{
    const char *name = c->item[i].map.name;
    size_t k = i;

    while (k > 0 && c->item[k - 1].map.name == name)
        k--;
    for (; k < c->n && c->item[k].map.name == name; k++)
        if (c->item[k].map.executable)
            return true;
    return false;
}

static bool has_block(const struct counter *c, uint64_t start, uint64_t end)
{
    const struct prof__targets *t = &c->s->blocks;
    size_t low = 0, high = t->n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (t->start[middle] < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->n && t->start[low] < end;
}

static enum prof__memory_kind kind_of(const struct counter *c, size_t i, const char **ret_name)
{
    const struct prof__image_map *m = &c->item[i].map;

    *ret_name = m->name;
    if (is_shared_memory(m))
        return PROF__MEMORY_SHARED;
    if (starts(m->name, "[v"))
        return PROF__MEMORY_KERNEL;
    if (!m->anonymous)
        return is_object(c, i) ? PROF__MEMORY_CODE : PROF__MEMORY_FILES;
    if (starts(m->name, "[stack"))
        return PROF__MEMORY_STACKS;
    if (!c->m->walked && m->writable && has_block(c, m->start, m->end)) {
        *ret_name = "";
        return PROF__MEMORY_ALLOCATOR;
    }
    return PROF__MEMORY_ANONYMOUS;
}

static const char *module_path(const struct counter *c, uint32_t module)
{
    return c->s->plan.module[module].path;
}

static void count_piece(struct counter *c, const struct claim *k, uint64_t from, uint64_t to)
{
    bool whole = from == c->in->map.start && to == c->in->map.end;
    uint64_t resident = c->resident, swapped = c->swapped;
    enum prof__memory_kind kind = k->kind;
    const char *name = "";

    if (kind == PROF__MEMORY_HEAP && (resident || swapped)) {
        count_heap(c, &c->s->heap.region[k->who], from, to);
        return;
    }
    if (kind == PROF__MEMORY_DATA) {
        name = module_path(c, k->who);
        if (starts(prof__base_name(name), "libprof"))
            kind = PROF__MEMORY_OWN;
    }
    if (!whole && (resident || swapped))
        count_pages(c, from, to, &resident, &swapped);
    if (kind == PROF__MEMORY_ANONYMOUS) { /* whose blocks lie there is an allocator */
        bool is_allocator = !c->m->walked && has_block(c, from, to);

        give_row(c, is_allocator ? PROF__MEMORY_ALLOCATOR : kind, "", is_allocator ? 0 : k->who,
                 resident, swapped, to - from);
        return;
    }
    if (kind == PROF__MEMORY_OWN && k->kind == kind && k->who) {
        c->resident -= PROF_MIN(resident, c->resident);
        c->m->look_bytes += resident;
        return;
    }
    give(c, kind, kind == PROF__MEMORY_OWN ? "" : name, resident, swapped, to - from);
}

static void count_mapping(struct counter *c, size_t i)
{
    const char *name;
    enum prof__memory_kind kind = kind_of(c, i, &name);
    /* Of files and shared memory their names say more than who has mapped them. */
    int lists =
        kind == PROF__MEMORY_ANONYMOUS || kind == PROF__MEMORY_ALLOCATOR ? CLAIMS : CLAIMS_MAPPED;
    uint64_t unclaimed = 0;

    c->in = &c->item[i];
    c->resident = c->in->resident;
    c->swapped = c->in->swapped;
    if (c->in->hugetlb) {
        struct prof__memory_part *p = prof__memory_part_of(c->m, PROF__MEMORY_HUGETLB, name, 0);

        c->error = p ? 0 : -ENOMEM;
        if (p) {
            p->huge += c->in->hugetlb;
            p->mapped += c->in->map.end - c->in->map.start;
        }
        return;
    }
    for (uint64_t at = c->in->map.start; at < c->in->map.end && c->error == 0;) {
        uint64_t limit = c->in->map.end;
        const struct claim *k = NULL;

        for (int l = 0; l < lists && !k; l++)
            k = claim_on(&c->claims[l], at, &limit);
        if (k)
            count_piece(c, k, at, limit);
        else
            unclaimed += limit - at;
        at = limit;
    }
    if (c->error == 0 && (c->resident || c->swapped || (unclaimed && c->in->map.writable)))
        give(c, kind, name, c->resident, c->swapped, unclaimed);
}

/* --- what the heap profile tells -------------------------------------------------------------- */

/* Of a block's bytes, those in pages that are in memory, and in swap, as a share. */
static void share_of(struct presence *p, const struct prof__image_block *b, double ret_share[2])
{
    uint64_t end = b->address + PROF_MAX(b->size, (uint64_t)1), bytes[2] = { 0 };

    for (uint64_t at = b->address; at < end;) {
        uint64_t next = PROF_MIN((at | (PAGE - 1)) + 1, end);
        uint8_t state = state_of(p, at & ~(uint64_t)(PAGE - 1), end);

        if (state != PROF__PAGE_ABSENT)
            bytes[state == PROF__PAGE_SWAPPED] += next - at;
        at = next;
    }
    for (int i = 0; i < 2; i++)
        ret_share[i] = (double)bytes[i] / (double)(end - b->address);
}

/* Estimated bytes of all sampled blocks of malloc's that are in memory, and in swap. */
static void sum_samples(struct counter *c, uint64_t *ret_resident, uint64_t *ret_swapped)
{
    struct presence p = { .image = &c->s->image };
    double sum[2] = { 0 };

    for (size_t i = 0; i < c->s->blocks.n && c->error == 0; i++) {
        const struct prof__image_block *b = &c->s->blocks.target[i].block;
        double weight = (double)b->bytes / ((uint64_t)1 << PROF__BYTE_SHIFT), share[2];

        share_of(&p, b, share);
        sum[0] += weight * share[0];
        sum[1] += weight * share[1];
        if (i % 256 == 0)
            c->error = prof__pace_step(c->s->sweep.pace, 64 * 1024);
    }
    *ret_resident = (uint64_t)sum[0];
    *ret_swapped = (uint64_t)sum[1];
}

/* Move as much, if there is so much, from one part to another. */
static void move(struct prof__memory_part *from, struct prof__memory_part *to, uint64_t resident,
                 uint64_t swapped)
{
    resident = PROF_MIN(resident, from->resident);
    swapped = PROF_MIN(swapped, from->swapped);
    uint64_t huge = from->resident
                        ? (uint64_t)((double)from->huge * (double)resident / (double)from->resident)
                        : 0;
    from->resident -= resident;
    from->swapped -= swapped;
    from->huge -= huge;
    to->resident += resident;
    to->swapped += swapped;
    to->huge += huge;
}

/* The number of parts may grow by each call of prof__memory_part_of(), and they move then. */
static int split(struct prof__memory *m, enum prof__memory_kind from, const char *from_name,
                 enum prof__memory_kind to, const char *to_name, uint64_t resident,
                 uint64_t swapped)
{
    if (!prof__memory_part_of(m, from, from_name, 0) || !prof__memory_part_of(m, to, to_name, 0))
        return -ENOMEM;
    move(prof__memory_part_of(m, from, from_name, 0), prof__memory_part_of(m, to, to_name, 0),
         resident, swapped);
    return 0;
}

static int tell_heap(struct counter *c)
{
    enum prof__memory_kind from = c->m->walked ? PROF__MEMORY_UNTOLD : PROF__MEMORY_ALLOCATOR;
    uint64_t resident, swapped;

    sum_samples(c, &resident, &swapped);
    return c->error ? c->error : split(c->m, from, "", PROF__MEMORY_HEAP, "", resident, swapped);
}

/* --- all -------------------------------------------------------------------------------------- */

static const char *allocator_of(const struct counter *c)
{
    static const char *const known[] = { "jemalloc", "tcmalloc", "mimalloc" };

    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(known); k++)
            if (!c->item[i].map.anonymous && strstr(prof__base_name(c->item[i].map.name), known[k]))
                return known[k];
    return "";
}

static int count_all(struct counter *c, const struct prof__memory_own *before)
{
    struct prof__image now;
    int r = c->s->image.ops->look_again(&c->s->image, &now);

    if (r == 0)
        r = make_claims(c, &now, before);
    if (r == 0)
        r = prof__resident_read(&c->s->image, &c->s->pass_arena, &c->item, &c->n, &c->m->counted);
    c->error = r;
    c->m->allocator = r == 0 ? allocator_of(c) : "";
    for (size_t i = 0; i < c->n && c->error == 0; i++)
        count_mapping(c, i);
    if (c->error == 0)
        c->error = tell_heap(c);
    prof__arena_free(&now.arena);
    return c->error;
}

static void add_own(uintptr_t start, size_t size, void *arg)
{
    struct prof__memory_own *own = arg;

    (void)size;
    if (own->n < PROF__MEMORY_OWN_MAX)
        own->start[own->n++] = start;
}

void prof__memory_begin(struct prof__memory_own *ret)
{
    ret->n = 0;
    prof__pages_each(add_own, ret);
}

int prof__memory_take(struct prof__scan *s, const struct prof__memory_own *before,
                      struct prof__arena *a, struct prof__memory *ret)
{
    struct counter c = { .s = s, .m = ret };
    struct prof__named named;
    int r = prof__scan_look(s, true, &named);

    *ret = (struct prof__memory) { .arena = a };
    if (r == -ENOBUFS) {
        ret->why_not = prof__arena_strdup(a, prof_last_error());
        r = prof__scan_look(s, false, &named);
    } else if (r == 0) {
        /* Without sampled blocks the walk has only itself to prove that it is right. */
        ret->walked = s->heap.n > 0 && (!s->heap.why || s->blocks.n == 0);
        ret->why_not = ret->walked ? NULL : s->heap.why;
    }
    if (r < 0)
        return r;
    for (size_t i = 0; i < s->heap.n; i++)
        ret->arena_heaps += s->heap.region[i].other_arena;
    if (ret->why_not) /* as above */
        ret->why_not = prof__arena_strdup(a, ret->why_not);
    ret->garbled_bytes = ret->walked ? s->heap.garbled_bytes : 0;
    ret->threads = (unsigned)s->image.n_threads;
    ret->page_tables = prof__resident_page_tables();
    r = count_all(&c, before);
    ret->presence_unknown = s->image.presence_unknown;
    return r;
}
