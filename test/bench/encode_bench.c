/*
 * encode_bench.c - how long a large heap profile takes to write, and what each zlib level would
 * cost: 10,000 stacks of 20 frames over 5,000 locations, a fifth of them with an inlined frame.
 *
 *   encode_bench [RUNS]    medians of RUNS (31) runs, in CPU time
 *
 * Linked with the static core: it calls the encoders with a report made up here, so that neither
 * sampling nor symbolizing is in the time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/random.h"
#include "encode/encode.h"

enum { STACKS = 10000, DEPTH = 20, LOCATIONS = 5000, FILES = 300, RUNS_MAX = 1000 };

struct sink {
    unsigned char *data; /* NULL: only count */
    size_t size;
};

static int to_memory(void *arg, const void *data, size_t size)
{
    struct sink *s = arg;

    if (s->data)
        memcpy(s->data + s->size, data, size);
    s->size += size;
    return 0;
}

static void *need(void *p)
{
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return p;
}

/* Mangled names of some 45 bytes, as of a C++ service. */
static const char *make_name(struct prof__arena *a, uint64_t *rng)
{
    static const char *const words[] = { "Request", "session", "buffer", "Queue",  "parse",
                                         "handle",  "Node",    "insert", "Table",  "flush",
                                         "cache",   "Reader",  "commit", "Stream", "index" };
    const char *w[3];

    for (size_t i = 0; i < 3; i++)
        w[i] = words[prof__random(rng) % ARRAY_LEN(words)];
    return need(prof__arena_printf(a, "_ZN7service%zu%s%zu%s%zu%s_%04xEPKcmRSs", strlen(w[0]), w[0],
                                   strlen(w[1]), w[1], strlen(w[2]) + 5, w[2],
                                   (unsigned)(prof__random(rng) & 0xffff)));
}

static struct prof__report make_report(struct prof__arena *a)
{
    static const struct prof__value_type types[] = { { "alloc_objects", "count" },
                                                     { "alloc_space", "bytes" },
                                                     { "inuse_objects", "count" },
                                                     { "inuse_space", "bytes" } };
    static const struct prof__report_mapping mapping = {
        .start = 0x555555554000,
        .limit = 0x555556554000,
        .file = "/usr/bin/service",
        .build_id = "0123456789abcdef0123456789abcdef",
        .has_functions = true,
        .has_filenames = true,
        .has_line_numbers = true,
        .has_inline_frames = true,
    };
    struct prof__location *location = need(prof__arena_array(a, LOCATIONS, sizeof(*location)));
    struct prof__report_sample *sample = need(prof__arena_array(a, STACKS, sizeof(*sample)));
    const char *file[FILES];
    uint64_t rng = 1;

