/*
 * test_encode_text.c - the text is what pprof's parser takes, and says what the report says.
 *
 * read_text() below is as strict as that parser, line by line. test_encode_readers.py asks pprof
 * itself, where there is one.
 */
#include <ctype.h>
#include <math.h>

#include "base/sampler.h"
#include "check.h"
#include "encode_fixture.h"
#include "faults.h"

/* --- a reader as strict as pprof's ------------------------------------------------------------ */

struct text {
    const char *error; /* NULL: it would be taken */
    long long head[5]; /* of the first line: the heap's five numbers, or the total */
    size_t rows;
    double value[4]; /* sums, scaled up as pprof does: heap as in the report, else count, delay */
    unsigned long long address; /* the first one of the first row */
    long long period, hz;
    size_t mappings;
    size_t longest; /* line */
};

static double scale(long long count, long long size, long long rate)
{
    if (count == 0 || size == 0)
        return 0;
    return rate <= 1 ? 1 : 1 / (1 - exp(-((double)size / (double)count) / (double)rate));
}

/* " 0x1 0x2 ...", at least one; as pprof's own pattern, lower-case and nothing after it. */
static const char *read_addresses(const char *s, unsigned long long *ret_first)
{
    size_t n = 0;

    for (; *s == ' '; n++) {
        const char *digits = s + 3;
        char *end;

        if (strncmp(s, " 0x", 3) != 0 || !isxdigit((unsigned char)*digits))
            return "bad address";
        unsigned long long v = strtoull(digits, &end, 16);
        if (end - digits > 16)
            return "address of more than 64 bits";
        if (n == 0)
            *ret_first = v;
        s = end;
    }
    return *s ? "something after the addresses" : n == 0 ? "no address" : NULL;
}

static const char *read_heap_row(const char *line, struct text *t)
{
    long long v[4];
    int at = 0;
    unsigned long long address = 0;

    if (sscanf(line, "%lld: %lld [%lld: %lld] @%n", &v[2], &v[3], &v[0], &v[1], &at) != 4 || !at)
        return "no heap row";
    for (size_t i = 0; i < 4; i += 2) {
        if (v[i] == 0 && v[i + 1] != 0)
            return "no objects of some bytes";
        double f = scale(v[i], v[i + 1], t->head[4] / 2);
        t->value[i] += trunc((double)v[i] * f);
        t->value[i + 1] += trunc((double)v[i + 1] * f);
    }
    if (v[0] < 0 || v[1] < 0)
        return "allocated less than nothing";
    const char *error = read_addresses(line + at, &address);
    if (t->rows == 0)
        t->address = address;
    return error;
}

static const char *read_row(const char *line, bool contention, struct text *t)
{
    long long count, delay = 0;
    unsigned long long address = 0;
    int at = 0;
    int n = contention ? sscanf(line, "%lld %lld @%n", &delay, &count, &at)
                       : sscanf(line, "%lld @%n", &count, &at);

    if (n != (contention ? 2 : 1) || !at || count < 0 || delay < 0)
        return "no row";
    t->value[0] += (double)count * (double)t->period;
    t->value[1] += (double)delay * (double)t->period;
    const char *error = read_addresses(line + at, &address);
    if (t->rows == 0)
        t->address = address;
    return error;
}

static const char *read_mapping(const char *line, struct text *t)
{
    unsigned long long start, limit, offset;
    char perms[5];

    if (sscanf(line, "%llx-%llx %4s %llx 00:00 0 ", &start, &limit, perms, &offset) != 4)
        return "no mapping";
    t->mappings++;
    return strcmp(perms, "r-xp") == 0 ? NULL : "not executable";
}

/* Cuts `s` up. */
static struct text read_text(char *s, enum prof__text form)
{
    struct text t = { .period = 1 };
    bool first = true, maps = false, attributes = form == PROF__TEXT_CONTENTION;
    char name[8200];

