/*
 * encode_fixture.h - reports made by hand, for the tests of the encoders.
 *
 * fixture_named() makes the plain ones, fixture_random() as odd ones as a seed gives. All memory is
 * the arena's; a test that runs out of it stops.
 */
#ifndef TEST_ENCODE_FIXTURE_H
#define TEST_ENCODE_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "encode/encode.h"

#define FIXTURE_TIME_NS 1700000000000000000

static inline void *fixture_array(struct prof__arena *a, size_t n, size_t size)
{
    void *p = prof__arena_array(a, n, size);

    if (!p) {
        perror("arena");
        exit(2);
    }
    return p;
}

static const struct prof__value_type fixture_heap_types[] = {
    { "alloc_objects", "count" },
    { "alloc_space", "bytes" },
    { "inuse_objects", "count" },
    { "inuse_space", "bytes" },
};
static const struct prof__value_type fixture_wait_types[] = {
    { "contentions", "count" },
    { "delay", "nanoseconds" },
};
static const struct prof__value_type fixture_cpu_types[] = {
    { "samples", "count" },
    { "cpu", "nanoseconds" },
};

/* The head of the profile called `name`: types, period, text form. */
static inline struct prof__report fixture_head(struct prof__arena *a, const char *name)
{
    struct prof__report r = { .name = name, .period = 1, .time_ns = FIXTURE_TIME_NS };

    if (strcmp(name, "heap") == 0 || strcmp(name, "allocs") == 0) {
        r.text = PROF__TEXT_HEAP;
        r.n_values = 4;
        r.value_type = fixture_heap_types;
        r.default_type = name[0] == 'a' ? "alloc_space" : NULL;
        r.period_type = (struct prof__value_type) { "space", "bytes" };
        r.period = 524288;
    } else if (strcmp(name, "mutex") == 0 || strcmp(name, "block") == 0) {
        r.text = PROF__TEXT_CONTENTION;
        r.n_values = 2;
        r.value_type = fixture_wait_types;
        r.period_type = fixture_wait_types[0];
    } else if (strcmp(name, "profile") == 0) {
        r.text = PROF__TEXT_COUNT;
        r.n_values = 2;
        r.value_type = fixture_cpu_types;
        r.period_type = fixture_cpu_types[1];
        r.period = 10000000;
        r.duration_ns = 1000000000;
    } else {
        struct prof__value_type *own = fixture_array(a, 1, sizeof(*own));

        *own = (struct prof__value_type) { name, "count" };
        r.text = PROF__TEXT_COUNT;
        r.n_values = 1;
        r.value_type = own;
        r.period_type = *own;
    }
    return r;
}

#define fixture_line(function_, name_, file_, line_, start_)                        \
    {                                                                               \
        .function = (function_), .name = (name_), .file = (file_), .line = (line_), \
        .start_line = (start_)                                                      \
    }
#define fixture_location(address_, mapping_, n_, line_)                                \
    {                                                                                  \
        .address = (address_), .mapping = (mapping_), .n_lines = (n_), .line = (line_) \
    }

/*
 * Two mappings, the first with names, files and lines, the second without any; a frame with an
 * inlined function; a C++ name; labels. Stacks: make_buffer (inlined into ns::pool::grow) <- main,
 * leak <- main, libc+... <- main.
 */
