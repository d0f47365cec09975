/*
 * test_report.c - what a profile has to say about itself is in its comments whole, or it is said
 * that there is more.
 */
#include "profile/report.h"

#include <stdio.h>

#include "check.h"
#include "profile/registry.h"

static int sentences;

static int say(char *buf, size_t size)
{
    int n = 0;

    for (int i = 0; i < sentences; i++)
        n += snprintf(size > (size_t)n ? buf + n : NULL, size > (size_t)n ? size - (size_t)n : 0,
                      "%d %0200d\n", i, 0);
    return n;
}

static void test_comments(void)
{
    static const struct {
        int sentences;
        size_t comments;
        const char *last;
    } cases[] = {
        { 1, 1, "0 0000" },
        { 6, 6, "5 0000" }, /* more than 1,024 bytes */
        { 14, 14, "13 000" },
        { 30, 14, "there is more to be said" },
    };
    const struct prof_profile p = {
        .name = "talkative",
        .description = "",
        .table = PROF__TABLE_CUSTOM,
        .n_values = 1,
        .value_type = { { "talkative", "count" } },
        .period_type = { "talkative", "count" },
        .status = say,
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prof__arena a = { 0 };
        struct prof__snapshot s = { 0 };
        struct prof__report r;

        sentences = cases[i].sentences;
        CHECK_INT(prof__report_build(&p, &s, &(struct prof__report_options) { 0 }, &a, &r), 0,
                  cases[i].last);
        CHECK_INT(r.n_comments, cases[i].comments, cases[i].last);
        CHECK(r.n_comments &&
                  strncmp(r.comment[r.n_comments - 1], cases[i].last, strlen(cases[i].last)) == 0,
              "the last: %s", r.n_comments ? r.comment[r.n_comments - 1] : "none");
        prof__arena_free(&a);
    }
}

int main(void)
{
    test_comments();
    return check_report();
}