    for (char *line = s, *end; !t.error && *line; line = end + 1, first = false) {
        end = strchr(line, '\n');
        if (!end) {
            t.error = "the last line does not end";
            break;
        }
        *end = '\0';
        if ((size_t)(end - line) > t.longest)
            t.longest = (size_t)(end - line);
        if (first && form == PROF__TEXT_HEAP) {
            if (sscanf(line, "heap profile: %lld: %lld [%lld: %lld] @ heap/%lld", &t.head[0],
                       &t.head[1], &t.head[2], &t.head[3], &t.head[4]) != 5)
                t.error = "first line";
            for (size_t i = 0; i < 5; i++)
                t.error = t.head[i] < 0 ? "a sign in the first line" : t.error;
        } else if (first && form == PROF__TEXT_COUNT) {
            if (sscanf(line, "%8199s profile: total %lld", name, &t.head[0]) != 2 || t.head[0] < 0)
                t.error = "first line";
        } else if (first) {
            if (strcmp(line, "--- mutex:") != 0 && strcmp(line, "--- contention:") != 0)
                t.error = "first line";
        } else if (maps) {
            t.error = read_mapping(line, &t);
        } else if (strcmp(line, "--- Memory map: ---") == 0) {
            maps = true;
        } else if (line[0] == '#' || !line[0]) {
            continue;
        } else if (attributes && strchr(line, '=')) {
            if (sscanf(line, "cycles/second=%lld", &t.hz) != 1 &&
                sscanf(line, "sampling period=%lld", &t.period) != 1)
                t.error = "unknown attribute";
        } else {
            attributes = false;
            t.error = form == PROF__TEXT_HEAP ? read_heap_row(line, &t)
                                              : read_row(line, form == PROF__TEXT_CONTENTION, &t);
            t.rows++;
        }
        if (t.error)
            printf("line: %.200s\n", line);
    }
    if (!t.error && !maps)
        t.error = "no memory map";
    return t;
}

static char *encode(const struct prof__report *r, struct prof__arena *a)
{
    struct fixture_sink s = { 0 };

    CHECK_INT(prof__encode_text(r, 1, a, fixture_sink, &s), 0, "encode");
    return s.data;
}

static struct text encode_and_read(const struct prof__report *r, struct prof__arena *a)
{
    char *s = encode(r, a);
    struct text t = read_text(s, r->text);

    free(s);
    return t;
}

/* --- the formats ------------------------------------------------------------------------------ */

static void test_each_profile_reads_back_with_its_values(void)
{
    static const char *const names[] = { "heap",    "allocs",    "mutex",        "block",
                                         "threads", "goroutine", "threadcreate", "my.own" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct prof__arena a = { 0 };
        struct prof__report r = fixture_named(&a, names[i]);
        struct text t = encode_and_read(&r, &a);

        CHECK(!t.error, "%s: %s", names[i], t.error ? t.error : "");
        CHECK_INT(t.rows, 3, names[i]);
        CHECK_INT(t.mappings, 2, "mappings");
        for (size_t v = 0; v < r.n_values; v++) {
            double want = 0;

            for (size_t j = 0; j < 3; j++)
                want += (double)r.sample[j].value[v];
            CHECK_BETWEEN(t.value[v], want - 70, want + 70, names[i]); /* the fixture is rounded */
        }
        prof__arena_free(&a);
    }
}

