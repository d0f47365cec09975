/*
 * door_table.c - looking up libc's functions, and switching the doors.
 *
 * As real.c, with one more thing to mind: dlsym() may allocate when it fails, an allocator may lock
 * a mutex or write, and so we may be asked for a function while we look for others. Those are in
 * every libc, and a dlsym() that succeeds does not allocate; so they come first in their tables,
 * and each is in place as soon as it is found.
 */
#include "hooks/door_table.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "hooks/real.h"
#include "record/presence.h"

static bool is_found(const struct prof__door_table *t, size_t i)
{
    return t->real[i] != t->first[i];
}

static void set_doors(struct prof__door_table *t)
{
    bool on;

    /* Whoever is the last to write entries has written them all, and as `watching` is then. */
    do {
        on = atomic_load(&t->watching);
        for (size_t i = 0; i < t->n; i++)
            __atomic_store_n(&t->door[i], on && t->watch[i] ? t->watch[i] : t->real[i],
                             __ATOMIC_RELAXED);
    } while (on != atomic_load(&t->watching));
}

void prof__doors_look_up(struct prof__door_table *t)
{
    int saved = errno;
    bool missing = false;

    for (size_t i = 0; i < t->n; i++) {
        void *f = is_found(t, i) ? t->real[i] : prof__hooks_next(t->name[i]);

        if (f)
            __atomic_store_n(&t->real[i], f, __ATOMIC_RELAXED);
        else
            missing = true;
    }
    /* Another copy of the hooks behind us is passed over, or all would be counted twice. */
    const struct prof__hooks_copy *other = prof__hooks_next_copy();
    for (size_t i = 0; other && i < t->n; i++) {
        void *f = other->real(t->name[i]);

        if (f)
            __atomic_store_n(&t->real[i], f, __ATOMIC_RELAXED);
    }
    set_doors(t);
    if (missing)
        dlerror(); /* the program must not be told of our failures */
    errno = saved;
}

void prof__doors_watch(struct prof__door_table *t, bool on)
{
    if (!is_found(t, 0))
        prof__doors_look_up(t);
    atomic_store(&t->watching, on);
    set_doors(t);
}

void *prof__doors_real_of(struct prof__door_table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->name[i], name) == 0) {
            if (!is_found(t, i))
                prof__doors_look_up(t);
            return is_found(t, i) ? t->real[i] : NULL;
        }
    return NULL;
}
