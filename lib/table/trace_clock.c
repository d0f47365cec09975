/*
 * trace_clock.c - the two clocks, and going from one to the other.
 */
#include "table/trace_clock.h"

_Atomic bool prof__trace_by_ticks;

void prof__trace_clock_begin(void)
{
    atomic_store_explicit(&prof__trace_by_ticks, prof__ticks_steady(), memory_order_relaxed);
}

uint64_t prof__trace_time_by_clock(void)
{
    return (uint64_t)prof__monotonic_ns();
}

/* Of some tries, the one in which the least came between. */
void prof__trace_moment(struct prof__trace_moment *ret)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < 8; i++) {
        uint64_t before = prof__trace_time();
        int64_t ns = prof__monotonic_ns();
        uint64_t after = prof__trace_time();

        if (after - before < least) {
            least = after - before;
            *ret = (struct prof__trace_moment) { before + least / 2, ns };
        }
    }
}

int64_t prof__trace_ns(const struct prof__trace_moment *begin, const struct prof__trace_moment *now,
                       uint64_t time)
{
    if (!prof__trace_by_ticks)
        return (int64_t)time;
    int64_t ticks = (int64_t)(now->time - begin->time);
    int64_t from_now = (int64_t)(time - now->time);

    if (ticks <= 0)
        return now->ns;
    __extension__ __int128 scaled = (__int128)from_now * (now->ns - begin->ns);
    return now->ns + (int64_t)(scaled / ticks);
}

uint64_t prof__trace_ticks(int64_t ns)
{
    enum { LOOK_NS = 50 * 1000 };
    struct prof__trace_moment begin, now;

    if (!prof__trace_by_ticks)
        return (uint64_t)ns;
    prof__trace_moment(&begin);
    do
        prof__trace_moment(&now);
    while (now.ns - begin.ns < LOOK_NS);
    return (uint64_t)((double)ns * (double)(now.time - begin.time) / (double)(now.ns - begin.ns));
}