static void test_the_first_lines_are_gos(void)
{
    static const struct {
        const char *name, *begin;
    } cases[] = {
        { "heap", "heap profile: 12: 13033946 [21: " },
        { "allocs", "heap profile: 12: 13033946 [21: " },
        { "mutex", "--- mutex:\ncycles/second=1000000000\nsampling period=1\n# " },
        { "block", "--- contention:\ncycles/second=1000000000\n# " },
        { "threads", "threads profile: total 713\n# " },
        { "goroutine", "goroutine profile: total 713\n# " },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prof__arena a = { 0 };
        struct prof__report r = fixture_named(&a, cases[i].name);
        char *s = encode(&r, &a);

        CHECK(strncmp(s, cases[i].begin, strlen(cases[i].begin)) == 0, "%s begins %.80s",
              cases[i].name, s);
        if (r.text == PROF__TEXT_HEAP)
            CHECK(strstr(s, "] @ heap/1048576\n"), "twice the interval: %.80s", s);
        free(s);
        prof__arena_free(&a);
    }
}

static void test_a_row_has_return_addresses_and_its_frames_below(void)
{
    static const char *const pieces[] = {
        "\n1: 128 [1: 128] @ 0x555555556136 0x555555556199\n"
        "# labels: {\"worker\":\"A \\\"quoted\\\"\"}\n"
        "#\t0x555555556135\tmake_buffer\t",
        "\t/src/app/buffer.c:17\n#\t0x555555556135\t",
        "\t/src/app/pool.cc:140\n#\t0x555555556198\tmain\t",
        "\t/src/app/main.c:9\n\n",
        "\n#\t0x7ffff7c29d8f\tlibc.so.6+0x29d8f\n",
        "\n--- Memory map: ---\n"
        "555555556000-555555560000 r-xp 00002000 00:00 0 /usr/bin/app\n"
        "7ffff7c28000-7ffff7dbd000 r-xp 00028000 00:00 0 /lib/x86_64-linux-gnu/libc.so.6\n",
        "\n# MaxRSS = ",
    };
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "heap");
    char *s = encode(&r, &a);

    for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
        CHECK(strstr(s, pieces[i]), "in it: %s", pieces[i]);
    free(s);
    prof__arena_free(&a);
}

static void test_the_top_is_what_pprof_would_say(void)
{
    static const char *const pieces[] = {
        "\n# heap sampling: one block per 512 KiB\n# two\n# lines\n",
        "\n# alloc_objects 4119, alloc_space 22.53MiB, inuse_objects 4109, inuse_space 14.38MiB in "
        "3 rows\n",
        "\n#    13.88MiB  96.5%    13.88MiB  96.5%  leak\n"
        "#   512.06KiB   3.5%   512.06KiB   3.5%  make_buffer\n\n",
    };
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "heap");
    char *s = encode(&r, &a);

    for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
        CHECK(strstr(s, pieces[i]), "in it: %s", pieces[i]);
    free(s);
    prof__arena_free(&a);
}

/* What an allocator took is its caller's, be that a line of the same location or another's; what
 * has no such caller stays, and so does what no function took. */
