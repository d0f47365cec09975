/*
 * test_http_params.c - request targets, queries and numbers are read as Go reads them.
 */
#include "params.h"

#include <errno.h>
#include <stdlib.h>

#include "check.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void test_targets_come_apart(void)
{
    static const struct {
        const char *raw, *path, *query, *host;
        int r;
    } cases[] = {
        { "/debug/pprof/heap", "/debug/pprof/heap", "", NULL, 0 },
        { "/a?b=c", "/a", "b=c", NULL, 0 },
        { "/a?b?c", "/a", "b?c", NULL, 0 },
        { "/%68eap", "/heap", "", NULL, 0 },
        { "/a%2Fb%2fc", "/a/b/c", "", NULL, 0 },
        { "/a+b", "/a+b", "", NULL, 0 },
        { "/a%20b", "/a b", "", NULL, 0 },
        { "/%", NULL, NULL, NULL, -EINVAL },
        { "/%4", NULL, NULL, NULL, -EINVAL },
        { "/%4g", NULL, NULL, NULL, -EINVAL },
        { "/%00", NULL, NULL, NULL, -EINVAL },
        { "/a?%zz", "/a", "%zz", NULL, 0 },
        { "/../x//y", "/../x//y", "", NULL, 0 },
        { "*", "*", "", NULL, 0 },
        { "", "", "", NULL, 0 },
        { "http://host:1/a?b", "/a", "b", "host:1", 0 },
        { "HTTP://host/a", "/a", "", "host", 0 },
        { "http://host", "/", "", "host", 0 },
        { "http://host?q", "/", "q", "host", 0 },
        { "http://", "/", "", "", 0 },
        { "http:///a", "/a", "", "", 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *raw = strdup(cases[i].raw);
        struct prof__target t = { 0 };
        int r = prof__target_parse(raw, &t);

        CHECK_INT(r, cases[i].r, cases[i].raw);
        if (r == 0) {
            CHECK_STR(t.path, cases[i].path, cases[i].raw);
            CHECK_STR(t.query, cases[i].query, cases[i].raw);
            CHECK((t.host == NULL) == (cases[i].host == NULL), "host of %s", cases[i].raw);
            if (t.host && cases[i].host)
                CHECK_STR(t.host, cases[i].host, cases[i].raw);
        }
        free(raw);
    }
}

static void test_query_values(void)
{
    static const struct {
        const char *query, *name, *value;
        int r;
    } cases[] = {
        { "", "debug", NULL, -ENOENT },
        { "debug=1", "debug", "1", 1 },
        { "debug=", "debug", "", 0 },
        { "debug", "debug", "", 0 },
        { "a=1&debug=2&debug=3", "debug", "2", 1 },
        { "xdebug=1&debugx=2", "debug", NULL, -ENOENT },
        { "d%65bug=%31", "debug", "1", 1 },
        { "debug=a+b%2Bc", "debug", "a b+c", 5 },
        { "debug=%&debug=2", "debug", "2", 1 },
        { "debug=1%00&debug=2", "debug", NULL, -EILSEQ }, /* in Go it is the value */
        { "%&debug=2", "debug", "2", 1 },
        { "a;debug=1&debug=2", "debug", "2", 1 },
        { "&&&debug=2&&", "debug", "2", 1 },
        { "debug=1=2", "debug", "1=2", 3 },
        { "=x", "debug", NULL, -ENOENT },
        { "=x", "", "x", 1 },
        { "a_name_longer_than_any_that_is_asked_for_here=1&debug=2", "debug", "2", 1 },
        { "debug=0123456", "debug", "0123456", 7 },
        { "debug=01234567", "debug", NULL, -E2BIG },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[8] = "untold!";
        int r = prof__param_text(cases[i].query, cases[i].name, buf, sizeof(buf));

        CHECK_INT(r, cases[i].r, cases[i].query);
        if (r >= 0)
            CHECK_STR(buf, cases[i].value, cases[i].query);
    }
}

static void test_integers(void)
{
    static const struct {
        const char *text;
        int r;
        int64_t value;
    } cases[] = {
        { "0", 0, 0 },
        { "1", 0, 1 },
        { "+1", 0, 1 },
        { "-1", 0, -1 },
        { "007", 0, 7 },
        { "9223372036854775807", 0, INT64_MAX },
        { "-9223372036854775808", 0, INT64_MIN },
        { "9223372036854775808", -ERANGE, INT64_MAX },
        { "-9223372036854775809", -ERANGE, INT64_MIN },
        { "99999999999999999999999999", -ERANGE, INT64_MAX },
        { "", -EINVAL, 0 },
        { "+", -EINVAL, 0 },
        { "-", -EINVAL, 0 },
        { " 1", -EINVAL, 0 },
        { "1 ", -EINVAL, 0 },
        { "1.5", -EINVAL, 0 },
        { "0x5", -EINVAL, 0 },
        { "1_000", -EINVAL, 0 },
        { "--1", -EINVAL, 0 },
        { "99999999999999999999999999x", -EINVAL, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t value = 0;

        CHECK_INT(prof__parse_int(cases[i].text, &value), cases[i].r, cases[i].text);
        CHECK_INT(value, cases[i].value, cases[i].text);
    }
}

static void test_numbers_of_a_query(void)
{
    static const struct {
        const char *query;
        int r;
        int64_t value;
    } numbers[] = {
        { "n=12", 0, 12 },
        { "a=1&n=-3&n=4", 0, -3 },
        { "n=9223372036854775808", -ERANGE, INT64_MAX },
        { "", -ENOENT, 7 },
        { "n", -ENOENT, 7 },
        { "n=", -ENOENT, 7 },
        { "n=1%00", -EINVAL, 7 },
        { "n=x", -EINVAL, 7 },
        { "n=0000000000000000000000000000000000000000000000000000000000000001", -EINVAL, 7 },
    },
      durations[] = {
          { "n=90", 0, 90 },
          { "n=90s", 0, 90 },
          { "n=10m", 0, 600 },
          { "n=2h", 0, 7200 },
          { "n=1d", 0, 86400 },
          { "n=0", 0, 0 },
          { "n=2147483647", 0, INT32_MAX },
          { "n=2147483648", -EINVAL, 7 },
          { "n=24855d", 0, 24855 * INT64_C(86400) },
          { "n=24856d", -EINVAL, 7 },
          { "n=9223372036854775807h", -EINVAL, 7 },
          { "", -ENOENT, 7 },
          { "n=", -ENOENT, 7 },
          { "n=-1", -EINVAL, 7 },
          { "n=-1s", -EINVAL, 7 },
          { "n=s", -EINVAL, 7 },
          { "n=1w", -EINVAL, 7 },
          { "n=1ms", -EINVAL, 7 },
          { "n=1%00", -EINVAL, 7 },
          { "n=00000000000000000000000000000001", -EINVAL, 7 },
      };

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        int64_t value = 7;

        CHECK_INT(prof__param_int(numbers[i].query, "n", &value), numbers[i].r, numbers[i].query);
        CHECK_INT(value, numbers[i].value, numbers[i].query);
    }
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        int64_t value = 7;

        CHECK_INT(prof__param_duration(durations[i].query, "n", &value), durations[i].r,
                  durations[i].query);
        CHECK_INT(value, durations[i].value, durations[i].query);
    }
}

