/*
 * fuzz_core.c - a core file: whatever is in it, it is read to an end, what is told adds up, and
 * nothing outside is touched.
 *
 * No file of this machine is read beside it: its files are looked for below a folder that is not
 * there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "image/foreign.h"
#include "outside/census.h"
#include "outside/prepared.h"
#include "outside/report.h"

enum { SIZE_MAX_FED = 1 << 20 };

/* Rows are of what is in use, and no more than was walked. */
static void check_rows(struct prof__census *c)
{
    double bytes = 0;

    for (size_t i = 0; i < c->n_rows; i++) {
        FUZZ_PROMISE(c->row[i].blocks > 0 && c->row[i].bytes >= 32);
        FUZZ_PROMISE(c->row[i].type < prof__types_count(c->types));
        bytes += c->row[i].bytes;
    }
    FUZZ_PROMISE(bytes <= (double)c->heap.bytes + (64 << 20));
}

static void look(struct prof__image *image)
{
    static struct prof__census c;
    struct prof__arena a = { 0 };
    struct prof__report report;

    if (prof__census_begin(&c, image) == 0 && prof__census_walk(&c) == 0 &&
        prof__census_types(&c) == 0) {
        check_rows(&c);
        FUZZ_PROMISE(prof__census_report(&c, "heap", &a, &report) == 0);
        if (prof__census_leaks(&c, 1) == 0)
            check_rows(&c);
        prof__census_holders(&c, 1, 8);
    }
    image->given = NULL;
    image->n_given = 0;
    prof__census_end(&c);
    prof__arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct prof__image image;
    struct prof__prepared prepared;
    struct prof__arena own = { 0 };
    char path[32];
    int fd = size <= SIZE_MAX_FED ? memfd_create("core", MFD_CLOEXEC) : -1;

    if (fd < 0)
        return 0;
    FUZZ_PROMISE(write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (prof__image_core(&image, path, NULL, "/nowhere") == 0) {
        if (prof__image_refresh(&image) == 0) {
            prof__prepared_find(&image, &prepared);
            if (prof__prepared_own(&image, &prepared, &own) == 0)
                look(&image);
        }
        prof__image_close(&image);
    }
    prof__arena_free(&own);
    close(fd);
    return 0;
}
