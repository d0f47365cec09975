/*
 * early.c - malloc where nothing is ready yet: an IFUNC resolver, preinit_array, constructors, a
 * dlsym() that fails, and after main has returned.
 *
 * Prints what it saw; that must be the same with and without libprof (ways.py).
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* From early_lib.c: what its constructor, which runs before all others, has seen. */
extern int early_lib_ok;

static int resolver_ok, preinit_ok, constructor_ok, dlsym_ok;
static char *from_resolver; /* allocated by the earliest, freed by main */

/* A block of each kind, written to, resized and given back; all aligned and kept. */
static int exercise(size_t size)
{
    char *blocks[64], *zeroed = calloc(3, size), *grown = malloc(size);
    int ok = zeroed && grown;

    for (size_t i = 0; ok && i < 3 * size; i++)
        ok = zeroed[i] == 0;
    memset(grown, 7, size);
    grown = realloc(grown, 3 * size);
    for (size_t i = 0; ok && i < size; i++)
        ok = grown[i] == 7;
    for (size_t i = 0; i < 64; i++) {
        blocks[i] = malloc(size + i);
        ok = ok && blocks[i] && (uintptr_t)blocks[i] % 16 == 0;
        memset(blocks[i], (int)i, size + i);
    }
    for (size_t i = 0; i < 64; i++) {
        for (size_t j = 0; j < size + i; j++)
            ok = ok && blocks[i][j] == (char)i;
        free(blocks[i]);
    }
    free(zeroed);
    free(grown);
    free(NULL);
    return ok;
}

static int chosen(void)
{
    return 42;
}

__attribute__((used)) static int (*resolve(void))(void)
{
    from_resolver = malloc(100);
    if (from_resolver) {
        from_resolver[99] = 'x';
        free(realloc(calloc(10, 10), 5000));
        resolver_ok = 1;
    }
    return chosen;
}

int by_ifunc(void) __attribute__((ifunc("resolve")));

static void preinit(void)
{
    preinit_ok = exercise(1000);
}
__attribute__((section(".preinit_array"), used)) static void (*preinit_entry)(void) = preinit;

__attribute__((constructor(101))) static void constructor(void)
{
    constructor_ok = exercise(65536);
    for (int i = 0; i < 100; i++) {
        dlsym_ok += dlsym(RTLD_DEFAULT, "there_is_no_such_function") == NULL;
        dlsym_ok += dlerror() != NULL;
        dlsym_ok += dlopen("libthere_is_none.so", RTLD_NOW) == NULL;
    }
}

static void at_exit(void)
{
    printf("> at exit %d\n", exercise(2000));
}

__attribute__((destructor)) static void destructor(void)
{
    bool ok = exercise(300);
    puts(ok ? "> destructor 1" : "> destructor 0");
}

int main(void)
{
    dlerror();
    dlsym(RTLD_DEFAULT, "there_is_no_such_function_either");
    free(realloc(malloc(100), 100000));
    printf("> error pending: %d %d\n", dlerror() != NULL, dlerror() != NULL);
    printf("> resolver %d, ifunc %d, kept %c\n", resolver_ok, by_ifunc(), from_resolver[99]);
    from_resolver = realloc(from_resolver, 100000);
    printf("> moved %c\n", from_resolver[99]);
    free(from_resolver);
    printf("> preinit %d constructor %d dlsym %d library %d\n", preinit_ok, constructor_ok,
           dlsym_ok, early_lib_ok);
    atexit(at_exit);
    CHECK(resolver_ok && preinit_ok && constructor_ok && early_lib_ok, "all worked");
    CHECK_INT(dlsym_ok, 300, "failing look-ups");
    return check_report();
}
