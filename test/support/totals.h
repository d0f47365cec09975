/*
 * totals.h - what libprof has counted so far, for a test program that may run without it.
 *
 * The API is looked up at run time, so the same program runs plain, linked and preloaded. Read from
 * the text form, whose first line has the totals; nothing here allocates.
 */
#ifndef TEST_TOTALS_H
#define TEST_TOTALS_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <prof/prof.h>

struct totals {
    long long inuse_objects, inuse_bytes, alloc_objects, alloc_bytes;
};

/* The text of the heap profile, cut off at this size. */
static char totals_text[4 << 20];
static size_t totals_size;

static int totals_sink(void *arg, const void *data, size_t size)
{
    size_t room = sizeof(totals_text) - 1 - totals_size;
    size_t n = size < room ? size : room;

    (void)arg;
    memcpy(totals_text + totals_size, data, n);
    totals_size += n;
    totals_text[totals_size] = '\0';
    return 0;
}

/* A function of libprof, or NULL when it is not in this process. */
static inline void *totals_api(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

/* Read the heap profile into totals_text. 0, or a negative errno. */
static inline int totals_read(void)
{
    static struct prof_profile *(*lookup)(const char *);
    static int (*write_profile)(struct prof_profile *, const struct prof_write_options *,
                                prof_sink_fn *, void *);
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;

    if (!lookup) {
        *(void **)&lookup = totals_api("prof_lookup");
        *(void **)&write_profile = totals_api("prof_profile_write");
    }
    options.debug = 1;
    options.no_symbols = 1;
    totals_size = 0;
    return write_profile(lookup("heap"), &options, totals_sink, NULL);
}

/* At rate 1 these are exact. All -1 when they cannot be read. */
static inline struct totals totals_now(void)
{
    struct totals t = { -1, -1, -1, -1 };

    if (totals_read() < 0)
        return t;
    char *line = strstr(totals_text, "heap profile: ");
    if (!line || sscanf(line, "heap profile: %lld: %lld [%lld: %lld]", &t.inuse_objects,
                        &t.inuse_bytes, &t.alloc_objects, &t.alloc_bytes) != 4)
        t = (struct totals) { -1, -1, -1, -1 };
    return t;
}

#endif
