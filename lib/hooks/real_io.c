/*
 * real_io.c - the doors of system calls that wait (door_table.h).
 */
#include "hooks/real_io.h"

#include <errno.h>

#include "hooks/door_table.h"
#include "hooks/watch_io.h"

static struct prof__door_table table;
static const struct prof__io_table first;

/* clang-format off */
#define FIRST(result, name, parameters, arguments, ...)                                            \
    static result first_##name parameters                                                          \
    {                                                                                              \
        if (prof__io_real.name == first.name)                                                      \
            prof__doors_look_up(&table);                                                           \
        return prof__io_real.name != first.name ? prof__io_real.name arguments                     \
                                                : (result)(errno = ENOSYS, -1);                    \
    }
PROF__IO_DOORS(FIRST)
#undef FIRST

#define FIRST(result, name, ...) .name = first_##name,
#define ALL_FIRST { PROF__IO_DOORS(FIRST) }
static const struct prof__io_table first = ALL_FIRST;
struct prof__io_table prof__io_door = ALL_FIRST;
struct prof__io_table prof__io_real = ALL_FIRST;

#define WATCH(result, name, ...) .name = prof__watch_##name,
static const struct prof__io_table watch = { PROF__IO_DOORS(WATCH) };

#define NAME(result, name, ...) #name,
static const char *const names[] = { PROF__IO_DOORS(NAME) };
/* clang-format on */
static_assert(ARRAY_LEN(names) * sizeof(void *) == sizeof(struct prof__io_table), "one for each");

static struct prof__door_table table = {
    .door = (void **)&prof__io_door,
    .real = (void **)&prof__io_real,
    .first = (void *const *)&first,
    .watch = (void *const *)&watch,
    .name = names,
    .n = ARRAY_LEN(names),
};

void prof__io_watch(bool on)
{
    prof__doors_watch(&table, on);
}

void *prof__io_real_of(const char *name)
{
    return prof__doors_real_of(&table, name);
}
