/*
 * encode_text.c - the legacy text formats of pprof: rows for its parser, comments for people.
 *
 *   heap profile: 3: 1536 [10: 5120] @ heap/1048576     one of three first lines
 *   # ...                                               totals and largest functions
 *   3: 1536 [10: 5120] @ 0x401136 0x401199              a row; one of three forms
 *   #	0x401135	make_buffer	buffer.c:17             its frames, for people
 *   --- Memory map: ---                                 lets pprof find the names by itself
 *
 * Rows carry return addresses, one more than the report's, because the parser takes one off every
 * frame. It ignores what starts with '#', wants at least one address in a row, and gives up on a
 * line of 64 KiB: hence the bounds below. Only the heap format can express a negative number, and
 * only of what is in use.
 *
 * Source: legacy_profile.go of google/pprof; Go's runtime/pprof/pprof.go prints the same.
 */
#include "encode/encode.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>

#include "base/sampler.h"
#include "encode/encode_order.h"
#include "encode/functions.h"

enum {
    ADDRESSES_MAX = 3000, /* in a row: 57 KiB */
    LABELS_MAX = 24,
    LABEL_SIZE = 400, /* of a key or a value */
    NAME_SIZE = 4000,
    COMMENT_SIZE = 4000,
    ALIGN_MAX = 96, /* names longer than this do not push the files aside */
};

struct text {
    const struct prof__report *report;
    const uint32_t *order;
    struct prof__functions functions;
    struct prof__textout *out;
};

/* --- a row's tail: addresses, labels, frames ------------------------------------------------- */

static void put_addresses(struct text *t, const struct prof__report_sample *s)
{
    uint32_t n = PROF_MIN(s->n_locations, (uint32_t)ADDRESSES_MAX);

    prof__textout_word(t->out, " @");
    for (uint32_t i = 0; i < n; i++)
        prof__textout_hex(t->out, " 0x", t->report->location[s->location[i]].address + 1);
    if (n == 0)
        prof__textout_word(t->out, " 0x1"); /* a row without an address makes pprof fail */
    prof__textout_word(t->out, "\n");
}

/* The text labels, by key, the last of equal keys, as Go prints them. */
static void put_labels(struct text *t, const struct prof__report_sample *s)
{
    const char *previous = "";

    for (int n = 0; n < LABELS_MAX; n++) {
        const struct prof__label *next = NULL;

        for (uint32_t i = 0; i < s->n_labels; i++) {
            const struct prof__label *l = &s->label[i];

            if (l->value && strcmp(l->key, previous) > 0 &&
                (!next || strcmp(l->key, next->key) <= 0))
                next = l;
        }
        if (!next) {
            if (n > 0)
                prof__textout_word(t->out, "}\n");
            return;
        }
        prof__textout_word(t->out, n == 0 ? "# labels: {" : ", ");
        prof__textout_quoted(t->out, next->key, LABEL_SIZE);
        prof__textout_word(t->out, ":");
        prof__textout_quoted(t->out, next->value, LABEL_SIZE);
        previous = next->key;
    }
    prof__textout_word(t->out, ", ...}\n");
}

/* Tabs from a cell of `width` to the next column, when the widest cell has `widest`. */
static void put_tabs(struct text *t, size_t width, size_t widest)
{
    size_t column = PROF_MIN(widest, (size_t)ALIGN_MAX) / 8 + 1;

    for (size_t at = width / 8; at < PROF_MAX(column, width / 8 + 1); at++)
        prof__textout_word(t->out, "\t");
}

static size_t hex_width(uint64_t v)
{
    return 2 + (v ? (67 - (size_t)__builtin_clzll(v)) / 4 : 1);
}

static void put_frame(struct text *t, const struct prof__location *l, uint32_t line,
                      const char *function, size_t widest_address, size_t widest_name)
{
    const char *file = l->n_lines ? l->line[line].file : NULL;

    prof__textout_hex(t->out, "#\t0x", l->address);
    put_tabs(t, hex_width(l->address), widest_address);
    prof__textout_string(t->out, function, NAME_SIZE);
    if (file && file[0]) {
        put_tabs(t, strlen(function), widest_name);
        prof__textout_string(t->out, file, NAME_SIZE);
        prof__textout_decimal(t->out, ":", l->line[line].line);
    }
    prof__textout_word(t->out, "\n");
}

