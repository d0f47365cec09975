/*
 * nested.c - each block counts once, also where the allocator makes calloc() and realloc() of
 * malloc(), or malloc() with the help of other blocks, all of which the hooks see as well.
 *
 *   nested [OBJECTS BYTES]    what one malloc() of 1,000 bytes takes in all; 1 1000 if not said
 *
 * Runs under the preload, with a heap rate of 4096, and knows nothing of who is preloaded besides.
 * A hundred million bytes by each door are 24,400 samples, so 5 % are 7 standard deviations.
 */
#include <prof/prof.h>
#include <stdlib.h>

#include "check.h"
#include "totals.h"

enum { TIMES = 100000, SIZE = 1000 };

static struct prof_stats now(void)
{
    int (*stats)(struct prof_stats *) =
        (int (*)(struct prof_stats *))(uintptr_t)totals_api("prof_stats");
    struct prof_stats s = PROF_STATS_INIT;

    CHECK(stats != NULL, "libprof is here");
    if (stats)
        CHECK_INT(stats(&s), 0, "prof_stats()");
    return s;
}

static void expect(const char *what, struct prof_stats before, double each, double size)
{
    struct prof_stats after = now();
    double objects = (double)(after.heap_allocated_objects - before.heap_allocated_objects);
    double bytes = (double)(after.heap_allocated_bytes - before.heap_allocated_bytes);

    CHECK_BETWEEN(objects / TIMES / each, 0.95, 1.05, what);
    CHECK_BETWEEN(bytes / TIMES / size, 0.95, 1.05, what);
    CHECK_BETWEEN((double)after.heap_inuse_bytes, 0, (double)before.heap_inuse_bytes + 1e6, what);
}

int main(int argc, char **argv)
{
    double each = argc > 2 ? atof(argv[1]) : 1, size = argc > 2 ? atof(argv[2]) : SIZE;
    struct prof_stats before = now();
    void *volatile p;

    for (int i = 0; i < TIMES; i++) {
        p = malloc(SIZE);
        free(p);
    }
    expect("malloc", before, each, size);

    before = now();
    for (int i = 0; i < TIMES; i++) {
        p = calloc(10, SIZE / 10);
        free(p);
    }
    expect("calloc", before, 1, SIZE);

    before = now();
    for (int i = 0; i < TIMES; i++) {
        p = realloc(NULL, SIZE);
        free(p);
    }
    expect("realloc of nothing", before, 1, SIZE);

    before = now();
    p = malloc(SIZE);
    for (int i = 1; i < TIMES; i++)
        p = realloc(p, SIZE - i % 2);
    free(p);
    expect("realloc", before, 1, SIZE);
    return check_report();
}
