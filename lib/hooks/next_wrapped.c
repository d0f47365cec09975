/*
 * next_wrapped.c - what comes after the hooks, when the static linker put them in by --wrap.
 *
 * A static program has no order of libraries to come second in, and glibc's malloc.o defines
 * malloc beside what the rest of libc needs of it, so no other object may define it. With
 * --wrap=malloc the linker takes every "malloc" that an object wants for __wrap_malloc, which is
 * ours, those of libc.a's objects included; and __real_malloc for libc's. What libc.a calls by
 * another name, such as its own locks, stays unseen.
 */
#include <string.h>

#include "hooks/hook_alone.h"
#include "hooks/real.h"
#include "hooks/real_io.h"
#include "hooks/real_pthread.h"
#include "hooks/redirect.h"

/* clang-format off */
/* All are here, whichever the program calls, so a program has some objects of libc more. */
#define REAL(name)                                  extern void real_##name(void) __asm__("__real_" #name);
#define REAL_PTHREAD(name, parameters, arguments)   REAL(name)
#define REAL_IO(result, name, ...)                  REAL(name)
#define PLAIN_PTHREAD(name, parameters, arguments)  extern void real_##name(void) __asm__(#name);
PROF__REAL_DOORS(REAL)
PROF__IO_DOORS(REAL_IO)
PROF__PTHREAD_HOOKED(REAL_PTHREAD)
PROF__ALONE_HOOKED(REAL_PTHREAD)
PROF__PTHREAD_TRIES(PLAIN_PTHREAD)

#define PLACE(name)                                 { #name, real_##name },
#define PLACE_IO(result, name, ...)                 PLACE(name)
#define PLACE_PTHREAD(name, parameters, arguments)  PLACE(name)
static const struct {
    const char *name;
    void (*function)(void);
} next[] = {
    PROF__REAL_DOORS(PLACE)
    PROF__IO_DOORS(PLACE_IO)
    PROF__PTHREAD_HOOKED(PLACE_PTHREAD)
    PROF__ALONE_HOOKED(PLACE_PTHREAD)
    PROF__PTHREAD_TRIES(PLACE_PTHREAD)
};
/* clang-format on */

void *prof__hooks_next(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(next); i++)
        if (strcmp(next[i].name, name) == 0)
            return (void *)(uintptr_t)next[i].function;
    return NULL;
}

/* --- what is there for libraries only --------------------------------------------------------- */

void prof__redirect_start(void)
{
}

void prof__redirect_after_unload(void)
{
}

const char *prof__redirect_name_of(const void *function, char *buf, size_t size)
{
    *buf = '\0';
    return buf;
}
