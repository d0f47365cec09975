/*
 * test_encode_pprof.c - what a decoder gets back is what the report says, and fit for all readers.
 */
#include <zlib.h>

#include "base/utf8.h"
#include "check.h"
#include "encode_fixture.h"
#include "faults.h"
#include "profile.pb-c.h"

typedef Perftools__Profiles__Profile Profile;

static char *inflate_all(const struct fixture_sink *s, size_t *ret_size, bool *ret_complete)
{
    size_t cap = 1 << 16, size = 0;
    char *out = malloc(cap);
    z_stream z = { .next_in = (unsigned char *)s->data, .avail_in = (unsigned)s->size };
    int r = inflateInit2(&z, 15 + 16);

    while (out && r == Z_OK) {
        if (size == cap)
            out = realloc(out, cap *= 2);
        z.next_out = (unsigned char *)out + size;
        z.avail_out = (unsigned)(cap - size);
        r = inflate(&z, Z_NO_FLUSH);
        size = cap - z.avail_out;
    }
    *ret_complete = r == Z_STREAM_END && z.avail_in == 0;
    *ret_size = size;
    inflateEnd(&z);
    return out;
}

/* Encode, unpack and decode; NULL if any of it fails. */
static Profile *round_trip(const struct prof__report *r, struct prof__arena *a)
{
    struct fixture_sink s = { 0 };
    bool complete = false;
    size_t size = 0;

    if (prof__encode_pprof(r, a, fixture_sink, &s) != 0)
        return NULL;
    char *raw = inflate_all(&s, &size, &complete);
    Profile *p = complete ? perftools__profiles__profile__unpack(NULL, size, (uint8_t *)raw) : NULL;
    free(raw);
    free(s.data);
    return p;
}

static void done(Profile *p, struct prof__arena *a)
{
    perftools__profiles__profile__free_unpacked(p, NULL);
    prof__arena_free(a);
}

/* --- what arrives ---------------------------------------------------------------------------- */

static void test_the_head_arrives(void)
{
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "allocs");
    r.duration_ns = 123;
    Profile *p = round_trip(&r, &a);

    CHECK_INT(p->n_sample_type, 4, "sample types");
    for (size_t i = 0; i < 4; i++) {
        CHECK_STR(p->string_table[p->sample_type[i]->type], r.value_type[i].type, "type");
        CHECK_STR(p->string_table[p->sample_type[i]->unit], r.value_type[i].unit, "unit");
    }
    CHECK_STR(p->string_table[p->default_sample_type], "alloc_space", "default type");
    CHECK_STR(p->string_table[p->period_type->type], "space", "period type");
    CHECK_STR(p->string_table[p->period_type->unit], "bytes", "period unit");
    CHECK_INT(p->period, 524288, "period");
    CHECK_INT(p->time_nanos, FIXTURE_TIME_NS, "time");
    CHECK_INT(p->duration_nanos, 123, "duration");
    CHECK_INT(p->n_comment, 2, "comments");
    CHECK_STR(p->string_table[p->comment[1]], "two\nlines\n", "comment");
    CHECK_STR(p->string_table[0], "", "string 0");
    done(p, &a);
}