static void test_the_top_charges_the_programs_own_functions(void)
{
    static const struct prof__line grow[] = {
        fixture_line("_Znwm", "operator new", NULL, 0, 0),
        fixture_line("_ZN3Log3addEv", "Log::add", "/src/log.cc", 7, 5),
    };
    static const struct prof__line vector[] = { fixture_line("v", "std::vector<...>::push_back",
                                                             NULL, 0, 0) };
    static const struct prof__line handle[] = { fixture_line("handle", "handle", NULL, 0, 0) };
    static const struct prof__line lost[] = { fixture_line("[lost]", "[lost]", NULL, 0, 0) };
    static struct prof__location location[] = {
        fixture_location(0x555555556135, 0, 2, grow),
        fixture_location(0x555555556198, 0, 1, vector),
        fixture_location(0x555555557200, 0, 1, handle),
        fixture_location(0x555555557300, 0, 1, lost),
    };
    static const uint32_t stack[][3] = { { 1, 0, 2 }, { 1, 2 }, { 1 }, { 3, 2 } };
    static const struct prof__report_sample sample[] = {
        { stack[0], 3, 0, NULL, { 1 } },
        { stack[1], 2, 0, NULL, { 20 } },
        { stack[2], 1, 0, NULL, { 300 } },
        { stack[3], 2, 0, NULL, { 4000 } },
    };
    static const struct {
        bool has_own_lines;
        const char *top;
    } cases[] = {
        { true, "#\n#        flat  flat%         cum   cum%  function, by threads\n"
                "# with what allocators, containers and system libraries took for it; ?mycode=0 "
                "shows them\n"
                "#        4000  92.6%        4000  92.6%  [lost]\n"
                "#         300   6.9%         300   6.9%  std::vector<...>::push_back\n"
                "#          20   0.5%        4021  93.1%  handle\n"
                "#           1   0.0%           1   0.0%  Log::add\n\n" },
        { false, "#        4000  92.6%        4000  92.6%  [lost]\n"
                 "#         321   7.4%         321   7.4%  std::vector<...>::push_back\n" },
    };
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "threads");

    location[0].own_line = 1;
    location[1].own_line = location[3].own_line = 1; /* none */
    location[2].own_line = 0;
    location[3].own_line = 0; /* whose name is in brackets */
    r.sample = sample;
    r.n_samples = ARRAY_LEN(sample);
    r.location = location;
    r.n_locations = ARRAY_LEN(location);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        r.has_own_lines = cases[i].has_own_lines;
        char *s = encode(&r, &a);
        CHECK(strstr(s, cases[i].top), "%s", s);
        free(s);
    }
    prof__arena_free(&a);
}

static void test_recursion_counts_once_in_cum(void)
{
    static const uint32_t stack[] = { 1, 1, 1 };
    static const struct prof__report_sample sample = { stack, 3, 0, NULL, { 10 } };
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "threads");
    r.sample = &sample;
    r.n_samples = 1;
    char *s = encode(&r, &a);

    CHECK(strstr(s, "\n#          10 100.0%          10 100.0%  main\n"), "%s", s);
    free(s);
    prof__arena_free(&a);
}

/* --- the heap's numbers ----------------------------------------------------------------------- */

static void test_the_parser_sees_four_columns(void)
{
    static const struct {
        const char *name;
        size_t n;
        int64_t value[4];
    } cases[] = {
        { "nothing", 0, { 0 } },
        { "all in use", 1, { 5, 500, 5, 500 } },
        { "one byte in use, none allocated", 1, { 0, 0, 1, 1 } },
        { "only freed", 1, { 0, 0, -5, -500 } },
        { "all freed", 1, { 5, 500, 0, 0 } },
        { "the end of numbers", 1, { INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX } },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static const uint32_t stack[] = { 0 };
        struct prof__report_sample sample = { stack, 1, 0, NULL, { 0 } };
        struct prof__arena a = { 0 };
        struct prof__report r = fixture_named(&a, "heap");

        memcpy(sample.value, cases[i].value, sizeof(sample.value));
        r.period = 1;
        r.sample = &sample;
        r.n_samples = cases[i].n;
        struct text t = encode_and_read(&r, &a);
        CHECK(!t.error, "%s: %s", cases[i].name, t.error ? t.error : "");
        CHECK((t.head[2] != t.head[0] && t.head[2] != 0) ||
                  (t.head[3] != t.head[1] && t.head[3] != 0),
              "%s: %lld: %lld [%lld: %lld]", cases[i].name, t.head[0], t.head[1], t.head[2],
              t.head[3]);
        prof__arena_free(&a);
    }
}

/* What sampling `samples` blocks of `size` bytes leaves in the report. */
static void sampled(int64_t value[2], uint64_t size, uint64_t interval, int64_t samples)
{
    int64_t objects, bytes;

    prof__sampler_weight(size, interval, &objects, &bytes);
    value[0] = (objects * samples) >> PROF__OBJECT_SHIFT;
    value[1] = (bytes * samples) >> PROF__BYTE_SHIFT;
}

