/*
 * fork.c - a forked child must find every lock free, though the thread that held it is not there.
 *
 * Short locks are taken before the fork and released on both sides, signals blocked, as they are
 * whenever one of them is held: a handler may fork. The symbolizer's may be held for a second, and
 * no fork should wait for that: the child abandons its state instead. The tables take no lock, so
 * there is nothing to do; a child goes on from its parent's numbers, as it does with its memory. A
 * process made by raw clone() or vfork() runs no handlers and has to do with that.
 */
#include "process/fork.h"

#include <pthread.h>

#include "base/lock.h"
#include "base/slot.h"
#include "process/last_thread.h"
#include "profile/custom.h"
#include "profile/registry.h"
#include "profile/thread_stacks.h"
#include "record/collect_internal.h"
#include "symbol/modules.h"
#include "symbol/symbolize.h"

unsigned prof__fork_count;

static uint64_t mask; /* what was blocked before the locks were taken; guarded by them */

static void prepare(void)
{
    uint64_t before = prof__signals_block();

    prof__registry_fork_prepare();
    prof__custom_fork_prepare();
    mask = before;
}

static void in_parent(void)
{
    uint64_t before = mask;

    prof__custom_fork_parent();
    prof__registry_fork_parent();
    prof__signals_restore(before);
}

static void in_child(void)
{
    prof__slots_fork_child();
    prof__cpu_fork_child();
    prof__threads_fork_child();
    prof__fork_count++;
    prof__custom_fork_child();
    prof__registry_fork_child();
    prof__symbolize_fork_child();
    prof__modules_fork_child();
    prof__lock_fork_child();
    prof__last_thread_fork_child();
    prof__signals_restore(mask);
}

void prof__fork_install(void)
{
    pthread_atfork(prepare, in_parent, in_child);
}