static void test_stacks_mappings_and_lines_arrive(void)
{
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "heap");
    Profile *p = round_trip(&r, &a);

    CHECK_INT(p->default_sample_type, 0, "no default type: the last");
    CHECK_INT(p->n_mapping, 2, "mappings");
    CHECK_INT(p->mapping[0]->memory_start, r.mapping[0].start, "start");
    CHECK_INT(p->mapping[0]->memory_limit, r.mapping[0].limit, "limit");
    CHECK_INT(p->mapping[0]->file_offset, r.mapping[0].offset, "offset");
    CHECK_STR(p->string_table[p->mapping[0]->filename], "/usr/bin/app", "file");
    CHECK_STR(p->string_table[p->mapping[0]->build_id], "0123456789abcdef", "build id");
    CHECK(p->mapping[0]->has_functions && p->mapping[0]->has_filenames &&
              p->mapping[0]->has_line_numbers && p->mapping[0]->has_inline_frames,
          "all four flags");
    CHECK(!p->mapping[1]->has_functions && !p->mapping[1]->has_filenames &&
              !p->mapping[1]->has_line_numbers && !p->mapping[1]->has_inline_frames,
          "no flag");
    CHECK_INT(p->n_location, 4, "locations");
    for (size_t i = 0; i < p->n_location; i++) {
        const struct prof__location *from = &r.location[i];

        CHECK_INT(p->location[i]->id, i + 1, "id");
        CHECK_INT(p->location[i]->mapping_id, from->mapping + 1, "mapping");
        CHECK_INT(p->location[i]->address, from->address, "address");
        CHECK_INT(p->location[i]->n_line, from->n_lines, "lines");
        for (size_t j = 0; j < from->n_lines; j++) {
            Perftools__Profiles__Line *line = p->location[i]->line[j];
            Perftools__Profiles__Function *f = p->function[line->function_id - 1];

            CHECK_INT(line->line, from->line[j].line, "line");
            CHECK_INT(f->id, line->function_id, "function id");
            CHECK_STR(p->string_table[f->name], from->line[j].name, "name");
            CHECK_STR(p->string_table[f->system_name], from->line[j].function, "system name");
            CHECK_STR(p->string_table[f->filename], from->line[j].file, "file name");
            CHECK_INT(f->start_line, from->line[j].start_line, "start line");
        }
    }
    CHECK_INT(p->n_function, 4, "functions");
    done(p, &a);
}

static void test_samples_come_largest_first_with_all_they_have(void)
{
    static const size_t order[] = { 1, 0, 2 }; /* by bytes in use */
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "heap");
    Profile *p = round_trip(&r, &a);

    CHECK_INT(p->n_sample, 3, "samples");
    for (size_t i = 0; i < 3; i++) {
        const struct prof__report_sample *from = &r.sample[order[i]];

        CHECK_INT(p->sample[i]->n_location_id, 2, "depth");
        for (size_t j = 0; j < 2; j++)
            CHECK_INT(p->sample[i]->location_id[j], from->location[j] + 1, "location");
        CHECK_INT(p->sample[i]->n_value, 4, "values");
        for (size_t j = 0; j < 4; j++)
            CHECK_INT(p->sample[i]->value[j], from->value[j], "value");
        CHECK_INT(p->sample[i]->n_label, from->n_labels, "labels");
        Perftools__Profiles__Label *bytes = p->sample[i]->label[0];
        CHECK_STR(p->string_table[bytes->key], "bytes", "key");
        CHECK_STR(p->string_table[bytes->num_unit], "bytes", "unit");
        CHECK_INT(bytes->num, from->label[0].number, "number");
        CHECK_INT(bytes->str, 0, "no text");
    }
    CHECK_STR(p->string_table[p->sample[1]->label[1]->key], "worker", "key of a text");
    CHECK_STR(p->string_table[p->sample[1]->label[1]->str], "A \"quoted\"", "text");
    done(p, &a);
}

static void test_equal_samples_keep_their_order(void)
{
    enum { N = 1000 };
    static uint32_t stack[N];
    static struct prof__report_sample sample[N];
    static struct prof__location location[N];
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "threads");
    int wrong = 0;

    for (uint32_t i = 0; i < N; i++) {
        stack[i] = i;
        location[i] = (struct prof__location)fixture_location(0x555555556000 + i, 0, 0, NULL);
        sample[i] = (struct prof__report_sample) { &stack[i], 1, 0, NULL, { i % 7 - 3 } };
    }
    r.sample = sample;
    r.location = location;
    r.n_samples = r.n_locations = N;
    Profile *p = round_trip(&r, &a);
    for (size_t i = 1; i < N; i++) {
        int64_t left = llabs(p->sample[i - 1]->value[0]), right = llabs(p->sample[i]->value[0]);

        wrong += left < right ||
                 (left == right && p->sample[i - 1]->location_id[0] > p->sample[i]->location_id[0]);
    }
    CHECK_INT(wrong, 0, "neighbours out of order");
    done(p, &a);
}

