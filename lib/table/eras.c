/*
 * eras.c - which object is at an address, as far as another has been there.
 *
 *   edition[version % 2] -> places by start, each with the highest limit up to it
 *
 * Read in signal handlers, perhaps of the thread that is about to write. So there are two editions:
 * the next one is written beside the one that is read, and a reader that finds another version than
 * before reads again. As long as nothing has been unloaded there is none, and it costs one load.
 *
 * Loading is not told of at once, only looked at when something is unloaded or a profile is read.
 * Until then what is at such a place is known by a few bytes of its build id, which are compared
 * with those of all that have been there. The kernel reads them: the object may be about to go.
 */
#include "table/eras.h"

#include <errno.h>

#include "base/arena.h"
#include "base/memory.h"

enum { PLACES_MAX = 4096, READ_TRIES = 8 };

struct place { /* relaxed, all of them: the version says whether they belong together */
    _Atomic uintptr_t start, limit, reach, id_at;
    _Atomic uint64_t id;
    _Atomic uint32_t era;
    _Atomic bool loaded;
};

struct edition {
    _Atomic uint32_t fresh;
    _Atomic size_t n;
    struct place place[PLACES_MAX];
};

static struct edition *edition; /* two; written before the first version */
static _Atomic uint64_t version;

#define GET(member)      atomic_load_explicit(&(member), memory_order_relaxed)
#define PUT(member, new) atomic_store_explicit(&(member), new, memory_order_relaxed)

/* --- reading ---------------------------------------------------------------------------------- */

/* The places that start at or below pc, of which the last ones may hold it. */
static size_t not_above(const struct edition *e, uintptr_t pc)
{
    size_t low = 0, high = PROF_MIN(GET(e->n), (size_t)PLACES_MAX);

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (GET(e->place[mid].start) <= pc)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool is_back(const struct place *p)
{
    uintptr_t at = GET(p->id_at);
    uint64_t id;

    return at && prof__memory_get(at, &id, sizeof(id)) == 0 && id == GET(p->id);
}

static uint32_t era_in(const struct edition *e, uintptr_t pc)
{
    size_t end = not_above(e, pc);
    bool used = false;

    for (size_t i = end; i-- > 0 && GET(e->place[i].reach) > pc;) {
        if (GET(e->place[i].limit) <= pc)
            continue;
        if (GET(e->place[i].loaded))
            return GET(e->place[i].era);
        used = true;
    }
    if (!used)
        return 0;
    for (size_t i = end; i-- > 0 && GET(e->place[i].reach) > pc;)
        if (GET(e->place[i].limit) > pc && is_back(&e->place[i]))
            return GET(e->place[i].era);
    return GET(e->fresh);
}

static PROF_COLD void mark(uintptr_t *pc)
{
    uint32_t era = 0;

    for (int tries = 0; tries < READ_TRIES; tries++) {
        /* Acquire: what was written for this version is there. */
        uint64_t v = atomic_load_explicit(&version, memory_order_acquire);

        era = era_in(&edition[v % 2], *pc);
        /* Acquire: if any of it was of the version after the next, the next is seen; pairs with the
         * fence in prof__eras_begin(). */
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&version, memory_order_relaxed) == v)
            break;
    }
    if (era)
        *pc |= (uintptr_t)era << PROF__ERA_SHIFT;
}

void prof__eras_mark(uintptr_t *pcs, size_t n)
{
    if (PROF_LIKELY(atomic_load_explicit(&version, memory_order_relaxed) == 0))
        return;
    for (size_t i = 0; i < n; i++)
        if (pcs[i] >> PROF__ERA_SHIFT == 0)
            mark(&pcs[i]);
}

/* --- writing ---------------------------------------------------------------------------------- */

static struct edition *next(void)
{
    return &edition[(atomic_load_explicit(&version, memory_order_relaxed) + 1) % 2];
}

int prof__eras_begin(uint32_t fresh)
{
    if (!edition)
        edition = prof__pages_map(2 * sizeof(*edition));
    if (!edition)
        return -ENOMEM;
    /* Release: who reads what is written now also sees that the version has moved on. */
    atomic_thread_fence(memory_order_release);
    PUT(next()->fresh, fresh);
    PUT(next()->n, 0);
    return 0;
}

void prof__eras_add(const struct prof__era_place *from)
{
    struct edition *e = next();
    size_t n = GET(e->n);

    if (n == PLACES_MAX)
        return;
    struct place *to = &e->place[n];
    uintptr_t reach = n ? GET(e->place[n - 1].reach) : 0;

    PUT(to->start, from->start);
    PUT(to->limit, from->limit);
    PUT(to->reach, PROF_MAX(reach, from->limit));
    PUT(to->id_at, from->id_at);
    PUT(to->id, from->id);
    PUT(to->era, from->era);
    PUT(to->loaded, from->loaded);
    PUT(e->n, n + 1);
}

void prof__eras_end(void)
{
    /* Release: all that was added comes with the version. */
    atomic_fetch_add_explicit(&version, 1, memory_order_release);
}
