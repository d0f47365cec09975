/*
 * fork.c - one set of handlers for libc, which calls those of the rooms in their order.
 *
 * libc calls who has registered first last before a fork, and first after it. That is the place to
 * have: what other handlers do, they do with the program's signals as they are and with none of our
 * locks held, and no lock of theirs is waited for under ours. With the hooks it is had however late
 * libprof's own constructors run, since they see who registers (hooks/hook_fork.c).
 */
#include "base/fork.h"

#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>

#include "base/error.h"

enum { OTHERS = 16 };

unsigned prof__fork_count;

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_FORK); /* one fork at a time */
/* Guarded by the lock: */
static uint64_t mask; /* what was blocked before */

static struct prof__fork_handlers *first; /* by rising rank; its list is changed under the lock */

static atomic_bool placed;
static struct prof__fork_handlers others[OTHERS]; /* of prof_helper_at_fork() */
static unsigned n_others;

static void prepare(void)
{
    uint64_t before = prof__signals_block();

    prof__lock(&lock);
    mask = before;
    for (struct prof__fork_handlers *h = first; h; h = h->next)
        if (h->prepare)
            h->prepare();
}

/* By falling rank; there are some ten of them. */
static void in_parent_from(const struct prof__fork_handlers *h)
{
    if (!h)
        return;
    in_parent_from(h->next);
    if (h->in_parent)
        h->in_parent();
}

static void in_child_from(const struct prof__fork_handlers *h)
{
    if (!h)
        return;
    in_child_from(h->next);
    if (h->in_child)
        h->in_child();
}

static void in_parent(void)
{
    uint64_t before = mask;

    in_parent_from(first);
    prof__unlock(&lock);
    prof__signals_restore(before);
}

static void in_child(void)
{
    uint64_t before = mask;

    prof__fork_count++;
    in_child_from(first);
    prof__unlock(&lock);
    prof__signals_restore(before);
}

void prof__fork_take_place(void)
{
    /* Relaxed: it orders nothing. This may come back here, through the hook. */
    if (!atomic_exchange_explicit(&placed, true, memory_order_relaxed))
        pthread_atfork(prepare, in_parent, in_child);
}

/* With the lock held. */
static void insert(struct prof__fork_handlers *handlers)
{
    struct prof__fork_handlers **at = &first;

    while (*at && (*at)->rank <= handlers->rank)
        at = &(*at)->next;
    handlers->next = *at;
    *at = handlers;
}

/* With the lock held, as who loads libprof late has threads beside it that fork. */
void prof__fork_register(struct prof__fork_handlers *handlers)
{
    prof__fork_take_place();
    uint64_t masked = prof__lock_masked(&lock);
    insert(handlers);
    prof__unlock_masked(&lock, masked);
}

int prof_helper_at_fork(void (*prepare_it)(void), void (*parent)(void), void (*child)(void))
{
    bool has_room;

    prof__fork_take_place();
    uint64_t masked = prof__lock_masked(&lock);
    has_room = n_others < OTHERS;
    if (has_room) {
        others[n_others] =
            (struct prof__fork_handlers) { PROF__RANK_SERVER, prepare_it, parent, child, NULL };
        insert(&others[n_others++]);
    }
    prof__unlock_masked(&lock, masked);
    return has_room
               ? 0
               : prof_set_last_error(-ENOSPC, "prof_helper_at_fork() was called %d times", OTHERS);
}