/* Innermost first, inlined functions with the address of the frame that they are part of. */
static void put_frames(struct text *t, const struct prof__report_sample *s)
{
    size_t widest_address = 0, widest_name = 0;

    for (int print = 0; print < 2; print++) {
        for (uint32_t i = 0; i < s->n_locations; i++) {
            uint32_t index = s->location[i];
            const struct prof__location *l = &t->report->location[index];

            widest_address = PROF_MAX(widest_address, hex_width(l->address));
            for (uint32_t j = 0; j < PROF_MAX(l->n_lines, 1u); j++) {
                uint32_t f = t->functions.line[t->functions.first[index] + j];
                const char *name = t->functions.function[f].name;
                size_t width = strlen(name);

                if (print)
                    put_frame(t, l, j, name, widest_address, widest_name);
                else
                    widest_name = PROF_MAX(widest_name, width);
            }
        }
    }
    prof__textout_word(t->out, "\n");
}

static void put_row_tail(struct text *t, const struct prof__report_sample *s)
{
    put_addresses(t, s);
    put_labels(t, s);
    put_frames(t, s);
}

/* --- what comes after the first line, and at the end ----------------------------------------- */

static void put_comment(struct text *t, const char *comment)
{
    while (*comment) {
        const char *end = strchrnul(comment, '\n');

        prof__textout_word(t->out, "# ");
        prof__textout_string_n(t->out, comment, (size_t)(end - comment), COMMENT_SIZE);
        prof__textout_word(t->out, "\n");
        comment = *end ? end + 1 : end;
    }
}

static void put_summary(struct text *t)
{
    for (size_t i = 0; i < t->report->n_comments; i++)
        put_comment(t, t->report->comment[i]);
    prof__functions_print_top(&t->functions, t->report, t->out);
}

/* As lines of /proc/self/maps; the device and inode are not known and not used. */
static void put_memory_map(struct text *t)
{
    prof__textout_word(t->out, "\n--- Memory map: ---\n");
    for (size_t i = 0; i < t->report->n_mappings; i++) {
        const struct prof__report_mapping *m = &t->report->mapping[i];

        prof__textout_printf(t->out, "%08llx-%08llx r-xp %08llx 00:00 0 ",
                             (unsigned long long)m->start, (unsigned long long)m->limit,
                             (unsigned long long)m->offset);
        prof__textout_string(t->out, m->file, NAME_SIZE);
        prof__textout_word(t->out, "\n");
    }
}

/* --- heap ------------------------------------------------------------------------------------ */

enum { ALLOC_OBJECTS, ALLOC_BYTES, USED_OBJECTS, USED_BYTES, HEAP_VALUES };

/* No address space is as large; below it, the estimator's doubles fit their integers. */
#define HEAP_VALUE_MAX ((int64_t)1 << 62)

static int64_t clamp(int64_t v)
{
    return PROF_MAX(PROF_MIN(v, HEAP_VALUE_MAX), -HEAP_VALUE_MAX);
}

/* What to print for `objects` blocks of `bytes` in all, so that a reader who scales up for
 * `interval` gets them back. Never no objects of some bytes, which the parser takes for an error.
 */
static void unscale(int64_t objects, int64_t bytes, int64_t interval, int64_t *ret_objects,
                    int64_t *ret_bytes)
{
    /* Of a difference both may be negative; the estimator knows only what is there. */
    int64_t sign = objects < 0 && bytes < 0 ? -1 : 1;

    prof__sampler_unscale(sign * clamp(objects), sign * clamp(bytes), (uint64_t)interval,
                          ret_objects, ret_bytes);
    *ret_objects *= sign;
    *ret_bytes *= sign;
    if (*ret_objects == 0 && *ret_bytes != 0)
        *ret_objects = *ret_bytes < 0 ? -1 : 1;
}

static bool is_near(double got, int64_t want)
{
    return fabs(got - (double)want) <= fabs((double)want) / 16 + 2;
}

/* Would a reader get these values back? Not when they were sampled at other rates, or are the
 * difference of unlike ones. Nobody gets blocks without bytes back, so they do not count. */
