/*
 * hook_fork.c - who registers fork handlers: libprof comes before them, so that its own run last
 * before a fork and first after it (base/fork.c says why). They are registered from constructors,
 * too, which may run before ours.
 *
 * Context: hook.
 */
#include "base/fork.h"
#include "hooks/real.h"

PROF_SHARED int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                                  void *object)
{
    prof__fork_take_place();
    return prof__real.__register_atfork(prepare, parent, child, object);
}