static inline struct prof__report fixture_named(struct prof__arena *a, const char *name)
{
    static const struct prof__report_mapping mapping[] = {
        { .start = 0x555555556000,
          .limit = 0x555555560000,
          .offset = 0x2000,
          .bias = 0x555555554000,
          .is_elf = true,
          .is_program = true,
          .file = "/usr/bin/app",
          .build_id = "0123456789abcdef",
          .has_functions = true,
          .has_filenames = true,
          .has_line_numbers = true,
          .has_inline_frames = true },
        { .start = 0x7ffff7c28000,
          .limit = 0x7ffff7dbd000,
          .offset = 0x28000,
          .bias = 0x7ffff7c00000,
          .is_elf = true,
          .file = "/lib/x86_64-linux-gnu/libc.so.6",
          .build_id = "" },
    };
    static const struct prof__line inlined[] = {
        fixture_line("make_buffer", "make_buffer", "/src/app/buffer.c", 17, 12),
        fixture_line("_ZN2ns4pool4growEm", "ns::pool::grow", "/src/app/pool.cc", 140, 120),
    };
    static const struct prof__line leak[] = { fixture_line("leak", "leak", "/src/app/leak.c", 33,
                                                           30) };
    static const struct prof__line main_line[] = { fixture_line("main", "main", "/src/app/main.c",
                                                                9, 5) };
    static const struct prof__location location[] = {
        fixture_location(0x555555556135, 0, 2, inlined),
        fixture_location(0x555555556198, 0, 1, main_line),
        fixture_location(0x555555557200, 0, 1, leak),
        fixture_location(0x7ffff7c29d8f, 1, 0, NULL),
    };
    static const uint32_t stack[][2] = { { 0, 1 }, { 2, 1 }, { 3, 1 } };
    static const int64_t heap[][4] = {
        /* one sample of 128 bytes; 17 of 1 MiB, 5 of them freed; 3 of 512 KiB, all freed */
        { 4096, 524352, 4096, 524352 },
        { 19, 20615842, 13, 14552359 },
        { 4, 2488165, 0, 0 },
    };
    static const int64_t wait[][2] = { { 3, 2500000 }, { 1, 1500000000 }, { 7, 70 } };
    static const int64_t cpu[][2] = { { 3, 30000000 }, { 94, 940000000 }, { 3, 30000000 } };
    static const int64_t count[] = { 12, 1, 700 };
    static const char *const comment[] = { "heap sampling: one block per 512 KiB", "two\nlines\n" };
    struct prof__report r = fixture_head(a, name);
    struct prof__report_sample *sample = fixture_array(a, 3, sizeof(*sample));
    struct prof__label *label = fixture_array(a, 3 * 3, sizeof(*label));

    for (size_t i = 0; i < 3; i++) {
        struct prof__report_sample *s = &sample[i];

        s->location = stack[i];
        s->n_locations = 2;
        s->label = &label[3 * i];
        if (r.text == PROF__TEXT_HEAP) {
            memcpy(s->value, heap[i], sizeof(heap[i]));
            label[3 * i] = (struct prof__label) { "bytes", NULL, heap[i][1] / heap[i][0], "bytes" };
            s->n_labels = 1;
        } else if (strcmp(name, "profile") == 0) {
            memcpy(s->value, cpu[i], sizeof(cpu[i]));
        } else if (r.text == PROF__TEXT_CONTENTION) {
            memcpy(s->value, wait[i], sizeof(wait[i]));
        } else {
            s->value[0] = count[i];
        }
    }
    label[sample[0].n_labels++] = (struct prof__label) { "worker", "A \"quoted\"", 0, NULL };
    r.sample = sample;
    r.n_samples = 3;
    r.location = location;
    r.n_locations = ARRAY_LEN(location);
    r.mapping = mapping;
    r.n_mappings = ARRAY_LEN(mapping);
    r.comment = comment;
    r.n_comments = ARRAY_LEN(comment);
    return r;
}

/* --- random ---------------------------------------------------------------------------------- */

static inline uint64_t fixture_below(uint64_t *rng, uint64_t n)
{
    return n ? prof__random(rng) % n : 0;
}

/* Any bytes but NUL: text, broken UTF-8, control characters; now and then 64 KiB of it. */
static inline const char *fixture_string(struct prof__arena *a, uint64_t *rng)
{
    static const char *const odd[] = {
        "",          "\xff",      "\xc0\x80",    "\xed\xa0\x80",     "a\nb",
        "--- x ---", "\xe2\x82",  "# labels: {", "0x1: 2",           "\x1b[31m",
        "\xc3\xbcr", "_ZN1aC1Ev", "_Z\xffz1",    "\xf4\x90\x80\x80", "%s%n",
        "\xc2\x9b"
    };
    uint64_t kind = fixture_below(rng, 64);
    size_t size = kind == 0 ? 65536 + fixture_below(rng, 64) : fixture_below(rng, 40);

    if (kind > 40)
        return odd[fixture_below(rng, ARRAY_LEN(odd))];
    char *s = fixture_array(a, size + 1, 1);
    for (size_t i = 0; i < size; i++)
        s[i] = (char)(kind & 1 ? 'a' + fixture_below(rng, 26) : 1 + fixture_below(rng, 255));
    return s;
}

static inline int64_t fixture_value(uint64_t *rng)
{
    static const int64_t odd[] = { 0, 1, -1, INT64_MAX, INT64_MIN, INT64_MAX - 1, 524288 };

    if (fixture_below(rng, 4) == 0)
        return odd[fixture_below(rng, ARRAY_LEN(odd))];
    return (int64_t)(prof__random(rng) >> fixture_below(rng, 64));
}

