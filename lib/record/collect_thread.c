/*
 * collect_thread.c - threadcreate, and what a new thread gets from its creator.
 *
 * The stack of whoever makes a thread is counted, every one. A thread is only made to run something
 * of ours first when there is a reason: its creator has labels, which it inherits, or a CPU profile
 * is under way, for which it needs a timer from its first instruction on. Context: normal.
 */
#include "record/collect_thread.h"

#include "base/slot.h"
#include "base/thread.h"
#include "record/collect_cpu.h"
#include "record/collect_trace.h"
#include "table/labels.h"
#include "table/rows.h"
#include "table/stack_table.h"
#include "table/trace_ring.h"
#include "unwind/stack.h"

PROF_APART static void record(const struct prof__thread *t, const void *return_address)
{
    uintptr_t pcs[PROF__STACK_MAX];
    size_t n = prof__stack_here(return_address, pcs, PROF__STACK_MAX);
    uint32_t ref = prof__rows_get(PROF__TABLE_THREADCREATE,
                                  prof__stack_table_add(PROF__STORE_KEPT, pcs, n), t->labels, 0);

    if (ref)
        prof__row_add(prof__rows_at(ref), 0, 1);
}

void prof__thread_created(const void *return_address)
{
    struct prof__thread *t = &prof__self;

    if (!prof__stack_room() || !prof__enter(t))
        return;
    record(t, return_address);
    prof__leave(t);
}

bool prof__thread_wants_start(struct prof__thread_heritage *ret)
{
    const struct prof__thread *t = &prof__self;

    if (t->busy)
        return false;
    ret->labels = t->labels;
    ret->number = prof__tracing() ? prof__trace_thread_created() : 0;
    return ret->labels || ret->number || atomic_load(&prof__cpu_watching);
}

void prof__thread_started(struct prof__thread_heritage from, uintptr_t function)
{
    if (prof__tracing())
        prof__trace_thread_started(from.number, function);
    prof__labels_inherit(from.labels);
    prof__cpu_thread_started();
    struct prof__slot *s = prof__slot_mine_if_any();
    if (s)
        atomic_store_explicit(&s->function, function, memory_order_relaxed);
}
