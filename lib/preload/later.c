/*
 * later.c - something that a thread of ours does later.
 */
#include "preload/later.h"

#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/wait.h"
#include "preload/preload.h"

#define DONE_NS INT64_C(1000000000)

enum { NONE, SLEEPS, IS_TO_RUN, RUNS, IS_TO_LEAVE, AWAY };

static struct prof__later *_Atomic all; /* that have ever been wanted */

static void wake(struct prof__later *l)
{
    prof__word_wake(&l->state);
}

static void set(struct prof__later *l, uint32_t state)
{
    atomic_store(&l->state, state);
    wake(l);
}

static bool turn(struct prof__later *l, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(&l->state, &from, to);
}

/* Until that is not the state any more, or the time is over. */
static void wait(struct prof__later *l, uint32_t state, int64_t end_ns)
{
    if (end_ns > prof__monotonic_ns())
        prof__word_wait(&l->state, state, end_ns);
}

static void *sleep_and_run(void *arg)
{
    struct prof__later *l = arg;

    for (;;) {
        if (prof__monotonic_ns() < l->at_ns)
            wait(l, SLEEPS, l->at_ns);
        if (turn(l, IS_TO_LEAVE, AWAY)) {
            wake(l);
            return NULL;
        }
        if (!turn(l, IS_TO_RUN, RUNS) &&
            (prof__monotonic_ns() < l->at_ns || !turn(l, SLEEPS, RUNS)))
            continue;
        int64_t again_ns = l->run();
        if (again_ns < 0) {
            set(l, NONE);
            return NULL;
        }
        l->at_ns = prof__monotonic_ns() + again_ns;
        turn(l, RUNS, SLEEPS); /* unless it is to leave */
    }
}

static int start(struct prof__later *l)
{
    struct prof_helper helper = PROF_HELPER_INIT;

    helper.name = l->name;
    helper.stack_bytes = PROF__PRELOAD_STACK;
    helper.run = sleep_and_run;
    helper.arg = l;
    helper.detached = true;
    atomic_store(&l->state, SLEEPS);
    int r = prof_helper_start(&helper, NULL);
    if (r < 0)
        set(l, NONE);
    return r;
}

int prof__later(struct prof__later *l, int64_t wait_ns)
{
    struct prof__later *known = atomic_load(&all);

    while (known && known != l)
        known = known->next;
    if (!known) {
        l->next = atomic_load(&all);
        while (!atomic_compare_exchange_strong(&all, &l->next, l))
            ;
    }
    /* One that is done has only to say so; whoever does not come to that is at it still. */
    int64_t end = prof__monotonic_ns() + DONE_NS;
    while (atomic_load(&l->state) == RUNS && prof__monotonic_ns() < end)
        wait(l, RUNS, end);
    if (atomic_load(&l->state) != NONE)
        return 0;
    l->at_ns = prof__monotonic_ns() + wait_ns;
    return start(l);
}

bool prof__later_now(struct prof__later *l)
{
    if (!turn(l, SLEEPS, IS_TO_RUN))
        return false;
    wake(l);
    return true;
}

/* --- making room ------------------------------------------------------------------------------ */

static int leave(int timeout_ms)
{
    int64_t end = prof__monotonic_ns() + timeout_ms * (int64_t)1000000;
    int r = 0;

    for (struct prof__later *l = atomic_load(&all); l; l = l->next) {
        if (!turn(l, SLEEPS, IS_TO_LEAVE) && !turn(l, RUNS, IS_TO_LEAVE))
            continue;
        wake(l);
        while (atomic_load(&l->state) == IS_TO_LEAVE && prof__monotonic_ns() < end)
            wait(l, IS_TO_LEAVE, end);
        if (turn(l, IS_TO_LEAVE, SLEEPS))
            r = -ETIMEDOUT;
    }
    return r;
}

static int come_back(void)
{
    int r = 0;

    for (struct prof__later *l = atomic_load(&all); l; l = l->next)
        if (atomic_load(&l->state) == AWAY && r == 0)
            r = start(l);
    return r;
}

static void in_child(void)
{
    for (struct prof__later *l = atomic_load(&all); l; l = l->next)
        atomic_store(&l->state, NONE);
}

/* Before those who want something of it in a child. */
__attribute__((constructor(101))) static void set_up(void)
{
    prof_helper_can_leave(leave, come_back);
    pthread_atfork(NULL, NULL, in_child);
}