    for (size_t i = 0; i < FILES; i++)
        file[i] = need(prof__arena_printf(a, "/build/service/src/module%zu/part%zu.cc", i / 20, i));
    for (size_t i = 0; i < LOCATIONS; i++) {
        struct prof__line *line = need(prof__arena_array(a, 2, sizeof(*line)));

        for (size_t j = 0; j < 2; j++) {
            line[j].function = line[j].name = make_name(a, &rng);
            line[j].file = file[prof__random(&rng) % FILES];
            line[j].start_line = (uint32_t)(prof__random(&rng) % 2000 + 1);
            line[j].line = line[j].start_line + (uint32_t)(prof__random(&rng) % 60);
        }
        location[i] = (struct prof__location) { .address = mapping.start + i * 977,
                                                .n_lines = i % 5 ? 1 : 2,
                                                .line = line };
    }
    for (size_t i = 0; i < STACKS; i++) {
        uint32_t *stack = need(prof__arena_array(a, DEPTH, sizeof(*stack)));
        struct prof__label *label = need(prof__arena_alloc(a, sizeof(*label)));
        int64_t size = (int64_t)(16 + prof__random(&rng) % 4096);

        /* As in a call tree: the root part of an earlier stack, and up to eight frames of its own.
         */
        uint32_t own = i ? 1 + (uint32_t)(prof__random(&rng) % 8) : DEPTH;
        const uint32_t *parent = i ? sample[prof__random(&rng) % i].location : NULL;

        for (uint32_t j = 0; j < DEPTH; j++)
            stack[j] = j < own ? (uint32_t)(prof__random(&rng) % LOCATIONS) : parent[j];
        *label = (struct prof__label) { "bytes", NULL, size, "bytes" };
        sample[i] = (struct prof__report_sample) { stack, DEPTH, 1, label, { 0 } };
        sample[i].value[0] = 524288 / size + 1;
        sample[i].value[1] = 524288 + size / 2;
        if (i % 3) {
            sample[i].value[2] = sample[i].value[0];
            sample[i].value[3] = sample[i].value[1];
        }
    }
    return (struct prof__report) { .name = "heap",
                                   .text = PROF__TEXT_HEAP,
                                   .n_values = 4,
                                   .value_type = types,
                                   .period_type = { "space", "bytes" },
                                   .period = 524288,
                                   .time_ns = 1700000000000000000,
                                   .n_samples = STACKS,
                                   .sample = sample,
                                   .n_locations = LOCATIONS,
                                   .location = location,
                                   .n_mappings = 1,
                                   .mapping = &mapping };
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double median_ms(int64_t *ns, size_t n)
{
    qsort(ns, n, sizeof(*ns), by_value);
    return (double)ns[n / 2] / 1e6;
}

static void bench_encoder(const char *name, const struct prof__report *r, bool text, size_t runs)
{
    int64_t ns[RUNS_MAX];
    struct sink s = { NULL, 0 };
    size_t scratch = 0;

    for (size_t i = 0; i < runs; i++) {
        struct prof__arena a = { 0 };
        size_t before = prof__pages_total();
        int64_t start = prof__clock_ns(CLOCK_THREAD_CPUTIME_ID);

        s.size = 0;
        int error = text ? prof__encode_text(r, 1, &a, to_memory, &s)
                         : prof__encode_pprof(r, &a, to_memory, &s);
        if (error < 0) {
            fprintf(stderr, "%s: %s\n", name, strerror(-error));
            exit(1);
        }
        scratch = prof__pages_total() - before;
        prof__arena_free(&a);
        ns[i] = prof__clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
    }
    printf("%-18s %8.1f ms  %9zu bytes  %7zu KiB of memory\n", name, median_ms(ns, runs), s.size,
           scratch / 1024);
}

/* The same profile at every level, without the encoder around it. */
static void bench_levels(const struct prof__report *r, size_t runs)
{
    struct prof__arena a = { 0 };
    struct sink s = { need(malloc(64 << 20)), 0 };
    unsigned char *raw = need(malloc(64 << 20)), *out = need(malloc(64 << 20));
    z_stream z = { 0 };

    prof__encode_pprof(r, &a, to_memory, &s);
    inflateInit2(&z, 15 + 16);
    z.next_in = s.data;
    z.avail_in = (unsigned)s.size;
    z.next_out = raw;
    z.avail_out = 64 << 20;
    inflate(&z, Z_FINISH);
    size_t raw_size = z.total_out;
    inflateEnd(&z);
    printf("%zu bytes uncompressed\n", raw_size);
    for (int level = 0; level <= 9; level++) {
        int64_t ns[RUNS_MAX];
        size_t size = 0;

        for (size_t i = 0; i < runs; i++) {
            int64_t start = prof__clock_ns(CLOCK_THREAD_CPUTIME_ID);

            z = (z_stream) { .next_in = raw, .avail_in = (unsigned)raw_size };
            z.next_out = out;
            z.avail_out = 64 << 20;
            deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
            deflate(&z, Z_FINISH);
            size = z.total_out;
            deflateEnd(&z);
            ns[i] = prof__clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
        }
        printf("zlib level %d       %8.1f ms  %9zu bytes\n", level, median_ms(ns, runs), size);
    }
    prof__arena_free(&a);
    free(s.data);
    free(raw);
    free(out);
}

int main(int argc, char **argv)
{
    long runs = argc > 1 ? atol(argv[1]) : 31;
    struct prof__arena a = { 0 };
    struct prof__report r = make_report(&a);

    if (runs < 1 || runs > RUNS_MAX)
        return 2;
    printf("%d stacks of %d frames over %d locations\n", STACKS, DEPTH, LOCATIONS);
    bench_encoder("protobuf, gzipped", &r, false, (size_t)runs);
    bench_encoder("text", &r, true, (size_t)runs);
    bench_levels(&r, (size_t)runs);
    prof__arena_free(&a);
    return 0;
}
