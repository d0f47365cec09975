/*
 * mappings.c - pieces in order of address, in chunks of an array.
 *
 *   order[k] -> chunk -> up to 64 pieces, each below those of order[k + 1]
 *
 * Found by halving twice, kept in order by moving what follows within a chunk: some hundred
 * nanoseconds however many there are, a fraction of the system call that it goes with. The kernel
 * lets a process have 65,530 mappings, unless told otherwise, and there is room for as many. Chunks
 * lie in pages of libprof's own, not among its variables: they have addresses of the program's
 * memory, and a scan would take them for its roots.
 *
 * A piece carries the number of the change that made it. Who unmaps notes the count before the
 * system call, and afterwards takes out only what is older: another thread may have been given the
 * address meanwhile. A mapping counts as one object, which goes with the last of its first piece.
 *
 * The lock. A fork does not take it: an allocator has handlers of its own, which wait for threads
 * that may be in here. So in a child it may be held by a thread that is not there, and the pieces
 * be half changed; they are given up then, by the fork handler of collect_map.c, or, in a child of
 * _Fork(), by the first who waits in vain and finds that it is in a copy of the memory: a page that
 * the kernel wipes on a fork says so, which a child that shares the memory, as of vfork(), is not
 * misled by. Holders mask signals, so a handler never finds its own thread in here.
 */
#include "table/mappings.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/signals.h"

enum {
    CHUNK = 64,
    CHUNKS = 2048, /* each is half full at least, or its neighbours are full */
    GROUP = 32,    /* chunks mapped at a time */
    PAGE = 4096,
    WAIT_NS = 1000 * 1000,
    COPIED = 256, /* pieces at a time */
};

struct piece {
    uintptr_t start, end;
    uint64_t made;
    uint32_t row;
    bool first; /* of its mapping */
};

struct chunk {
    struct piece piece[CHUNK];
    uint32_t n;
    uint16_t next_free; /* + 1 */
};

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_MAPPINGS);
static _Atomic(_Atomic uint32_t *) mark; /* not 0: whoever had the lock is of this memory */
static _Atomic uint64_t changes, missed;
/* With the lock: */
static struct chunk *group[CHUNKS / GROUP];
static uint16_t order[CHUNKS];
static size_t n_order, n_made, n_pieces;
static uint16_t free_chunk; /* + 1 */
static bool is_mark_made;

/* --- the lock --------------------------------------------------------------------------------- */

static void give_up(void)
{
    atomic_fetch_add_explicit(&missed, n_pieces, memory_order_relaxed);
    n_order = n_pieces = 0;
    free_chunk = 0;
    n_made = 0; /* the groups stay */
    prof__lock_reset(&lock);
}

/* 0: it was wiped. Where there is no such page nobody but the handler knows. */
static uint32_t mark_it(void)
{
    _Atomic uint32_t *m = atomic_load(&mark);

    return m ? atomic_exchange(m, 1) : 1;
}

bool prof__mappings_fork_child(void)
{
    mark_it();
    if (atomic_load(&lock.state) == 0)
        return false;
    give_up();
    return true;
}

/* In a child that no handler has run in: the first to notice gives it up. */
static bool is_copy(void)
{
    if (mark_it())
        return false;
    give_up();
    return true;
}

/* With the lock. */
static PROF_COLD void make_mark(void)
{
    void *page = prof__pages_map(PAGE);

    is_mark_made = true;
    if (!page || madvise(page, PAGE, MADV_WIPEONFORK) < 0) /* Linux 4.14 */
        return;
    *(uint32_t *)page = 1;
    atomic_store(&mark, page);
}

static bool take(uint64_t *ret_mask)
{
    *ret_mask = prof__signals_block();
    if (PROF_LIKELY(prof__trylock(&lock)) ||
        prof__lock_until(&lock, prof__monotonic_ns() + WAIT_NS) ||
        (is_copy() && prof__trylock(&lock))) {
        if (PROF_UNLIKELY(!is_mark_made))
            make_mark();
        else
            mark_it(); /* a copy that was made while nobody had the lock */
        return true;
    }
    prof__signals_restore(*ret_mask);
    atomic_fetch_add_explicit(&missed, 1, memory_order_relaxed);
    return false;
}