static void test_addresses(void)
{
    static const struct {
        const char *text;
        int r;
        uint64_t value;
    } cases[] = {
        { "0x1f", 0, 0x1f },
        { "0X1F", 0, 0x1f },
        { "31", 0, 31 },
        { "017", 0, 15 },
        { "0o17", 0, 15 },
        { "0b101", 0, 5 },
        { "0", 0, 0 },
        { "00", 0, 0 },
        { "0xffffffffffffffff", 0, UINT64_MAX },
        { "18446744073709551615", 0, UINT64_MAX },
        { "0x10000000000000000", -EINVAL, 0 },
        { "18446744073709551616", -EINVAL, 0 },
        { "", -EINVAL, 0 },
        { "0x", -EINVAL, 0 },
        { "0b2", -EINVAL, 0 },
        { "08", -EINVAL, 0 },
        { "zz", -EINVAL, 0 },
        { "-1", -EINVAL, 0 },
        { "0x 1", -EINVAL, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t value = 0;
        int r = prof__parse_address(cases[i].text, strlen(cases[i].text), &value);

        CHECK_INT(r, cases[i].r, cases[i].text);
        CHECK(value == cases[i].value, "%s", cases[i].text);
    }
    uint64_t value;
    CHECK_INT(prof__parse_address("0x12345", 4, &value), 0, "only size bytes are read");
    CHECK_INT(value, 0x12, "only size bytes are read");
}

int main(void)
{
    test_targets_come_apart();
    test_query_values();
    test_integers();
    test_numbers_of_a_query();
    test_addresses();
    return check_report();
}
