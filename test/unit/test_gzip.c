/*
 * test_gzip.c - what goes in comes out again, whatever the pieces, and a sink's error comes back.
 */
#include "encode/gzip.h"

#include <zlib.h>

#include "base/random.h"
#include "check.h"
#include "encode_fixture.h"
#include "faults.h"

enum { PLAIN_SIZE = 1 << 20 };

/* Text-like and random stretches by turns, so that both deflated and stored blocks occur. */
static unsigned char *make_plain(void)
{
    unsigned char *plain = malloc(PLAIN_SIZE);
    uint64_t rng = 1;

    for (size_t i = 0; plain && i < PLAIN_SIZE; i++)
        plain[i] = i >> 16 & 1 ? (unsigned char)prof__random(&rng) : (unsigned char)(i * i >> 9);
    return plain;
}

/* Whether the sink holds one whole gzip member of exactly these bytes. */
static bool unpacks_to(const struct fixture_sink *s, const void *plain, size_t size)
{
    unsigned char *out = malloc(size + 1);
    z_stream z = { .next_in = (unsigned char *)s->data, .avail_in = (unsigned)s->size };

    z.next_out = out;
    z.avail_out = (unsigned)size + 1;
    inflateInit2(&z, 15 + 16);
    int r = inflate(&z, Z_FINISH);
    bool same = r == Z_STREAM_END && z.avail_in == 0 && z.total_out == size &&
                memcmp(out, plain, size) == 0;
    inflateEnd(&z);
    free(out);
    return same;
}

/* Compress plain[0..size) in pieces of 1 to max_piece bytes. */
static int compress_pieces(const unsigned char *plain, size_t size, size_t max_piece,
                           struct fixture_sink *s)
{
    struct prof__arena a = { 0 };
    struct prof__gzip *z;
    uint64_t rng = 7;
    int r = prof__gzip_open(&a, fixture_sink, s, &z);

    for (size_t at = 0; r == 0 && at < size;) {
        size_t n = 1 + fixture_below(&rng, max_piece);

        n = PROF_MIN(n, size - at);
        r = prof__gzip_write(z, plain + at, n);
        at += n;
    }
    int closed = r == 0 ? prof__gzip_close(z) : 0;
    prof__arena_free(&a);
    return r < 0 ? r : closed;
}

static void test_any_pieces_unpack_to_the_whole(const unsigned char *plain)
{
    static const struct {
        size_t size, max_piece;
    } cases[] = {
        { 0, 1 }, { 1, 1 }, { 100000, 1 }, { PLAIN_SIZE, 300 }, { PLAIN_SIZE, PLAIN_SIZE },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture_sink s = { 0 };

        CHECK_INT(compress_pieces(plain, cases[i].size, cases[i].max_piece, &s), 0, "compress");
        CHECK(unpacks_to(&s, plain, cases[i].size), "%zu bytes in pieces of up to %zu",
              cases[i].size, cases[i].max_piece);
        free(s.data);
    }
}

static void test_the_header_names_no_time_and_no_system(const unsigned char *plain)
{
    static const char header[] = { '\x1f', '\x8b', 8, 0, 0, 0, 0, 0 };
    struct fixture_sink s = { 0 };

    compress_pieces(plain, 1000, 100, &s);
    CHECK(memcmp(s.data, header, sizeof(header)) == 0, "magic, deflate, no flags, no time");
    CHECK_INT(s.data[9], 0, "operating system");
    free(s.data);
}

static void test_a_sinks_error_comes_back_and_ends_the_writing(const unsigned char *plain)
{
    struct fixture_sink whole = { 0 };

    compress_pieces(plain, PLAIN_SIZE, 5000, &whole);
    CHECK(whole.calls > 10, "the sink is called often: %zu", whole.calls);
    for (size_t i = 1; i <= whole.calls; i++) {
        struct fixture_sink s = { .fail_at = i, .error = -1000 - (int)i };
        struct prof__arena a = { 0 };
        struct prof__gzip *z;

        prof__gzip_open(&a, fixture_sink, &s, &z);
        for (size_t at = 0; at < PLAIN_SIZE; at += 4096) /* goes on, as if nothing had happened */
            prof__gzip_write(z, plain + at, 4096);
        CHECK_INT(prof__gzip_close(z), -1000 - (int)i, "the first error is the one returned");
        CHECK_INT(s.calls, i, "no call after it");
        prof__arena_free(&a);
        free(s.data);
    }
    free(whole.data);
}

static int positive_sink(void *arg, const void *data, size_t size)
{
    fixture_sink(arg, data, size);
    return (int)size; /* as a sink around write(2) might */
}

static void test_a_positive_answer_is_no_error(const unsigned char *plain)
{
    struct fixture_sink s = { 0 };
    struct prof__arena a = { 0 };
    struct prof__gzip *z;

    prof__gzip_open(&a, positive_sink, &s, &z);
    CHECK_INT(prof__gzip_write(z, plain, PLAIN_SIZE), 0, "write");
    CHECK_INT(prof__gzip_close(z), 0, "close");
    CHECK(unpacks_to(&s, plain, PLAIN_SIZE), "all is there");
    prof__arena_free(&a);
    free(s.data);
}

static void test_nothing_comes_from_malloc(const unsigned char *plain)
{
    struct fixture_sink s = { .fail_at = 1 }; /* answers 0, and keeps nothing, so takes nothing */
    int before = faults_mallocs;

    compress_pieces(plain, 20000, 100, &s);
    CHECK_INT(faults_mallocs - before, 0, "calls of malloc");
}

static void test_without_memory_it_says_so(void)
{
    size_t before = prof__pages_total();
    bool opened = false;

    for (int n = 0; n < 20 && !opened; n++) {
        struct prof__arena a = { 0 };
        struct prof__gzip *z = NULL;

        faults_mmap_left = n;
        int r = prof__gzip_open(&a, fixture_sink, NULL, &z);
        faults_mmap_left = -1;
        opened = r == 0;
        CHECK(opened ? z != NULL : r == -ENOMEM && !z, "after %d mappings: %d", n, r);
        prof__arena_free(&a);
    }
    CHECK(opened, "with enough it opens");
    CHECK_INT(prof__pages_total(), before, "pages held");
    CHECK_INT(prof__gzip_close(NULL), 0, "closing nothing");
}

int main(void)
{
    unsigned char *plain = make_plain();

    if (!plain)
        return 2;
    test_any_pieces_unpack_to_the_whole(plain);
    test_the_header_names_no_time_and_no_system(plain);
    test_a_sinks_error_comes_back_and_ends_the_writing(plain);
    test_a_positive_answer_is_no_error(plain);
    test_nothing_comes_from_malloc(plain);
    test_without_memory_it_says_so();
    free(plain);
    return check_report();
}
