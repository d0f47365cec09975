/*
 * record.c - two rings, the one of minutes made from the one of seconds as time goes.
 *
 * A ring has a place more than it tells of, which is the one that may be written to right now.
 */
#include "capture/record.h"

/* A minute has sixty points, each within half a second of its time: what comes later is of the
 * next.
 */
enum { MINUTE_MS = 60000 - 500, LAST_MS = MINUTE_MS - 1000 };

/* States, of which the highest counts. A total counts as it is at the end. */
static bool is_state(unsigned var)
{
    return var == PROF__VAR_RSS || var == PROF__VAR_SWAP || var == PROF__VAR_CGROUP ||
           var == PROF__VAR_THREADS || var == PROF__VAR_HEAP;
}

void prof__record_init(struct prof__record *r)
{
    r->seconds.slot = r->slots;
    r->seconds.cap = PROF_VARS_SECONDS_MAX + 1;
    r->minutes.slot = r->slots + r->seconds.cap;
    r->minutes.cap = PROF_VARS_MINUTES_MAX + 1;
}

static void add(struct prof__record_ring *ring, const uint64_t value[PROF__VARS])
{
    uint64_t n = atomic_load_explicit(&ring->written, memory_order_relaxed);
    struct prof__record_slot *slot = &ring->slot[n % ring->cap];

    /* Release: who sees one of these sees how much was complete before; pairs with copy(). */
    for (unsigned i = 0; i < PROF__VARS; i++)
        atomic_store_explicit(&slot->value[i], value[i], memory_order_release);
    /* Release: the point is complete for who sees the number. */
    atomic_store_explicit(&ring->written, n + 1, memory_order_release);
}

static void add_to_minute(struct prof__record *r, const uint64_t value[PROF__VARS])
{
    for (unsigned i = 0; i < PROF__VARS; i++) {
        bool known = r->minute_from_ms && r->minute[i] != PROF_VARS_MISSING;

        if (value[i] != PROF_VARS_MISSING && (!known || !is_state(i) || value[i] > r->minute[i]))
            r->minute[i] = value[i];
        else if (!r->minute_from_ms)
            r->minute[i] = PROF_VARS_MISSING;
    }
    if (!r->minute_from_ms)
        r->minute_from_ms = (int64_t)value[PROF__VAR_TIME_MS];
}

void prof__record_add(struct prof__record *r, const uint64_t value[PROF__VARS])
{
    int64_t now_ms = (int64_t)value[PROF__VAR_TIME_MS];

    /* A pause that took the rest of the minute: what was noted in it stands by itself. */
    if (r->minute_from_ms && now_ms - r->minute_from_ms >= MINUTE_MS) {
        add(&r->minutes, r->minute);
        r->minute_from_ms = 0;
    }
    add(&r->seconds, value);
    add_to_minute(r, value);
    if (now_ms - r->minute_from_ms >= LAST_MS) {
        add(&r->minutes, r->minute);
        r->minute_from_ms = 0;
    }
}

static void copy(const struct prof__record_ring *ring, uint64_t n, uint64_t ret[PROF__VARS])
{
    const struct prof__record_slot *slot = &ring->slot[n % ring->cap];

    for (unsigned i = 0; i < PROF__VARS; i++)
        /* Acquire: how far the writer is, is looked at after this. */
        ret[i] = atomic_load_explicit(&slot->value[i], memory_order_acquire);
}

static size_t read_ring(const struct prof__record_ring *ring, size_t cap,
                        uint64_t (*ret_value)[PROF__VARS])
{
    /* Acquire: all points up to this one. */
    uint64_t end = atomic_load_explicit(&ring->written, memory_order_acquire);
    uint64_t kept = PROF_MIN(PROF_MIN(end, (uint64_t)ring->cap - 1), cap), n = 0, from = end - kept;

    for (uint64_t i = from; i < end; i++)
        copy(ring, i, ret_value[n++]);
    uint64_t now = atomic_load_explicit(&ring->written, memory_order_relaxed);
    uint64_t safe = now >= ring->cap ? now - ring->cap + 1 : 0; /* the first that is */
    uint64_t gone = safe > from ? PROF_MIN(safe - from, n) : 0;
    for (uint64_t i = 0; gone && i + gone < n; i++)
        for (unsigned v = 0; v < PROF__VARS; v++)
            ret_value[i][v] = ret_value[i + gone][v];
    return n - gone;
}

size_t prof__record_read(const struct prof__record *r, int series, size_t cap,
                         uint64_t (*ret_value)[PROF__VARS])
{
    return read_ring(series == PROF_VARS_MINUTE ? &r->minutes : &r->seconds, cap, ret_value);
}