static void give(uint64_t mask)
{
    prof__unlock_masked(&lock, mask);
}

uint64_t prof__mappings_missed(void)
{
    return atomic_load_explicit(&missed, memory_order_relaxed);
}

uint64_t prof__mappings_now(void)
{
    return atomic_fetch_add(&changes, 1) + 1;
}

/* --- chunks ----------------------------------------------------------------------------------- */

static struct chunk *chunk_at(size_t i)
{
    return &group[i / GROUP][i % GROUP];
}

static struct chunk *chunk_of(size_t k)
{
    return chunk_at(order[k]);
}

/* An empty one as the k-th. NULL: there is no more. */
static struct chunk *chunk_make(size_t k)
{
    size_t i = n_made;

    if (free_chunk) {
        i = free_chunk - 1u;
        free_chunk = chunk_at(i)->next_free;
    } else if (i == CHUNKS) {
        return NULL;
    } else {
        if (!group[i / GROUP])
            group[i / GROUP] = prof__pages_map(GROUP * sizeof(struct chunk));
        if (!group[i / GROUP])
            return NULL;
        n_made++;
    }
    memmove(&order[k + 1], &order[k], (n_order - k) * sizeof(*order));
    order[k] = (uint16_t)i;
    n_order++;
    chunk_at(i)->n = 0;
    return chunk_at(i);
}

static void chunk_drop(size_t k)
{
    chunk_of(k)->next_free = free_chunk;
    free_chunk = (uint16_t)(order[k] + 1u);
    n_order--;
    memmove(&order[k], &order[k + 1], (n_order - k) * sizeof(*order));
}

/* The i-th piece of the k-th chunk; k is n_order where there is none. */
struct place {
    size_t k, i;
};

static bool is_piece(struct place at)
{
    return at.k < n_order;
}

static struct piece *piece_at(struct place at)
{
    return &chunk_of(at.k)->piece[at.i];
}

static struct place next(struct place at)
{
    return at.i + 1 < chunk_of(at.k)->n ? (struct place) { at.k, at.i + 1 }
                                        : (struct place) { at.k + 1, 0 };
}

/* The first piece that ends above `address`. */
static struct place find(uintptr_t address)
{
    size_t low = 0, high = n_order;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct chunk *c = chunk_of(middle);

        if (c->piece[c->n - 1].end > address)
            high = middle;
        else
            low = middle + 1;
    }
    struct place at = { low, 0 };
    if (low == n_order)
        return at;
    const struct chunk *c = chunk_of(low);
    for (size_t end = c->n; at.i < end;) {
        size_t middle = at.i + (end - at.i) / 2;

        if (c->piece[middle].end > address)
            end = middle;
        else
            at.i = middle + 1;
    }
    return at;
}

/* The upper half of a full chunk becomes the next one. */
static bool divide(size_t k)
{
    struct chunk *upper = chunk_make(k + 1), *c = chunk_of(k);

    if (!upper)
        return false;
    memcpy(upper->piece, &c->piece[CHUNK / 2], CHUNK / 2 * sizeof(*c->piece));
    upper->n = c->n = CHUNK / 2;
    return true;
}

static bool insert(const struct piece *p)
{
    struct place at = find(p->start);

    if (!is_piece(at)) { /* above all others */
        if (n_order == 0 && !chunk_make(0))
            return false;
        at = (struct place) { n_order - 1, chunk_of(n_order - 1)->n };
    }
    if (chunk_of(at.k)->n == CHUNK) {
        if (!divide(at.k))
            return false;
        if (at.i > CHUNK / 2)
            at = (struct place) { at.k + 1, at.i - CHUNK / 2 };
    }
    struct chunk *c = chunk_of(at.k);
    memmove(&c->piece[at.i + 1], &c->piece[at.i], (c->n - at.i) * sizeof(*c->piece));
    c->piece[at.i] = *p;
    c->n++;
    n_pieces++;
    return true;
}

