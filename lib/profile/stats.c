/*
 * stats.c - prof_stats(): the sums of the tables, and what is missing from them, as plain numbers.
 *
 * For monitors that want a few numbers often. Nothing is copied, symbolized or locked: each table's
 * rows are added up as they are, some microseconds for a thousand rows. Every row's counters only
 * grow, so a sum never falls from one call to the next.
 */
#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "profile/builtin.h"
#include "record/collect_heap.h"
#include "record/presence.h"
#include "table/labels.h"
#include "table/lock_ledger.h"
#include "table/rows.h"
#include "unwind/stack.h"

static int add_row(uint32_t ref, const struct prof__row *row, void *arg)
{
    struct prof__values *sum = arg;

    sum->full |= atomic_load_explicit(&row->full, memory_order_relaxed);
    for (size_t i = 0; i < PROF__ROW_VALUES; i++)
        /* Relaxed: each is a number of its own; they need not be of one moment. */
        if (__builtin_add_overflow(sum->value[i],
                                   atomic_load_explicit(&row->value[i], memory_order_relaxed),
                                   &sum->value[i]))
            sum->full |= (uint8_t)(1u << i);
    return 0;
}

/* The sum of a profile's columns. A row that is being added to may be off by one event, and in use
 * is a difference: it is never shown below 0. */
static void sum_up(const struct prof_profile *p, uint64_t ret_value[PROF__VALUES_MAX])
{
    struct prof__values raw = { 0 };
    int64_t value[PROF__VALUES_MAX];

    for (unsigned i = 0; i < PROF__ROW_VALUES; i++)
        raw.value[i] = prof__rows_emptied(p->table, i);
    prof__rows_each(p->table, add_row, &raw);
    prof__values_finish(p, &raw, value);
    for (size_t i = 0; i < PROF__VALUES_MAX; i++)
        ret_value[i] = value[i] > 0 ? (uint64_t)value[i] : 0;
}

static uint64_t counted(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed); /* a number of its own */
}

int prof_stats(struct prof_stats *ret)
{
    struct prof_stats s = { .size = sizeof(s) };
    uint64_t value[PROF__VALUES_MAX];

    if (!ret || !prof__struct_size(ret->size, sizeof(ret->size)))
        return prof_set_last_error(-EINVAL, "prof_stats() takes a struct prof_stats with its size "
                                            "filled in");
    sum_up(&prof__profile_heap, value);
    s.heap_allocated_objects = value[0];
    s.heap_allocated_bytes = value[1];
    s.heap_inuse_objects = value[2];
    s.heap_inuse_bytes = value[3];
    sum_up(&prof__profile_mutex, value);
    s.mutex_contentions = value[0];
    s.mutex_wait_ns = value[1];
    sum_up(&prof__profile_block, value);
    s.block_events = value[0];
    s.block_wait_ns = value[1];
    sum_up(&prof__profile_cpu, value);
    s.cpu_samples = value[0];
    s.stacks = prof__stack_table_count();
    s.memory_bytes = prof__pages_total();
    s.lost_stacks = prof__stack_table_lost();
    s.lost_rows = prof__rows_lost();
    s.lost_live_blocks = prof__heap_lost();
    s.lost_labels = prof__labels_lost();
    s.lost_waits = prof__ledger_lost();
    s.cut_too_deep = counted(&prof__stack_stats.truncated);
    s.cut_no_info = counted(&prof__stack_stats.no_info);
    s.cut_unreadable = counted(&prof__stack_stats.unreadable);
    s.heap_watched = prof__heap_watched();
    s.heap_bypassed_objects = prof__heap_bypassed_objects();
    s.lost_little_stack = counted(&prof__stack_stats.no_room);

    size_t size = PROF_MIN(ret->size, sizeof(s)), whole = ret->size;
    memcpy(ret, &s, size);
    memset((char *)ret + size, 0, whole - size); /* a newer caller's: this version has none */
    ret->size = whole;
    return 0;
}