/* --- what every reader insists on ------------------------------------------------------------ */

static void test_a_function_is_its_name_file_and_start(void)
{
    static const struct prof__line line[] = {
        fixture_line("_Z1fv", "f", "a.c", 1, 1), /* one function, two lines */
        fixture_line("_Z1fv", "f", "a.c", 2, 1),
        fixture_line("_Z1fv", "f", "b.c", 1, 1), /* static ones of the same name */
        fixture_line("_Z1fv", "f", "a.c", 10, 9),
        fixture_line("_Z1fi", "f", "a.c", 1, 1), /* two for the linker */
        fixture_line("f", "f", NULL, 0, 0),
    };
    static const struct prof__location location[] = { fixture_location(0x555555556000, 0, 6,
                                                                       line) };
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "threads");

    r.n_samples = 0;
    r.location = location;
    r.n_locations = 1;
    Profile *p = round_trip(&r, &a);
    CHECK_INT(p->n_function, 5, "functions");
    CHECK_INT(p->location[0]->line[0]->function_id, p->location[0]->line[1]->function_id, "same");
    done(p, &a);
}

static void test_labels_have_one_value_a_key(void)
{
    static const struct prof__label label[] = {
        { "k", "first", 0, NULL }, { "", "no key", 0, NULL }, { "empty", "", 0, NULL },
        { "k", NULL, 5, "s" },     { "n", NULL, 0, "bytes" }, { "\xff", "x", 0, NULL },
        { "\xfe", "y", 0, NULL }, /* the same key as the one before, once it is made valid */
    };
    static const struct {
        const char *key, *str, *unit;
        int64_t num;
    } want[] = {
        { "k", "", "s", 5 },
        { "n", "", "bytes", 0 },
        { "\xef\xbf\xbd", "y", "", 0 },
    };
    static const uint32_t stack[] = { 0 };
    static const struct prof__report_sample sample = { stack, 1, ARRAY_LEN(label), label, { 1 } };
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "threads");

    r.sample = &sample;
    r.n_samples = 1;
    Profile *p = round_trip(&r, &a);
    CHECK_INT(p->sample[0]->n_label, ARRAY_LEN(want), "labels");
    for (size_t i = 0; i < ARRAY_LEN(want) && i < p->sample[0]->n_label; i++) {
        Perftools__Profiles__Label *l = p->sample[0]->label[i];

        CHECK_STR(p->string_table[l->key], want[i].key, "key");
        CHECK_STR(p->string_table[l->str], want[i].str, "text");
        CHECK_STR(p->string_table[l->num_unit], want[i].unit, "unit");
        CHECK_INT(l->num, want[i].num, "number");
    }
    done(p, &a);
}

static void test_a_sample_type_has_no_dash(void)
{
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "my-own-pool");
    r.default_type = "my-own-pool";
    Profile *p = round_trip(&r, &a);

    CHECK_STR(p->string_table[p->sample_type[0]->type], "my_own_pool", "sample type");
    CHECK_STR(p->string_table[p->period_type->type], "my_own_pool", "period type");
    CHECK_STR(p->string_table[p->default_sample_type], "my_own_pool", "default type");
    done(p, &a);
}

static void test_no_samples_is_a_valid_profile(void)
{
    static const char *const names[] = { "heap", "allocs", "mutex", "block", "profile", "threads" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct prof__arena a = { 0 };
        struct prof__report r = fixture_head(&a, names[i]);
        Profile *p = round_trip(&r, &a);

        CHECK(p && p->n_sample == 0, "%s", names[i]);
        CHECK_INT(p->n_sample_type, r.n_values, "sample types");
        CHECK(p->period_type && p->time_nanos, "period type and time: %s", names[i]);
        done(p, &a);
    }
}

static void test_extreme_values_arrive(void)
{
    static const int64_t value[] = { INT64_MIN, INT64_MAX, -1, 0 };
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "heap");
    struct prof__report_sample sample = r.sample[0];

    memcpy(sample.value, value, sizeof(value));
    r.sample = &sample;
    r.n_samples = 1;
    Profile *p = round_trip(&r, &a);
    for (size_t i = 0; i < 4; i++)
        CHECK_INT(p->sample[0]->value[i], value[i], "value");
    done(p, &a);
}