static void test_the_reader_gets_back_what_was_sampled(void)
{
    static const uint64_t intervals[] = { 1, 4096, 65536, 524288, 1 << 30 };
    static const uint64_t sizes[] = { 1, 16, 128, 1000, 4096, 100000, 524288, 1 << 20, 1 << 26 };
    static const int64_t counts[] = { 1, 2, 3, 17, 1000 };
    static const uint32_t stack[] = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(intervals); i++) {
        for (size_t j = 0; j < ARRAY_LEN(sizes); j++) {
            for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
                struct prof__report_sample sample = { stack, 1, 0, NULL, { 0 } };
                struct prof__arena a = { 0 };
                struct prof__report r = fixture_named(&a, "heap");

                sampled(&sample.value[0], sizes[j], intervals[i], counts[k]);
                sampled(&sample.value[2], sizes[j], intervals[i], (counts[k] + 1) / 2);
                r.period = (int64_t)intervals[i];
                r.sample = &sample;
                r.n_samples = 1;
                struct text t = encode_and_read(&r, &a);
                CHECK_INT(t.head[4], intervals[i] * 2, "twice the interval");
                for (size_t v = 0; v < 4; v++) {
                    double want = (double)sample.value[v], tolerance = 1 + want / 2000;

                    CHECK(fabs(t.value[v] - want) <= tolerance,
                          "interval %llu, %lld of %llu bytes: value %zu is %g, not %g",
                          (unsigned long long)intervals[i], (long long)counts[k],
                          (unsigned long long)sizes[j], v, t.value[v], want);
                }
                prof__arena_free(&a);
            }
        }
    }
}

static void test_values_of_other_rates_are_given_as_they_are(void)
{
    static const int64_t values[][4] = {
        { 100, 100000, 50, 50000 }, /* sampled at rate 1, read at 524288 */
        { 4096, 524352, -420, 4 },  /* a difference: one of 104 came, one of 96 went */
        { 4096, 524352, -4096, -10 },
    };
    static const uint32_t stack[] = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct prof__report_sample sample = { stack, 1, 0, NULL, { 0 } };
        struct prof__arena a = { 0 };
        struct prof__report r = fixture_named(&a, "heap");

        memcpy(sample.value, values[i], sizeof(sample.value));
        r.sample = &sample;
        r.n_samples = 1;
        struct text t = encode_and_read(&r, &a);
        CHECK(!t.error, "%s", t.error ? t.error : "");
        CHECK_INT(t.head[4], 2, "the reader does not scale");
        for (size_t v = 0; v < 4; v++)
            CHECK_INT(t.value[v], values[i][v], "value");
        prof__arena_free(&a);
    }
}

static void test_sampling_off_is_rate_zero(void)
{
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_head(&a, "heap");
    r.period = 0;
    char *s = encode(&r, &a);

    CHECK(strncmp(s, "heap profile: 0: 0 [0: 1] @ heap/0\n", 35) == 0, "%.40s", s);
    free(s);
    prof__arena_free(&a);
}

/* --- the other formats' numbers --------------------------------------------------------------- */

static void test_what_the_format_cannot_say_is_counted(void)
{
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "threads");
    struct prof__report_sample sample[3];

    memcpy(sample, r.sample, sizeof(sample));
    sample[1].value[0] = -5;
    r.sample = sample;
    char *s = encode(&r, &a);
    CHECK(strstr(s, "# 1 rows with negative values are left out"), "%.200s", s);
    struct text t = read_text(s, r.text);
    CHECK(!t.error, "%s", t.error ? t.error : "");
    CHECK_INT(t.rows, 2, "rows");
    CHECK_INT(t.head[0], 712, "total of those that are there");
    free(s);
    prof__arena_free(&a);
}

