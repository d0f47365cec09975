/*
 * outside_look.c - what lib/outside sees of a process or a core file, as lines for a test to read.
 *
 *   outside_look heap|leaks|holders|maps [--stop] PID|CORE [EXE]
 */
#include <prof/prof.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/foreign.h"
#include "outside/census.h"

static int fail(int r)
{
    fprintf(stderr, "%s\n", prof_last_error());
    return r == 0 ? 0 : 1;
}

static int by_bytes(const void *a, const void *b)
{
    const struct prof__census_row *x = a, *y = b;

    return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : 0;
}

static void print_arenas(const struct prof__glibc *g)
{
    for (size_t i = 0; i < g->n_arenas; i++) {
        const struct prof__glibc_arena *a = &g->arena[i];

        printf("arena %zu system %llu used %llu %llu cached %llu %llu fast %llu %llu free %llu "
               "%llu top %llu trim %llu\n",
               i, (unsigned long long)a->system, (unsigned long long)a->used_blocks,
               (unsigned long long)a->used_bytes, (unsigned long long)a->cached_blocks,
               (unsigned long long)a->cached_bytes, (unsigned long long)a->fast_blocks,
               (unsigned long long)a->fast_bytes, (unsigned long long)a->free_blocks,
               (unsigned long long)a->free_bytes, (unsigned long long)a->top_bytes,
               (unsigned long long)a->trim_bytes);
    }
    printf("mapped %llu %llu told %llu %llu state %d par %d caches %u safe %d\n",
           (unsigned long long)g->mapped_blocks, (unsigned long long)g->mapped_bytes,
           (unsigned long long)g->told_mapped_blocks, (unsigned long long)g->told_mapped_bytes,
           g->has_state, g->has_par, g->caches, g->safe_links);
}

static void print_rows(struct prof__census *c)
{
    if (c->n_rows) /* no array for none */
        qsort(c->row, c->n_rows, sizeof(*c->row), by_bytes);
    for (size_t i = 0; i < c->n_rows && i < 20000; i++) {
        const struct prof__census_row *r = &c->row[i];
        const char *step[64];

        printf("row %.0f %.0f size %llu%s%s type %s", r->blocks, r->bytes,
               (unsigned long long)r->size, r->indirect ? " indirect" : "",
               r->possible ? " possible" : "", prof__type_at(c->types, r->type)->name);
        size_t n = prof__census_path(c, r->holder, step, 64);
        for (size_t k = 0; k < n; k++)
            printf(" < %s", step[k]);
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    static struct prof__image image;
    static struct prof__census c;
    bool stop = argc > 2 && strcmp(argv[2], "--stop") == 0;
    char **arg = argv + 2 + stop;
    int r;

    if (argc < 3 + stop)
        return 2;
    char *end;
    long pid = strtol(arg[0], &end, 10);
    r = *end ? prof__image_core(&image, arg[0], arg[1], "")
             : prof__image_process(&image, (pid_t)pid);
    if (r < 0)
        return fail(r);
    if (stop)
        prof__image_process_stop(&image, true);
    r = prof__census_begin(&c, &image);
    if (strcmp(argv[1], "heap") == 0) {
        r = prof__census_walk(&c);
        if (r == 0)
            r = prof__census_types(&c);
    } else if (strcmp(argv[1], "leaks") == 0) {
        r = prof__census_leaks(&c, *end ? 1 : 3);
    } else if (strcmp(argv[1], "holders") == 0) {
        r = prof__census_holders(&c, *end ? 1 : 2, 16);
    } else {
        r = prof__image_refresh(&image);
        for (size_t i = 0; i < image.n_maps; i++) {
            uint64_t word;

            if (image.map[i].readable)
                prof__image_word(&image, image.map[i].start, &word);
            printf("map %llx-%llx %c%c%c %s\n", (unsigned long long)image.map[i].start,
                   (unsigned long long)image.map[i].end, image.map[i].readable ? 'r' : '-',
                   image.map[i].writable ? 'w' : '-', image.map[i].executable ? 'x' : '-',
                   image.map[i].name);
        }
    }
    if (r == 0) {
        const char *const *missing;
        size_t n = *end ? prof__image_core_missing(&image, &missing) : 0;

        for (size_t i = 0; i < n; i++)
            printf("missing %s\n", missing[i]);
        print_arenas(&c.glibc);
        printf("garbled %llu missed %zu chunks %zu absent %llu\n",
               (unsigned long long)c.heap.garbled_bytes, c.heap.missed, c.heap.chunks,
               (unsigned long long)image.absent_bytes);
        print_rows(&c);
        if (stop)
            printf("stopped_us %lld\n", (long long)prof__image_process_stopped_ns(&image) / 1000);
    } else {
        fail(r);
    }
    prof__census_end(&c);
    prof__image_close(&image);
    return r < 0;
}
