/*
 * guest.c - the states of such a thread, and its sleep.
 *
 * Starting and ending are done with the lock held; the thread itself goes from ENDING to LEAVING,
 * from where there is no way back, and to GONE. It has closed all that it had before, which may
 * take long where a file system does not answer: so who starts it waits for no file, and who gives
 * up waiting for its end has it begin anew.
 */
#include "capture/guest.h"

#include <errno.h>
#include <prof/prof.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "base/wait.h"

enum { SECOND_NS = 1000000000, STOP_MS = 2000 };
enum { GONE, RUNNING, ENDING, LEAVING };

void prof__guest_wake(struct prof__guest *g)
{
    int saved = errno;

    atomic_fetch_add(&g->turn, 1);
    prof__word_wake(&g->turn);
    errno = saved;
}

uint32_t prof__guest_turn(struct prof__guest *g)
{
    return atomic_load(&g->turn);
}

void prof__guest_wait(struct prof__guest *g, uint32_t turn, int64_t until_ns)
{
    prof__word_wait(&g->turn, turn, until_ns);
}

/* --- the thread ------------------------------------------------------------------------------- */

bool prof__guest_is_ending(struct prof__guest *g)
{
    return atomic_load(&g->state) != RUNNING;
}

bool prof__guest_is_gone(struct prof__guest *g)
{
    return atomic_load(&g->state) == GONE;
}

bool prof__guest_has_left(struct prof__guest *g)
{
    uint32_t state = atomic_load(&g->state);

    return state == LEAVING || state == GONE;
}

static void *run(void *guest)
{
    struct prof__guest *g = guest;
    uint32_t ending;

    do {
        g->run();
        ending = ENDING;
    } while (!atomic_compare_exchange_strong(&g->state, &ending, LEAVING));
    if (g->gone) /* before another one can be there, whose affair it would be */
        g->gone();
    atomic_store(&g->state, GONE);
    prof__word_wake(&g->state);
    return NULL;
}

/* --- starting and ending, with the lock held -------------------------------------------------- */

static int start_thread(struct prof__guest *g)
{
    struct prof_helper helper = PROF_HELPER_INIT;
    uint32_t ending = ENDING;

    if (atomic_load(&g->state) == RUNNING ||
        atomic_compare_exchange_strong(&g->state, &ending, RUNNING))
        return 0;
    while (atomic_load(&g->state) == LEAVING) /* it has nothing more to do but to say so */
        prof__word_wait(&g->state, LEAVING, prof__monotonic_ns() + SECOND_NS);
    helper.name = g->name;
    helper.stack_bytes = g->stack_bytes;
    helper.run = run;
    helper.arg = g;
    helper.detached = true;
    atomic_store(&g->state, RUNNING);
    int error = prof_helper_start(&helper, NULL);
    if (error < 0)
        atomic_store(&g->state, GONE);
    return error;
}

/* False: it is late. It will end by itself. */
static bool end_thread(struct prof__guest *g, int timeout_ms)
{
    int64_t until_ns = prof__monotonic_ns() + timeout_ms * (int64_t)1000000;
    uint32_t running = RUNNING, now;

    if (atomic_compare_exchange_strong(&g->state, &running, ENDING))
        prof__guest_wake(g);
    while ((now = atomic_load(&g->state)) != GONE && prof__monotonic_ns() < until_ns)
        prof__word_wait(&g->state, now, until_ns);
    return now == GONE;
}

int prof__guest_leave(struct prof__guest *g, int timeout_ms)
{
    uint64_t mask = prof__lock_masked(&g->lock);
    uint32_t ending = ENDING;
    int r = 0;

    if (g->users && !end_thread(g, timeout_ms) &&
        atomic_compare_exchange_strong(&g->state, &ending, RUNNING))
        r = -ETIMEDOUT;
    g->away = r == 0;
    prof__unlock_masked(&g->lock, mask);
    return r;
}

int prof__guest_come_back(struct prof__guest *g)
{
    uint64_t mask = prof__lock_masked(&g->lock);
    int r;

    g->away = false;
    r = g->users ? start_thread(g) : 0;
    prof__unlock_masked(&g->lock, mask);
    return r;
}

int prof__guest_start(struct prof__guest *g)
{
    bool entered = prof__enter(&prof__self);
    uint64_t mask = prof__lock_masked(&g->lock);
    int r = g->away ? 0 : start_thread(g); /* else it is started by who comes back */

    if (r == 0)
        g->users++;
    prof__unlock_masked(&g->lock, mask);
    if (entered)
        prof__leave(&prof__self);
    return r;
}

int prof__guest_stop(struct prof__guest *g)
{
    bool entered = prof__enter(&prof__self);
    uint64_t mask = prof__lock_masked(&g->lock);
    int r = g->users ? 0 : -EALREADY;

    if (g->users && --g->users == 0)
        end_thread(g, STOP_MS);
    prof__unlock_masked(&g->lock, mask);
    if (entered)
        prof__leave(&prof__self);
    return r;
}

void prof__guest_in_child(struct prof__guest *g)
{
    prof__lock_reset(&g->lock);
    g->users = 0;
    g->away = false;
    atomic_store_explicit(&g->state, GONE, memory_order_relaxed);
}
