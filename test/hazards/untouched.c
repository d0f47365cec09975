/*
 * untouched.c - a program that allocates nothing has an empty heap profile.
 *
 * Guards: what libprof has libc do for it at its own start, before any mark of the program's can be
 * set, is in no profile, and is nothing that a checker would take for a fault of the program's:
 * memcheck.py runs this, too.
 *
 * Every block is to be recorded from the first on: LIBPROF_HEAP_RATE=1.
 */
#include <dlfcn.h>
#include <prof/prof.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* Arguments: how many of one block are seen; 0 where another malloc runs in all places, valgrind's.
 */
int main(int argc, char **argv)
{
    const char *error = dlerror();
    int64_t before = prof_profile_count(prof_lookup("allocs"));
    void *volatile block = malloc(100);
    int64_t after = prof_profile_count(prof_lookup("allocs"));

    CHECK(!error, "libprof's errors are its own: %s", error ? error : "");
    CHECK_INT(before, 0, "rows before the program has allocated");
    CHECK_INT(after, argc > 1 ? atoi(argv[1]) : 1, "rows when it has");
    free(block);
    return check_report();
}