static void test_contention_is_divided_by_the_period(void)
{
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "mutex");
    struct prof__report_sample sample = r.sample[0];

    r.period = 10;
    sample.value[0] = 70;
    sample.value[1] = 12345670;
    r.sample = &sample;
    r.n_samples = 1;
    struct text t = encode_and_read(&r, &a);
    CHECK_INT(t.period, 10, "period");
    CHECK_INT(t.hz, 1000000000, "a cycle is a nanosecond");
    CHECK_INT(t.value[0], 70, "contentions");
    CHECK_INT(t.value[1], 12345670, "nanoseconds");
    prof__arena_free(&a);
}

static void test_a_sample_without_frames_still_has_an_address(void)
{
    static const char *const names[] = { "heap", "mutex", "threads" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        static const struct prof__report_sample sample = { NULL, 0, 0, NULL, { 1, 1, 1, 1 } };
        struct prof__arena a = { 0 };
        struct prof__report r = fixture_named(&a, names[i]);

        r.period = 1;
        r.sample = &sample;
        r.n_samples = 1;
        struct text t = encode_and_read(&r, &a);
        CHECK(!t.error && t.rows == 1, "%s: %s", names[i], t.error ? t.error : "");
        prof__arena_free(&a);
    }
}

/* --- people and terminals --------------------------------------------------------------------- */

static void test_numbers_are_shown_in_fitting_units(void)
{
    static const struct {
        int64_t value;
        const char *unit, *want;
    } cases[] = {
        { 0, "bytes", "0B" },
        { 1023, "bytes", "1023B" },
        { 1536, "bytes", "1.50KiB" },
        { -1572864, "bytes", "-1.50MiB" },
        { INT64_MAX, "bytes", "8388608.00TiB" },
        { 999, "nanoseconds", "999ns" },
        { 1500000, "nanoseconds", "1.50ms" },
        { 90000000000, "nanoseconds", "90.00s" },
        { INT64_MIN, "count", "-9223372036854775808" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prof__arena a = { 0 };
        struct prof__report r = fixture_named(&a, "threads");
        struct prof__value_type type = { "x", cases[i].unit };
        struct prof__report_sample sample = r.sample[0];
        char want[64];

        sample.value[0] = cases[i].value;
        r.value_type = &type;
        r.sample = &sample;
        r.n_samples = 1;
        char *s = encode(&r, &a);
        snprintf(want, sizeof(want), "\n# x %s in 1 rows\n", cases[i].want);
        CHECK(strstr(s, want), "wanted %s", want);
        free(s);
        prof__arena_free(&a);
    }
}

static void test_a_name_cannot_start_a_line_or_reach_the_terminal(void)
{
    static const struct prof__line line[] = {
        fixture_line("x", "evil\n1: 1 [1: 1] @ 0x1\x1b[31m\xc2\x9b", "/a\n--- Memory map: ---\n/b",
                     1, 1),
    };
    static const struct prof__location location[] = { fixture_location(0x555555556000, 0, 1,
                                                                       line) };
    static const uint32_t stack[] = { 0 };
    static const struct prof__label label[] = { { "k\n9 @ 0x1", "v\n9 @ 0x1", 0, NULL } };
    static const struct prof__report_sample sample = { stack, 1, 1, label, { 7 } };
    static const struct prof__report_mapping mapping = {
        .start = 0x555555556000, .limit = 0x555555557000, .file = "/a\nb", .build_id = ""
    };
    static const char *const comment = "first\n9 @ 0x2";
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_head(&a, "threads");

    r.sample = &sample;
    r.location = location;
    r.mapping = &mapping;
    r.comment = &comment;
    r.n_samples = r.n_locations = r.n_mappings = r.n_comments = 1;
    char *s = encode(&r, &a);
    for (const char *p = s; *p; p++)
        CHECK((unsigned char)*p >= 0x20 || *p == '\n' || *p == '\t', "a control character");
    CHECK(!strstr(s, "\xc2\x9b"), "nor one of the second block");
    struct text t = read_text(s, r.text);
    CHECK(!t.error && t.rows == 1 && t.value[0] == 7 && t.mappings == 1, "%s",
          t.error ? t.error : "one row, of 7");
    free(s);
    prof__arena_free(&a);
}

static void test_any_report_gives_text_that_reads(void)
{
    enum { SEEDS = 100, LINE_MAX_OF_PPROF = 65535 };

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct prof__arena a = { 0 };
        struct prof__report r = fixture_random(&a, seed);
        struct text t = encode_and_read(&r, &a);

        CHECK(!t.error, "seed %d: %s", (int)seed, t.error ? t.error : "");
        CHECK(t.longest < LINE_MAX_OF_PPROF, "seed %d: a line of %zu", (int)seed, t.longest);
        if (r.text == PROF__TEXT_HEAP)
            CHECK_INT(t.rows, r.n_samples, "rows");
        CHECK_INT(t.mappings, r.n_mappings, "mappings");
        prof__arena_free(&a);
    }
}