static void test_a_name_may_be_as_long_as_it_likes(void)
{
    static const size_t sizes[] = { 32767, 32768, 65536, 1 << 20 };

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct prof__arena a = { 0 };
        struct prof__report r = fixture_named(&a, "heap");
        char *name = fixture_array(&a, sizes[i] + 1, 1);
        struct prof__line line = fixture_line(name, name, name, 1, 1);
        struct prof__location location[4];

        memset(name, 'x', sizes[i]);
        memcpy(location, r.location, sizeof(location));
        location[2].line = &line;
        r.location = location;
        Profile *p = round_trip(&r, &a);
        uint64_t f = p->location[2]->line[0]->function_id;
        CHECK_INT(strlen(p->string_table[p->function[f - 1]->name]), sizes[i], "bytes of a name");
        done(p, &a);
    }
}

/* --- anything -------------------------------------------------------------------------------- */

static bool is_valid_utf8(const char *s)
{
    size_t n;

    while ((n = prof__utf8_next(s)) > 0)
        s += n;
    return !*s;
}

static int count_dangling(const Profile *p)
{
    int bad = 0;

    for (size_t i = 0; i < p->n_sample; i++) {
        bad += p->sample[i]->n_value != p->n_sample_type;
        for (size_t j = 0; j < p->sample[i]->n_location_id; j++)
            bad += p->sample[i]->location_id[j] - 1 >= p->n_location;
        for (size_t j = 0; j < p->sample[i]->n_label; j++) {
            const Perftools__Profiles__Label *l = p->sample[i]->label[j];

            bad += (uint64_t)l->key - 1 >= p->n_string_table - 1;
            bad += (uint64_t)l->str >= p->n_string_table;
            bad += (uint64_t)l->num_unit >= p->n_string_table;
        }
    }
    for (size_t i = 0; i < p->n_location; i++) {
        bad += p->location[i]->id != i + 1 || p->location[i]->mapping_id - 1 >= p->n_mapping;
        for (size_t j = 0; j < p->location[i]->n_line; j++)
            bad += p->location[i]->line[j]->function_id - 1 >= p->n_function;
    }
    for (size_t i = 0; i < p->n_function; i++)
        bad += p->function[i]->id != i + 1 || (uint64_t)p->function[i]->name >= p->n_string_table ||
               (uint64_t)p->function[i]->filename >= p->n_string_table;
    for (size_t i = 0; i < p->n_string_table; i++)
        bad += !is_valid_utf8(p->string_table[i]);
    return bad;
}

static void test_any_report_gives_a_sound_profile(void)
{
    enum { SEEDS = 100 };

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct prof__arena a = { 0 };
        struct prof__report r = fixture_random(&a, seed);
        Profile *p = round_trip(&r, &a);
        uint64_t want = 0, got = 0;

        CHECK(p, "seed %d decodes", (int)seed);
        if (!p)
            continue;
        for (size_t i = 0; i < r.n_samples; i++) {
            want += (uint64_t)r.sample[i].value[0];
            got += (uint64_t)p->sample[i]->value[0];
        }
        CHECK(p->n_sample == r.n_samples && got == want, "seed %d: all values", (int)seed);
        CHECK_INT(count_dangling(p), 0, "dangling references and broken strings");
        done(p, &a);
    }
}

/* --- when things fail ------------------------------------------------------------------------ */

/* Large enough for many calls of the sink: names that do not compress. */
static struct prof__report large_report(struct prof__arena *a)
{
    enum { N = 4000 };
    struct prof__report r = fixture_named(a, "heap");
    struct prof__location *location = fixture_array(a, N, sizeof(*location));
    uint64_t rng = 3;

