/*
 * cpu_samples.c - what happens in SIGPROF's handler, and the rows that it adds to.
 */
#include "record/cpu_samples.h"

#include <errno.h>

#include "arch/registers.h"
#include "arch/thread.h"
#include "base/slot.h"
#include "base/thread.h"
#include "base/thread_start.h"
#include "record/collect_cpu.h"
#include "table/rows.h"
#include "table/stack_table.h"
#include "table/trace_ring.h"
#include "unwind/stack.h"

/*
 * What a sample is added to is emptied before a session begins: no window is open, so nobody reads
 * it. But a signal may come late, to a thread that held it off or was stopped. So those who add are
 * counted; while there is one it is not emptied, and while it is being emptied none is added.
 */
static _Atomic uint32_t adding;
#define EMPTYING ((uint32_t)1 << 31)
static bool never_emptied; /* a parent's windows may be open in this child */

/* Of the samples that have no stack, as nothing thread-local can be had to walk it with. */
static _Atomic uint32_t foreign_row;

/* --- the handler ----------------------------------------------------------------------------- */

/* May samples be added? In any case until end_adding(). Nothing here is thread-local. */
static inline bool begin_adding(void)
{
    /* Acquire: what was emptied is seen empty. */
    return !(atomic_fetch_add_explicit(&adding, 1, memory_order_acquire) & EMPTYING);
}

static inline void end_adding(void)
{
    /* Release: done with it, for who empties. */
    atomic_fetch_sub_explicit(&adding, 1, memory_order_release);
}

/* `mine`: of the calling thread, now; else of another's time. */
static void add_sample(uintptr_t *pcs, size_t n, uint32_t labels, int64_t samples, bool mine)
{
    if (begin_adding()) {
        prof__stack_id stack = prof__stack_table_add(PROF__STORE_CPU, pcs, n);
        uint32_t ref = prof__rows_get(PROF__TABLE_CPU, stack, labels, 0);

        if (ref)
            prof__row_add(prof__rows_at(ref), 0, (uint64_t)samples);
        if (PROF_UNLIKELY(atomic_load_explicit(&prof__trace_wants, memory_order_acquire) &
                          PROF__TRACE_SAMPLES) &&
            mine)
            prof__trace_write(PROF__TRACE_CPU, 0, prof__trace_time(), 0,
                              (uint64_t)samples * prof__cpu_period_ns(), stack);
    }
    end_adding();
}

PROF_APART static void walk(const struct prof__thread *t, const void *ucontext, int64_t samples)
{
    uintptr_t pcs[PROF__STACK_MAX];
    size_t n = prof__stack_interrupted(ucontext, pcs, PROF__STACK_MAX);

    add_sample(pcs, n, t->labels, samples, true);
}

static void sample(void *ucontext, int64_t samples)
{
    uintptr_t at_work = PROF__PC_PROFILER, no_stack = PROF__PC_NO_STACK;
    struct prof__thread *t = &prof__self;
    uintptr_t before = t->busy;

    if (before == PROF__HIDDEN || samples == 0)
        return;
    /* What it interrupted may be the profiler, whose own frames are nobody's business; unless a
     * longjmp() has left it long ago (thread.h). */
    uintptr_t sp = prof__context_sp(ucontext);
    if (before && (sp < before || !prof__entry_is_history(t, sp))) {
        add_sample(&at_work, 1, t->labels, samples, true);
        return;
    }
    t->busy = (uintptr_t)__builtin_frame_address(0);
    atomic_signal_fence(memory_order_seq_cst);
    if (prof__stack_room())
        walk(t, ucontext, samples);
    else
        add_sample(&no_stack, 1, t->labels, samples, true);
    atomic_signal_fence(memory_order_seq_cst);
    t->busy = 0;
}

/* Without anything thread-local. */
static void count_foreign(int64_t samples)
{
    if (begin_adding()) {
        uint32_t ref = atomic_load_explicit(&foreign_row, memory_order_relaxed);

        if (ref)
            prof__row_add(prof__rows_at(ref), 0, (uint64_t)samples);
    }
    end_adding();
}

/* Not inlined, or where errno is might be asked too early. */
__attribute__((noinline)) static void handle(const siginfo_t *info, void *ucontext)
{
    int saved = errno;

    if (prof__cpu_timer_is_ours(info))
        sample(ucontext, prof__cpu_timer_claim(info));
    if (errno != saved) /* a thread made by raw clone() may share it with another */
        errno = saved;
}

void prof__cpu_samples_on_signal(int signal, siginfo_t *info, void *ucontext)
{
    (void)signal;
    if (prof__thread_is_libcs())
        handle(info, ucontext);
    else if (prof__cpu_timer_is_ours(info))
        count_foreign(prof__cpu_timer_claim(info));
}

/* --- time without a stack -------------------------------------------------------------------- */

void prof__cpu_samples_add(enum prof__cpu_why why, uintptr_t function, uint32_t labels,
                           int64_t periods)
{
    uintptr_t frame[] = {
        [PROF__CPU_BLOCKED] = PROF__PC_BLOCKED,
        [PROF__CPU_NO_TIMER] = PROF__PC_NO_TIMER,
        [PROF__CPU_ENDED] = PROF__PC_ENDED,
        [PROF__CPU_UNSEEN] = PROF__PC_UNSEEN,
    };
    uintptr_t pcs[2] = { frame[why], function };

    if (why == PROF__CPU_ENDED && function) {
        pcs[0] = function;
        pcs[1] = frame[why];
    }
    add_sample(pcs, function ? 2 : 1, labels, periods, false);
}

void prof__cpu_samples_charge(enum prof__cpu_why why, pid_t tid, int64_t periods)
{
    const struct prof__slot *s = tid ? prof__slot_of(tid) : NULL;
    uintptr_t function = s ? atomic_load_explicit(&s->function, memory_order_relaxed) : 0;

    if (!function && tid)
        function = prof__thread_start_of(tid);
    prof__cpu_samples_add(why, function,
                          s ? atomic_load_explicit(&s->labels, memory_order_relaxed) : 0, periods);
}

/* --- sessions -------------------------------------------------------------------------------- */

static void empty(void)
{
    uint32_t none = 0;

    if (never_emptied || !atomic_compare_exchange_strong_explicit(
                             &adding, &none, EMPTYING, memory_order_acquire, memory_order_relaxed))
        return;
    prof__rows_empty_cpu();
    prof__stack_table_empty(PROF__STORE_CPU);
    atomic_store_explicit(&foreign_row, 0, memory_order_relaxed);
    /* Release: to who adds next. Some may have come meanwhile, and added nothing. */
    atomic_fetch_sub_explicit(&adding, EMPTYING, memory_order_release);
}

void prof__cpu_samples_begin(void)
{
    uintptr_t foreign = PROF__PC_FOREIGN;

    empty();
    atomic_store_explicit(
        &foreign_row,
        prof__rows_get(PROF__TABLE_CPU, prof__stack_table_add(PROF__STORE_CPU, &foreign, 1), 0, 0),
        memory_order_relaxed);
}

void prof__cpu_samples_forked(bool windows)
{
    never_emptied |= windows;
    atomic_store_explicit(&adding, 0, memory_order_relaxed); /* theirs that are no more */
}