/* --- when things fail ------------------------------------------------------------------------- */

static struct prof__report large_report(struct prof__arena *a)
{
    enum { N = 300 };
    struct prof__report r = fixture_named(a, "heap");
    struct prof__report_sample *sample = fixture_array(a, N, sizeof(*sample));

    for (size_t i = 0; i < N; i++)
        sample[i] = r.sample[i % 3];
    r.sample = sample;
    r.n_samples = N;
    return r;
}

static void test_a_sinks_error_comes_back(void)
{
    struct prof__arena report_arena = { 0 };
    struct prof__report r = large_report(&report_arena);
    size_t before = prof__pages_total(), i = 1;
    int error = -1;

    for (; error < 0 && i < 100; i++) {
        struct fixture_sink s = { .fail_at = i, .error = -4242 };
        struct prof__arena a = { 0 };

        error = prof__encode_text(&r, 1, &a, fixture_sink, &s);
        CHECK(error == 0 ? s.calls < i : error == -4242 && s.calls == i, "call %zu: %d", i, error);
        prof__arena_free(&a);
        free(s.data);
    }
    CHECK(error == 0 && i > 5, "it is called several times: %zu", i);
    CHECK_INT(prof__pages_total(), before, "pages held");
    prof__arena_free(&report_arena);
}

static void test_without_memory_it_says_so(void)
{
    struct prof__arena report_arena = { 0 };
    struct prof__report r = large_report(&report_arena);
    int error = -ENOMEM;

    for (int n = 0; n < 50 && error < 0; n++) {
        struct fixture_sink s = { 0 };
        struct prof__arena a = { 0 };

        faults_mmap_left = n;
        error = prof__encode_text(&r, 1, &a, fixture_sink, &s);
        faults_mmap_left = -1;
        CHECK(error == 0 || (error == -ENOMEM && s.calls == 0), "after %d mappings: %d", n, error);
        prof__arena_free(&a);
        free(s.data);
    }
    CHECK_INT(error, 0, "with enough memory");
    prof__arena_free(&report_arena);
}

int main(void)
{
    test_each_profile_reads_back_with_its_values();
    test_the_first_lines_are_gos();
    test_a_row_has_return_addresses_and_its_frames_below();
    test_the_top_is_what_pprof_would_say();
    test_the_top_charges_the_programs_own_functions();
    test_recursion_counts_once_in_cum();
    test_the_parser_sees_four_columns();
    test_the_reader_gets_back_what_was_sampled();
    test_values_of_other_rates_are_given_as_they_are();
    test_sampling_off_is_rate_zero();
    test_what_the_format_cannot_say_is_counted();
    test_contention_is_divided_by_the_period();
    test_a_sample_without_frames_still_has_an_address();
    test_numbers_are_shown_in_fitting_units();
    test_a_name_cannot_start_a_line_or_reach_the_terminal();
    test_any_report_gives_text_that_reads();
    test_a_sinks_error_comes_back();
    test_without_memory_it_says_so();
    return check_report();
}