/* The pieces of the next chunk, too, if that leaves both half empty. */
static bool unite(size_t k)
{
    struct chunk *c = chunk_of(k);

    if (k + 1 >= n_order || c->n + chunk_of(k + 1)->n > CHUNK / 2)
        return false;
    const struct chunk *upper = chunk_of(k + 1);
    memcpy(&c->piece[c->n], upper->piece, upper->n * sizeof(*c->piece));
    c->n += upper->n;
    chunk_drop(k + 1);
    return true;
}

/* The place of what follows. */
static struct place erase(struct place at)
{
    struct chunk *c = chunk_of(at.k);

    c->n--;
    n_pieces--;
    memmove(&c->piece[at.i], &c->piece[at.i + 1], (c->n - at.i) * sizeof(*c->piece));
    if (c->n == 0) {
        chunk_drop(at.k);
        return (struct place) { at.k, 0 };
    }
    unite(at.k);
    if (at.k > 0) {
        size_t below = chunk_of(at.k - 1)->n;

        if (unite(at.k - 1))
            at = (struct place) { at.k - 1, at.i + below };
    }
    return at.i < chunk_of(at.k)->n ? at : (struct place) { at.k + 1, 0 };
}

/* --- pieces ----------------------------------------------------------------------------------- */

/* Nobody has anything of [start, end) that was made before `moment`. */
static void cut(uintptr_t start, uintptr_t end, uint64_t moment, prof__mapping_gone_fn *gone)
{
    struct place at = find(start);

    while (is_piece(at) && piece_at(at)->start < end) {
        struct piece *p = piece_at(at);
        uintptr_t from = PROF_MAX(p->start, start), to = PROF_MIN(p->end, end);
        bool head = from > p->start, tail = to < p->end;

        if (p->made > moment) {
            at = next(at);
            continue;
        }
        gone(p->row, to - from, p->first && !head && !tail);
        if (head && tail) { /* one becomes two; it is the only one here */
            struct piece rest = { to, p->end, p->made, p->row, false };

            p->end = from;
            if (!insert(&rest))
                gone(rest.row, rest.end - rest.start, false);
            return;
        }
        if (head)
            p->end = from;
        else if (tail)
            p->start = to;
        at = head || tail ? next(at) : erase(at);
    }
}

bool prof__mappings_add(uintptr_t start, size_t size, uint32_t row, prof__mapping_gone_fn *gone)
{
    uint64_t mask;

    if (size == 0 || start + size < start || !take(&mask))
        return false;
    struct piece piece = { start, start + size, prof__mappings_now(), row, true };
    cut(start, start + size, piece.made, gone);
    bool kept = insert(&piece);
    give(mask);
    return kept;
}

bool prof__mappings_remove(uintptr_t start, size_t size, uint64_t moment,
                           prof__mapping_gone_fn *gone)
{
    uint64_t mask;

    if (size == 0 || start + size < start)
        return true;
    if (!take(&mask))
        return false;
    cut(start, start + size, moment, gone);
    give(mask);
    return true;
}

/* Some of those that end above *from, which goes on behind them. How many; negative: no lock. */
static int copy_some(uintptr_t *from, struct prof__mapping *out)
{
    uint64_t mask;
    int n = 0;

    if (!take(&mask))
        return -EBUSY;
    for (struct place at = find(*from); is_piece(at) && n < COPIED; at = next(at)) {
        const struct piece *p = piece_at(at);

        out[n++] = (struct prof__mapping) { PROF_MAX(p->start, *from), p->end, p->row };
        *from = p->end;
    }
    give(mask);
    return n;
}

int prof__mappings_copy(struct prof__arena *a, struct prof__mapping **ret, size_t *ret_n)
{
    struct prof__mapping some[COPIED], *all = NULL;
    size_t n = 0, room = 0;
    uintptr_t from = 0;
    int k;

    while ((k = copy_some(&from, some)) > 0) {
        if (n + (size_t)k > room) {
            room = (n + COPIED) * 2;
            struct prof__mapping *more = prof__arena_array(a, room, sizeof(*more));
            if (!more)
                return -ENOMEM;
            if (n)
                memcpy(more, all, n * sizeof(*more));
            all = more;
        }
        memcpy(&all[n], some, (size_t)k * sizeof(*some));
        n += (size_t)k;
    }
    *ret = all;
    *ret_n = n;
    return k;
}
