/*
 * test_record.c - numbers over time are kept for as long as promised, whole, and in their order.
 */
#include "capture/record.h"

#include <pthread.h>
#include <stdlib.h>

#include "check.h"

enum { MOST = PROF_VARS_MINUTES_MAX };

static uint64_t value[MOST][PROF__VARS];

static struct prof__record *new_record(void)
{
    struct prof__record *r = calloc(1, sizeof(*r));

    prof__record_init(r);
    return r;
}

static void add(struct prof__record *r, uint64_t time_ms, uint64_t rss, uint64_t cpu)
{
    uint64_t v[PROF__VARS];

    for (unsigned i = 0; i < PROF__VARS; i++)
        v[i] = PROF_VARS_MISSING;
    v[PROF__VAR_TIME_MS] = time_ms;
    v[PROF__VAR_RSS] = rss;
    v[PROF__VAR_CPU] = cpu;
    prof__record_add(r, v);
}

static void test_ten_minutes_and_a_day_are_kept(void)
{
    static const struct {
        const char *name;
        unsigned noted;
        size_t seconds, minutes;
    } cases[] = {
        { "nothing", 0, 0, 0 },
        { "the first second", 1, 1, 0 },
        { "a minute", 60, 60, 1 },
        { "ten minutes", 600, 600, 10 },
        { "one second more", 601, 600, 10 },
        { "a day", 86400, 600, 1440 },
        { "two days and a bit", 2 * 86400 + 61, 600, 1440 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct prof__record *r = new_record();

        for (unsigned s = 0; s < cases[i].noted; s++)
            add(r, 1000 + s * 1000ull, s, s);
        size_t n = prof__record_read(r, PROF_VARS_SECOND, MOST, value);
        CHECK_INT(n, cases[i].seconds, cases[i].name);
        for (size_t k = 0; k < n; k++) /* the latest, oldest first */
            if (value[k][PROF__VAR_RSS] != cases[i].noted - n + k) {
                CHECK_INT(value[k][PROF__VAR_RSS], cases[i].noted - n + k, cases[i].name);
                break;
            }
        n = prof__record_read(r, PROF_VARS_MINUTE, MOST, value);
        CHECK_INT(n, cases[i].minutes, cases[i].name);
        if (n)
            CHECK_INT(value[n - 1][PROF__VAR_RSS], cases[i].noted / 60 * 60 - 1, "the last minute");
        CHECK_INT(prof__record_read(r, PROF_VARS_SECOND, 3, value),
                  n || cases[i].noted > 2 ? 3u : cases[i].noted, "no more than is asked for");
        free(r);
    }
}

static void test_a_minute_has_the_highest_state_and_the_last_total(void)
{
    struct prof__record *r = new_record();

    for (unsigned s = 0; s < 60; s++)
        add(r, 1000 + s * 1000,
            s == 7    ? 900
            : s == 20 ? PROF_VARS_MISSING
                      : 100,
            s < 50 ? s : PROF_VARS_MISSING);
    CHECK_INT(prof__record_read(r, PROF_VARS_MINUTE, MOST, value), 1u, "a minute");
    CHECK_INT(value[0][PROF__VAR_RSS], 900u, "a peak of one second is seen");
    CHECK_INT(value[0][PROF__VAR_CPU], 49u, "the last that is known");
    CHECK_INT(value[0][PROF__VAR_TIME_MS], 60000u, "the time of its end");
    CHECK(value[0][PROF__VAR_SWAP] == PROF_VARS_MISSING, "what was never known is not 0");
    free(r);
}

static void test_a_pause_is_no_minute(void)
{
    struct prof__record *r = new_record();

    for (unsigned s = 0; s < 30; s++)
        add(r, 1000 + s * 1000, 5, s);
    for (unsigned s = 0; s < 60; s++) /* an hour later: the process was stopped */
        add(r, 3600000 + s * 1000, 6, 100 + s);
    CHECK_INT(prof__record_read(r, PROF_VARS_MINUTE, MOST, value), 2u, "before and after it");
    CHECK_INT(value[0][PROF__VAR_TIME_MS], 30000u, "what came before is not given a later time");
    CHECK_INT(value[0][PROF__VAR_RSS], 5u, "nor are the two mixed");
    CHECK_INT(value[1][PROF__VAR_RSS], 6u, "nor are the two mixed");
    free(r);
}

/* --- a reader beside the writer --------------------------------------------------------------- */

enum { WRITES = 400000 };

static void *write_many(void *record)
{
    for (unsigned i = 0; i < WRITES; i++)
        add(record, 1000 + i * 1000ull, i, i);
    return NULL;
}

/* Whoever reads what is being written over would find two moments in one point, or a step back. */
static void test_a_reader_sees_whole_points_in_their_order(void)
{
    struct prof__record *r = new_record();
    uint64_t last = 0, torn = 0, backwards = 0, reads = 0;
    pthread_t writer;

    pthread_create(&writer, NULL, write_many, r);
    while (last < WRITES - 1) {
        size_t n = prof__record_read(r, PROF_VARS_SECOND, MOST, value);

        reads++;
        for (size_t i = 0; i < n; i++) {
            uint64_t rss = value[i][PROF__VAR_RSS];

            torn +=
                rss != value[i][PROF__VAR_CPU] || value[i][PROF__VAR_TIME_MS] != 1000 + rss * 1000;
            backwards += i && rss != value[i - 1][PROF__VAR_RSS] + 1;
        }
        if (n)
            last = value[n - 1][PROF__VAR_RSS];
    }
    pthread_join(writer, NULL);
    CHECK_INT(torn, 0u, "points of two moments");
    CHECK_INT(backwards, 0u, "points out of order");
    CHECK(reads > 1, "something was read meanwhile");
    free(r);
}

int main(void)
{
    test_ten_minutes_and_a_day_are_kept();
    test_a_minute_has_the_highest_state_and_the_last_total();
    test_a_pause_is_no_minute();
    test_a_reader_sees_whole_points_in_their_order();
    return check_report();
}
