/*
 * real_pthread.c - looking up libc's pthread functions, and switching the doors.
 *
 * As real.c, with one more thing to mind: dlsym() may allocate when it fails, an allocator may lock
 * a mutex, and so we may be asked for the mutex functions while we look for others. Those are in
 * every libc, and a dlsym() that succeeds does not allocate; so they come first, and each is in
 * place as soon as it is found.
 */
#include "hooks/real_pthread.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "hooks/real.h"
#include "hooks/watch.h"
#include "record/collect_lock.h"
#include "record/presence.h"

static void look_up(void);
static const struct prof__pthread first;

/* What stands in a table before the look-up, and for a function that this libc does not have. */
#define FIRST(name, parameters, arguments)                                                         \
    static int first_##name parameters                                                             \
    {                                                                                              \
        if (prof__pthread_real.name == first.name)                                                 \
            look_up();                                                                             \
        return prof__pthread_real.name != first.name ? prof__pthread_real.name arguments : ENOSYS; \
    }
PROF__PTHREAD_HOOKED(FIRST)
PROF__PTHREAD_TRIES(FIRST)
#undef FIRST

/* clang-format off */
#define FIRST(name, parameters, arguments) .name = first_##name,
#define ALL_FIRST { PROF__PTHREAD_HOOKED(FIRST) PROF__PTHREAD_TRIES(FIRST) }
static const struct prof__pthread first = ALL_FIRST;
struct prof__pthread prof__pthread_door = ALL_FIRST;
struct prof__pthread prof__pthread_real = ALL_FIRST;

#define WATCH(name, parameters, arguments) .name = prof__watch_##name,
static const struct prof__pthread watch = { PROF__PTHREAD_HOOKED(WATCH) };

#define PLACE(name, parameters, arguments) { #name, offsetof(struct prof__pthread, name) },
static const struct {
    const char *name;
    size_t at;
} doors[] = { PROF__PTHREAD_HOOKED(PLACE) PROF__PTHREAD_TRIES(PLACE) };
/* clang-format on */

static _Atomic bool watching;

static void **entry(const struct prof__pthread *table, size_t i)
{
    return (void **)((char *)(uintptr_t)table + doors[i].at);
}

static bool is_found(size_t i)
{
    return *entry(&prof__pthread_real, i) != *entry(&first, i);
}

static void set_doors(void)
{
    bool on;

    /* Whoever is the last to write entries has written them all, and as `watching` is then. */
    do {
        on = atomic_load(&watching);
        for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
            void *watcher = *entry(&watch, i);

            __atomic_store_n(entry(&prof__pthread_door, i),
                             on && watcher ? watcher : *entry(&prof__pthread_real, i),
                             __ATOMIC_RELAXED);
        }
    } while (on != atomic_load(&watching));
}

static void look_up(void)
{
    int saved = errno;
    bool missing = false;

    for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
        void *f = is_found(i) ? *entry(&prof__pthread_real, i) : prof__hooks_next(doors[i].name);

        if (f)
            __atomic_store_n(entry(&prof__pthread_real, i), f, __ATOMIC_RELAXED);
        else
            missing = true;
    }
    /* Another copy of the hooks behind us is passed over, or every wait would be counted twice. */
    const struct prof__hooks_copy *other = prof__hooks_next_copy();
    for (size_t i = 0; other && i < ARRAY_LEN(doors); i++) {
        void *f = other->real(doors[i].name);

        if (f)
            __atomic_store_n(entry(&prof__pthread_real, i), f, __ATOMIC_RELAXED);
    }
    set_doors();
    if (missing)
        dlerror(); /* the program must not be told of our failures */
    errno = saved;
}

void prof__pthread_watch(bool on)
{
    if (!is_found(0))
        look_up();
    atomic_store(&watching, on);
    set_doors();
}

void *prof__pthread_real_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(doors); i++)
        if (strcmp(doors[i].name, name) == 0) {
            if (!is_found(i))
                look_up();
            return is_found(i) ? *entry(&prof__pthread_real, i) : NULL;
        }
    return NULL;
}

__attribute__((constructor)) static void start(void)
{
    static const struct prof__lock_hooks hooks = {
        .watch = prof__pthread_watch,
        .filter = &prof__lock_filter,
        .doors = &prof__pthread_door,
        .doors_size = sizeof(prof__pthread_door),
    };

    prof__lock_hooks_present(&hooks);
}