/* Within the contract of encode.h, and otherwise as bad as can be. */
static inline struct prof__report fixture_random(struct prof__arena *a, uint64_t seed)
{
    static const char *const names[] = { "heap",    "allocs",  "mutex", "block",
                                         "profile", "threads", "my-own" };
    uint64_t rng = seed;
    struct prof__report r = fixture_head(a, names[fixture_below(&rng, ARRAY_LEN(names))]);
    size_t n_locations = fixture_below(&rng, 40), n_mappings = 1 + fixture_below(&rng, 5);
    size_t n_samples = n_locations ? fixture_below(&rng, 50) : 0;
    struct prof__report_mapping *mapping = fixture_array(a, n_mappings, sizeof(*mapping));
    struct prof__location *location = fixture_array(a, n_locations, sizeof(*location));
    struct prof__report_sample *sample = fixture_array(a, n_samples, sizeof(*sample));
    const char **comment = fixture_array(a, 3, sizeof(*comment));

    if (fixture_below(&rng, 3) == 0)
        r.period = (int64_t)(prof__random(&rng) >> (24 + fixture_below(&rng, 40)));
    for (size_t i = 0; i < n_mappings; i++) {
        mapping[i] = (struct prof__report_mapping) { .start = 0x10000000 * (i + 1),
                                                     .limit = 0x10000000 * (i + 1) + 0x100000,
                                                     .offset = 4096 * fixture_below(&rng, 9),
                                                     .file = fixture_string(a, &rng),
                                                     .build_id = "",
                                                     .has_functions = fixture_below(&rng, 2) };
    }
    for (size_t i = 0; i < n_locations; i++) {
        struct prof__line *line = fixture_array(a, 4, sizeof(*line));

        location[i].mapping = (uint32_t)fixture_below(&rng, n_mappings);
        location[i].address = mapping[location[i].mapping].start + i * 7;
        location[i].n_lines = (uint32_t)fixture_below(&rng, 5);
        location[i].line = line;
        for (size_t j = 0; j < location[i].n_lines; j++) {
            line[j] = (struct prof__line) {
                .function = fixture_string(a, &rng),
                .file = fixture_below(&rng, 3) ? fixture_string(a, &rng) : NULL,
                .line = (uint32_t)fixture_value(&rng),
                .start_line = (uint32_t)fixture_value(&rng),
            };
        }
    }
    for (size_t i = 0; i < n_samples; i++) {
        uint32_t depth = (uint32_t)(fixture_below(&rng, 200) ? 1 + fixture_below(&rng, 30) : 5000);
        uint32_t *stack = fixture_array(a, depth, sizeof(*stack));
        struct prof__label *label = fixture_array(a, 6, sizeof(*label));

        for (uint32_t j = 0; j < depth; j++)
            stack[j] = (uint32_t)fixture_below(&rng, n_locations);
        sample[i].location = stack;
        sample[i].n_locations = depth;
        sample[i].label = label;
        sample[i].n_labels = (uint32_t)fixture_below(&rng, 7);
        for (size_t j = 0; j < sample[i].n_labels; j++) {
            label[j] = (struct prof__label) {
                .key = fixture_string(a, &rng),
                .value = fixture_below(&rng, 2) ? fixture_string(a, &rng) : NULL,
                .number = fixture_value(&rng),
                .unit = fixture_below(&rng, 2) ? fixture_string(a, &rng) : NULL,
            };
        }
        for (size_t j = 0; j < r.n_values; j++)
            sample[i].value[j] = fixture_value(&rng);
    }
    for (size_t i = 0; i < 3; i++)
        comment[i] = fixture_string(a, &rng);
    r.n_samples = n_samples;
    r.sample = sample;
    r.n_locations = n_locations;
    r.location = location;
    r.n_mappings = n_mappings;
    r.mapping = mapping;
    r.n_comments = fixture_below(&rng, 4);
    r.comment = comment;
    return r;
}

/* --- a sink that keeps what it is given ------------------------------------------------------ */

struct fixture_sink {
    char *data;
    size_t size;
    size_t calls;
    size_t fail_at; /* this call, from 1, answers `error`; 0: none does */
    int error;
};

static inline int fixture_sink(void *arg, const void *data, size_t size)
{
    struct fixture_sink *s = arg;

    if (++s->calls == s->fail_at)
        return s->error;
    s->data = realloc(s->data, s->size + size + 1);
    if (!s->data)
        exit(2);
    memcpy(s->data + s->size, data, size);
    s->size += size;
    s->data[s->size] = '\0';
    return 0;
}

#endif
