/*
 * test_capture_judge.c - each rule over recorded series: it fires when it should, once, cools down,
 * and says why it did not.
 */
#include "capture/judge.h"

#include <math.h>

#include "check.h"

static struct prof__rules rules;
static struct prof__judgement j[PROF__RULES_MAX];

static void begin(const char *text)
{
    struct prof__rules_error error;

    memset(j, 0, sizeof(j));
    CHECK_INT(prof__rules_parse(text, NULL, &rules, &error), 0, text);
}

static struct prof__reading reading(int64_t time_ms, double value)
{
    struct prof__reading r = { .time_ms = time_ms, .limit = 1000 };

    for (unsigned q = 0; q < PROF__QUANTITIES; q++)
        r.value[q] = value;
    return r;
}

/* A step: from that second on the number is this. */
struct step {
    int64_t from_s;
    double value;
};

enum { STEPS = 6, FIRES = 6 };

static double value_at(const struct step *step, int64_t s)
{
    double v = step[0].value;

    for (size_t i = 0; i < STEPS && (i == 0 || step[i].from_s); i++)
        if (step[i].from_s <= s)
            v = step[i].value;
    return v;
}

/* One look a second, from second 1 to `end_s`; where it fired. */
static void test_each_rule_over_its_series(void)
{
    static const struct {
        const char *name, *rule;
        struct step step[STEPS];
        int64_t end_s;
        int64_t fires_s[FIRES]; /* the seconds at which it fires; 0: no more */
        const char *why;        /* part of the explanation at the end */
    } cases[] = {
        { "below", "mem>80%", { { 0, 700 } }, 100, { 0 }, "700 B is not above 800 B" },
        { "at the mark is not above it", "mem>80%", { { 0, 800 } }, 9, { 0 }, "is not above" },
        { "above, once",
          "mem>80%",
          { { 0, 700 }, { 50, 801 } },
          100,
          { 50 },
          "cooling down for another 10 min" },
        { "again when it has cooled down",
          "mem>80%",
          { { 0, 900 } },
          1300,
          { 1, 601, 1201 },
          "cooling down" },
        { "a peak of one look",
          "mem>80%",
          { { 0, 1 }, { 30, 900 }, { 31, 1 } },
          60,
          { 30 },
          "is not above" },
        { "own cooldown", "mem>80% cooldown 20s", { { 0, 900 } }, 50, { 1, 21, 41 }, "cooling" },
        { "sizes", "rss>500", { { 0, 500 }, { 5, 501 } }, 9, { 5 }, "cooling" },
        { "threads", "threads>2000", { { 0, 5 }, { 7, 2001 } }, 9, { 7 }, "2001 is above 2000" },
        { "events, a second",
          "events.max>0",
          { { 0, 0 }, { 7, 0.2 }, { 12, 0 } },
          20,
          { 7 },
          "0/s is not above 0/s" },
        { "cut-off", "mem>80%<95%", { { 0, 100 }, { 5, 950 } }, 9, { 0 }, "reached the cut-off" },
        { "below the cut-off", "mem>80%<95%", { { 0, 100 }, { 5, 949 } }, 9, { 5 }, "cooling" },
        { "warm-up",
          "mem>80%; warmup 30s",
          { { 0, 900 } },
          20,
          { 0 },
          "warming up for another 10 s" },
        { "after the warm-up", "mem>80%; warmup 30s", { { 0, 900 } }, 40, { 30 }, "cooling" },
        { "mean of a window",
          "cpu>90%/30s",
          { { 0, 10 }, { 50, 99 }, { 60, 10 } },
          200,
          { 0 },
          "is not above" },
        { "mean of a window, long enough",
          "cpu>90%/30s",
          { { 0, 10 }, { 50, 100 } },
          90,
          { 77 },
          "cooling" },
        { "no mean yet", "cpu>90%/30s", { { 0, 100 } }, 20, { 0 }, "its mean is known in 11 s" },
        { "no mean yet, then it is", "cpu>90%/30s", { { 0, 100 } }, 40, { 31 }, "cooling" },
        { "above the window's cut-off", "cpu>90%/30s<98%", { { 0, 99 } }, 60, { 0 }, "cut-off" },
        { "growth over a mean",
          "mem+25%/60s",
          { { 0, 400 }, { 100, 490 }, { 200, 600 } },
          250,
          { 0 },
          "is not above" },
        { "growth by more",
          "mem+25%/60s",
          { { 0, 400 }, { 100, 520 } },
          300,
          { 100 },
          "is not above" },
        { "a slow rise fires when steep enough",
          "mem+100/60s",
          { { 0, 400 }, { 100, 450 }, { 120, 500 }, { 140, 560 } },
          300,
          { 140 },
          "is not above" },
        { "growth needs its window",
          "mem+25%/10m",
          { { 0, 1 }, { 60, 900 } },
          300,
          { 0 },
          "its mean is known in 6 min" },
        { "peaks",
          "peak+100 cooldown 1s",
          { { 0, 50 }, { 10, 149 }, { 20, 150 }, { 30, 249 }, { 40, 250 }, { 50, 60 } },
          100,
          { 20, 40 },
          "250 B is not above 350 B" },
        { "peaks count from the end of the warm-up",
          "peak+100; warmup 10s",
          { { 0, 50 }, { 5, 300 }, { 30, 390 } },
          50,
          { 0 },
          "is not above" },
        { "peaks by percent",
          "peak+50% cooldown 1s",
          { { 0, 100 }, { 5, 150 }, { 9, 225 } },
          20,
          { 5, 9 },
          "is not above" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t fired = 0;
        char why[160];

        begin(cases[i].rule);
        for (int64_t s = 1; s <= cases[i].end_s; s++) {
            struct prof__reading r = reading(s * 1000, value_at(cases[i].step, s));

            if (!prof__judge(&rules.rule[0], &j[0], &r, 0, rules.warmup_ms))
                continue;
            prof__judge_fired(&j[0], r.time_ms);
            if (fired < FIRES)
                CHECK_INT(s, cases[i].fires_s[fired], cases[i].name);
            fired++;
        }
        size_t want = 0;
        while (want < FIRES && cases[i].fires_s[want])
            want++;
        CHECK_INT(fired, want, cases[i].name);
        CHECK_INT(j[0].fired, want, cases[i].name);
        prof__judge_explain(&rules.rule[0], &j[0], cases[i].end_s * 1000, why, sizeof(why));
        CHECK(strstr(why, cases[i].why), "%s: %s", cases[i].name, why);
    }
}

static void test_what_cannot_be_had_is_said(void)
{
    struct prof__reading r = reading(1000, NAN);
    char why[160];

    begin("heap>1g | mem>80% | mem+25%/1m");
    for (unsigned i = 0; i < rules.n; i++) {
        CHECK(!prof__judge(&rules.rule[i], &j[i], &r, 0, 0), "nothing is above nothing");
        prof__judge_explain(&rules.rule[i], &j[i], 1000, why, sizeof(why));
        CHECK_STR(why, "this number cannot be had here", rules.rule[i].text);
    }
    r = reading(1000, 5e9);
    r.limit = NAN;
    CHECK(prof__judge(&rules.rule[0], &j[0], &r, 0, 0), "a size needs no limit");
    CHECK(!prof__judge(&rules.rule[1], &j[1], &r, 0, 0), "a percentage does");
    prof__judge_explain(&rules.rule[1], &j[1], 1000, why, sizeof(why));
    CHECK_STR(why, "there is no limit that this could be a part of", rules.rule[1].text);
}

/* Looks come at any distance; a mean is of time, not of looks. */
static void test_a_mean_is_of_time(void)
{
    static const int64_t at_ms[] = { 1000, 1005, 1010, 1015, 6000, 11000, 11001, 11002, 31000 };
    bool fires = false;

    begin("cpu>50%/30s");
    for (size_t i = 0; i < sizeof(at_ms) / sizeof(at_ms[0]); i++) {
        /* 100 % for ten seconds in many looks, 0 % for twenty in one */
        struct prof__reading r = reading(at_ms[i], at_ms[i] < 12000 ? 100 : 0);

        fires = prof__judge(&rules.rule[0], &j[0], &r, 0, 0);
    }
    CHECK(!fires, "a third of the time is not above half");
    CHECK_BETWEEN(j[0].now, 30, 37, "mean");
}

static void test_looks_come_as_fast_as_the_room_demands(void)
{
    static const struct {
        const char *rules;
        double used, growth; /* of 1000 */
        int64_t pause_ms;
    } cases[] = {
        { "mem>80%", 100, 0, 5000 },    { "mem>80%", 100, 1, 5000 },
        { "mem>80%", 790, 1, 1250 },    { "mem>80%", 100, 1000, 87 },
        { "mem>80%", 799, 1000, 5 },    { "mem>90% | rss>80%", 700, 100, 125 },
        { "threads>5", 1, 1e9, 5000 },  { "cpu>90%/30s", 1, 1e9, 3000 },
        { "cpu>90%/2s", 1, 1e9, 1000 }, { "heap>2000", 900, 10, 1250 }, /* the limit is nearer */
        { "peak+100", 500, 10, 1250 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct prof__reading r = reading(1000, cases[i].used);

        begin(cases[i].rules);
        for (unsigned k = 0; k < rules.n; k++)
            prof__judge(&rules.rule[k], &j[k], &r, 0, 0);
        double room = prof__judge_room(&rules, j, &r);
        CHECK_INT(prof__judge_pause_ms(&rules, room, cases[i].growth), cases[i].pause_ms,
                  cases[i].rules);
    }
}

/* What has fired needs no haste until it may fire again. */
static void test_no_haste_while_cooling_down(void)
{
    struct prof__reading r = reading(1000, 900);

    begin("mem>80%");
    CHECK(prof__judge(&rules.rule[0], &j[0], &r, 0, 0), "fires");
    prof__judge_fired(&j[0], 1000);
    r.time_ms = 2000;
    prof__judge(&rules.rule[0], &j[0], &r, 0, 0);
    CHECK(isinf(prof__judge_room(&rules, j, &r)), "nothing to wait for");
    CHECK_INT(prof__judge_pause_ms(&rules, INFINITY, 1e9), 5000, "at rest");
}

/* What the flight recorder has is over soon. */
static void test_stalls_are_looked_for_often(void)
{
    struct prof__reading r = reading(1000, 0);

    begin("stall>200ms -> trace");
    r.value[PROF__QUANTITY_STALL] = 199;
    CHECK(!prof__judge(&rules.rule[0], &j[0], &r, 0, 0), "not yet");
    r.value[PROF__QUANTITY_STALL] = 201;
    CHECK(prof__judge(&rules.rule[0], &j[0], &r, 0, 0), "fires");
    CHECK_INT(prof__judge_pause_ms(&rules, INFINITY, 0), 200, "by what is too long");
    begin("stall>1ms -> trace");
    CHECK_INT(prof__judge_pause_ms(&rules, INFINITY, 0), 100, "not more often");
    begin("stall>1m -> trace");
    CHECK_INT(prof__judge_pause_ms(&rules, INFINITY, 0), 1000, "nor less");
}

int main(void)
{
    test_each_rule_over_its_series();
    test_what_cannot_be_had_is_said();
    test_a_mean_is_of_time();
    test_looks_come_as_fast_as_the_room_demands();
    test_no_haste_while_cooling_down();
    test_stalls_are_looked_for_often();
    return check_report();
}