    for (size_t i = 0; i < N; i++) {
        struct prof__line *line = fixture_array(a, 1, sizeof(*line));

        line->function = prof__arena_printf(
            a, "%016llx%016llx%016llx", (unsigned long long)prof__random(&rng),
            (unsigned long long)prof__random(&rng), (unsigned long long)prof__random(&rng));
        line->file = "x.c";
        line->name = line->function;
        location[i] = (struct prof__location)fixture_location(0x555555556000 + i, 0, 1, line);
    }
    r.location = location;
    r.n_locations = N;
    return r;
}

static void test_equal_reports_give_equal_bytes(void)
{
    struct fixture_sink s[2] = { { 0 }, { 0 } };

    for (size_t i = 0; i < 2; i++) {
        struct prof__arena a = { 0 };
        struct prof__report r = large_report(&a);

        CHECK_INT(prof__encode_pprof(&r, &a, fixture_sink, &s[i]), 0, "encode");
        prof__arena_free(&a);
    }
    CHECK(s[0].size == s[1].size && memcmp(s[0].data, s[1].data, s[0].size) == 0, "two runs");
    free(s[0].data);
    free(s[1].data);
}

static void test_a_sinks_error_comes_back(void)
{
    size_t calls = 2, before = prof__pages_total();

    for (size_t i = 1; i <= calls; i++) {
        struct fixture_sink s = { .fail_at = i, .error = -4242 };
        struct prof__arena a = { 0 };
        struct prof__report r = large_report(&a);
        int error = prof__encode_pprof(&r, &a, fixture_sink, &s);

        if (i == 1) { /* how often it is called when it does not fail */
            struct fixture_sink whole = { 0 };

            prof__encode_pprof(&r, &a, fixture_sink, &whole);
            calls = whole.calls;
            free(whole.data);
        }
        CHECK_INT(error, -4242, "the sink's error");
        CHECK_INT(s.calls, i, "calls of the sink");
        prof__arena_free(&a);
        free(s.data);
    }
    CHECK(calls >= 4, "several: %zu", calls);
    CHECK_INT(prof__pages_total(), before, "pages held");
}

static void test_without_memory_no_profile_is_complete(void)
{
    struct prof__arena report_arena = { 0 };
    struct prof__report r = large_report(&report_arena);
    int error = -ENOMEM;

    for (int n = 0; n < 100 && error < 0; n++) {
        struct fixture_sink s = { 0 };
        struct prof__arena a = { 0 };
        bool complete = false;
        size_t size;

        faults_mmap_left = n;
        error = prof__encode_pprof(&r, &a, fixture_sink, &s);
        faults_mmap_left = -1;
        free(inflate_all(&s, &size, &complete));
        CHECK(error == 0 ? complete : error == -ENOMEM && !complete, "after %d mappings: %d", n,
              error);
        prof__arena_free(&a);
        free(s.data);
    }
    CHECK_INT(error, 0, "with enough memory");
    prof__arena_free(&report_arena);
}

static void test_nothing_comes_from_malloc(void)
{
    struct prof__arena a = { 0 };
    struct prof__report r = fixture_named(&a, "heap");
    struct fixture_sink s = { .fail_at = 1 }; /* answers 0, and keeps nothing */
    int before = faults_mallocs;

    CHECK_INT(prof__encode_pprof(&r, &a, fixture_sink, &s), 0, "encode");
    CHECK_INT(faults_mallocs - before, 0, "calls of malloc");
    prof__arena_free(&a);
}

int main(void)
{
    test_the_head_arrives();
    test_stacks_mappings_and_lines_arrive();
    test_samples_come_largest_first_with_all_they_have();
    test_equal_samples_keep_their_order();
    test_a_function_is_its_name_file_and_start();
    test_labels_have_one_value_a_key();
    test_a_sample_type_has_no_dash();
    test_no_samples_is_a_valid_profile();
    test_extreme_values_arrive();
    test_a_name_may_be_as_long_as_it_likes();
    test_any_report_gives_a_sound_profile();
    test_equal_reports_give_equal_bytes();
    test_a_sinks_error_comes_back();
    test_without_memory_no_profile_is_complete();
    test_nothing_comes_from_malloc();
    return check_report();
}
