/*
 * hook_pthread.c - everything in libc that waits for another thread: the names.
 *
 * Each is one jump, to libc's function while the block and mutex rates are 0 and no trace is on,
 * and to the one that watches else (real_pthread.c). What neither waits nor wakes is not replaced:
 * the tries and spin locks.
 *
 * What cannot be seen: libc's own locks inside stdio, malloc and the loader, since libc does not
 * call itself through the symbol table; for the same reason, the waiting for the mutex at the end
 * of pthread_cond_wait(), which counts as part of that wait. And futexes that a program or a
 * language runtime uses by itself; see prof_block_record().
 *
 * Context: hook. Points of cancellation stay ones, and no other call becomes one.
 */
#include "hooks/real_pthread.h"

#define HOOK(name, parameters, arguments)            \
    PROF_SHARED PROF_NO_SANITIZE int name parameters \
    {                                                \
        return prof__pthread_door.name arguments;    \
    }
PROF__PTHREAD_HOOKED(HOOK)