static bool survives(int64_t objects, int64_t bytes, int64_t interval)
{
    int64_t raw_objects, raw_bytes;

    if (bytes == 0)
        return true;
    if (objects == 0 || (objects < 0) != (bytes < 0))
        return false;
    unscale(objects, bytes, interval, &raw_objects, &raw_bytes);
    double scale = -1 / expm1(-(double)raw_bytes / (double)raw_objects / (double)interval);
    return is_near((double)raw_objects * scale, objects) &&
           is_near((double)raw_bytes * scale, bytes);
}

/* The interval to print the heap for: the sampling interval as everybody does, or, when that would
 * bend the values, 1, which tells readers to take them as they are. */
static int64_t heap_interval(const struct prof__report *r)
{
    int64_t interval = PROF_MIN(PROF_MAX(r->period, 0), INT64_MAX / 2);

    for (size_t i = 0; interval > 1 && i < r->n_samples; i++) {
        const int64_t *v = r->sample[i].value;

        if (!survives(v[ALLOC_OBJECTS], v[ALLOC_BYTES], interval) ||
            !survives(v[USED_OBJECTS], v[USED_BYTES], interval))
            return 1;
    }
    return interval;
}

static void heap_row(const struct prof__report_sample *s, int64_t interval,
                     int64_t ret_raw[HEAP_VALUES])
{
    /* The format has no sign for what was allocated, nor can that shrink. */
    unscale(PROF_MAX(s->value[ALLOC_OBJECTS], 0), PROF_MAX(s->value[ALLOC_BYTES], 0), interval,
            &ret_raw[ALLOC_OBJECTS], &ret_raw[ALLOC_BYTES]);
    unscale(s->value[USED_OBJECTS], s->value[USED_BYTES], interval, &ret_raw[USED_OBJECTS],
            &ret_raw[USED_BYTES]);
}

static void put_heap_values(struct text *t, const int64_t raw[HEAP_VALUES])
{
    prof__textout_printf(t->out, "%lld: %lld [%lld: %lld]", (long long)raw[USED_OBJECTS],
                         (long long)raw[USED_BYTES], (long long)raw[ALLOC_OBJECTS],
                         (long long)raw[ALLOC_BYTES]);
}

static void put_heap_tail(struct text *t)
{
    const struct prof__report *r = t->report;
    int64_t sum[HEAP_VALUES] = { 0 };
    struct rusage usage;

    for (size_t i = 0; i < r->n_samples; i++) {
        for (size_t j = 0; j < HEAP_VALUES; j++)
            sum[j] = prof__add_saturate(sum[j], r->sample[i].value[j]);
    }
    prof__textout_printf(
        t->out, "# runtime.MemStats\n# Alloc = %lld\n# TotalAlloc = %lld\n# Mallocs = %lld\n",
        (long long)sum[USED_BYTES], (long long)sum[ALLOC_BYTES], (long long)sum[ALLOC_OBJECTS]);
    prof__textout_printf(
        t->out, "# Frees = %lld\n# HeapAlloc = %lld\n# HeapObjects = %lld\n",
        (long long)prof__add_saturate(sum[ALLOC_OBJECTS], -PROF_MAX(sum[USED_OBJECTS], -INT64_MAX)),
        (long long)sum[USED_BYTES], (long long)sum[USED_OBJECTS]);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        prof__textout_printf(t->out, "# MaxRSS = %lld\n", (long long)usage.ru_maxrss * 1024);
}

/* Will the parser see what was allocated? It goes by the first line: not if that is all zero, nor
 * if it equals what is in use. Then one byte too many is printed, in that line only. */
static bool shows_four_columns(const int64_t total[HEAP_VALUES])
{
    return (total[ALLOC_OBJECTS] != total[USED_OBJECTS] && total[ALLOC_OBJECTS] != 0) ||
           (total[ALLOC_BYTES] != total[USED_BYTES] && total[ALLOC_BYTES] != 0);
}

