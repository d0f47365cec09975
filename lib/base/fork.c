/*
 * fork.c - one set of handlers for libc, which calls those of the rooms in their order.
 */
#include "base/fork.h"

#include <pthread.h>

unsigned prof__fork_count;

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_FORK); /* one fork at a time */
/* Guarded by the lock: */
static uint64_t mask; /* what was blocked before */

static struct prof__fork_handlers *first; /* by rising rank */

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

void prof__fork_register(struct prof__fork_handlers *handlers)
{
    struct prof__fork_handlers **at = &first;

    if (!first)
        pthread_atfork(prepare, in_parent, in_child);
    while (*at && (*at)->rank <= handlers->rank)
        at = &(*at)->next;
    handlers->next = *at;
    *at = handlers;
}
