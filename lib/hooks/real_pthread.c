/*
 * real_pthread.c - the doors of pthread functions (door_table.h).
 */
#include "hooks/real_pthread.h"

#include <errno.h>

#include "hooks/door_table.h"
#include "hooks/real_io.h"
#include "hooks/watch.h"
#include "record/collect_lock.h"

static struct prof__door_table table;
static const struct prof__pthread first;

#define FIRST(name, parameters, arguments)                                                         \
    static int first_##name parameters                                                             \
    {                                                                                              \
        if (prof__pthread_real.name == first.name)                                                 \
            prof__doors_look_up(&table);                                                           \
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

#define NAME(name, parameters, arguments) #name,
static const char *const names[] = { PROF__PTHREAD_HOOKED(NAME) PROF__PTHREAD_TRIES(NAME) };
/* clang-format on */
static_assert(ARRAY_LEN(names) * sizeof(void *) == sizeof(struct prof__pthread), "one for each");

static struct prof__door_table table = {
    .door = (void **)&prof__pthread_door,
    .real = (void **)&prof__pthread_real,
    .first = (void *const *)&first,
    .watch = (void *const *)&watch,
    .name = names,
    .n = ARRAY_LEN(names),
};

static void pthread_watch(bool on)
{
    prof__doors_watch(&table, on);
}

void *prof__pthread_real_of(const char *name)
{
    return prof__doors_real_of(&table, name);
}

__attribute__((constructor)) static void start(void)
{
    static const struct prof__lock_hooks hooks = {
        .watch = pthread_watch,
        .watch_io = prof__io_watch,
        .filter = &prof__lock_filter,
        .doors = { { (uintptr_t)&prof__pthread_door, sizeof(prof__pthread_door) },
                   { (uintptr_t)&prof__io_door, sizeof(prof__io_door) } },
    };

    prof__lock_hooks_present(&hooks);
}