static void put_heap(struct text *t)
{
    const struct prof__report *r = t->report;
    int64_t interval = heap_interval(r), total[HEAP_VALUES] = { 0 };

    for (size_t i = 0; i < r->n_samples; i++) {
        int64_t raw[HEAP_VALUES];

        heap_row(&r->sample[i], interval, raw);
        for (size_t j = 0; j < HEAP_VALUES; j++)
            total[j] = prof__add_saturate(total[j], raw[j]);
    }
    for (size_t j = 0; j < HEAP_VALUES; j++)
        total[j] = PROF_MAX(total[j], 0); /* nor is there a sign in the first line */

    while (!shows_four_columns(total))
        total[ALLOC_BYTES] += total[ALLOC_BYTES] < INT64_MAX ? 1 : -1;

    prof__textout_word(t->out, "heap profile: ");
    put_heap_values(t, total);
    prof__textout_printf(t->out, " @ heap/%lld\n", (long long)interval * 2);
    if (interval != r->period)
        prof__textout_printf(t->out, "# sampled at more than one rate, so the values below are "
                                     "scaled up already\n");
    put_summary(t);
    for (size_t i = 0; i < r->n_samples; i++) {
        const struct prof__report_sample *s = &r->sample[t->order[i]];
        int64_t raw[HEAP_VALUES];

        heap_row(s, interval, raw);
        put_heap_values(t, raw);
        put_row_tail(t, s);
    }
    put_heap_tail(t);
}

/* --- count and contention -------------------------------------------------------------------- */

/* These formats know no negative numbers: rows that have one are left out, and counted. */
static bool is_printable(const struct prof__report *r, const struct prof__report_sample *s)
{
    for (size_t i = 0; i < r->n_values; i++) {
        if (s->value[i] < 0)
            return false;
    }
    return true;
}

static void put_left_out(struct text *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->report->n_samples; i++)
        n += !is_printable(t->report, &t->report->sample[i]);
    if (n > 0)
        prof__textout_printf(t->out,
                             "# %zu rows with negative values are left out: this format "
                             "has none\n",
                             n);
}

static void put_count(struct text *t)
{
    const struct prof__report *r = t->report;
    int64_t total = 0;

    for (size_t i = 0; i < r->n_samples; i++) {
        if (is_printable(r, &r->sample[i]))
            total = prof__add_saturate(total, r->sample[i].value[0]);
    }
    prof__textout_string(t->out, r->name, NAME_SIZE);
    prof__textout_printf(t->out, " profile: total %lld\n", (long long)total);
    put_left_out(t);
    put_summary(t);
    for (size_t i = 0; i < r->n_samples; i++) {
        const struct prof__report_sample *s = &r->sample[t->order[i]];

        if (!is_printable(r, s))
            continue;
        prof__textout_printf(t->out, "%lld", (long long)s->value[0]);
        put_row_tail(t, s);
    }
}

static int64_t divide_round(int64_t v, int64_t by)
{
    return by <= 1 ? v : v / by + (v % by >= by - by / 2);
}

/* The values are scaled up; readers multiply by the period themselves. */
static void put_contention(struct text *t)
{
    const struct prof__report *r = t->report;
    bool is_mutex = strcmp(r->name, "mutex") == 0;
    int64_t period = PROF_MAX(r->period, 1);

    prof__textout_printf(t->out, "--- %s:\ncycles/second=1000000000\n",
                         is_mutex ? "mutex" : "contention");
    if (is_mutex || period > 1)
        prof__textout_printf(t->out, "sampling period=%lld\n", (long long)period);
    put_left_out(t);
    put_summary(t);
    for (size_t i = 0; i < r->n_samples; i++) {
        const struct prof__report_sample *s = &r->sample[t->order[i]];

        if (!is_printable(r, s))
            continue;
        prof__textout_printf(t->out, "%lld %lld", (long long)divide_round(s->value[1], period),
                             (long long)divide_round(s->value[0], period));
        put_row_tail(t, s);
    }
}

int prof__encode_text(const struct prof__report *r, int debug, struct prof__arena *a,
                      prof_sink_fn *sink, void *arg)
{
    struct text t = { .report = r };
    int error = prof__functions_load(r, a, &t.functions);

    t.order = prof__report_order(r, a);
    t.out = prof__arena_alloc(a, sizeof(*t.out));
    if (error < 0 || !t.order || !t.out)
        return -ENOMEM;
    t.out->sink = sink;
    t.out->arg = arg;
    switch (r->text) {
    case PROF__TEXT_HEAP:
        put_heap(&t);
        break;
    case PROF__TEXT_CONTENTION:
        put_contention(&t);
        break;
    case PROF__TEXT_COUNT:
        put_count(&t);
        break;
    }
    put_memory_map(&t);
    return prof__textout_flush(t.out);
}
