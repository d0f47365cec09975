/*
 * test_capture_rules.c - what LIBPROF_CAPTURE says is understood, and what is wrong in it is told
 * with its column.
 */
#include "capture/rules.h"

#include <stdlib.h>

#include "check.h"

static struct prof__rules rules;
static struct prof__rules_error error;

static bool is_profile(const char *name)
{
    return strcmp(name, "heap") == 0 || strcmp(name, "threads") == 0 || strchr(name, '/');
}

static int parse(const char *text)
{
    return prof__rules_parse(text, is_profile, &rules, &error);
}

#define MIB    ((double)(1 << 20))
#define MINUTE (60 * 1000)

static void test_what_is_written_is_what_is_kept(void)
{
    static const struct {
        const char *text, *kept;
        enum prof__quantity what;
        bool grows, percent;
        double n, below;
        int64_t window_ms;
    } cases[] = {
        { "mem>80%", "mem>80%", PROF__QUANTITY_MEM, false, true, 80, -1, 0 },
        { "mem > 1.5g", "mem>1.5g", PROF__QUANTITY_MEM, false, false, 1536 * MIB, -1, 0 },
        { "mem+25%/10m", "mem+25%/10m", PROF__QUANTITY_MEM, true, true, 25, -1, 10 * MINUTE },
        { "rss + 512MiB / 1h", "rss+512MiB/1h", PROF__QUANTITY_RSS, true, false, 512 * MIB, -1,
          60 * MINUTE },
        { "peak+1g", "peak+1g", PROF__QUANTITY_PEAK, true, false, 1024 * MIB, -1, 0 },
        { "peak+20%", "peak+20%", PROF__QUANTITY_PEAK, true, true, 20, -1, 0 },
        { "threads>2000", "threads>2000", PROF__QUANTITY_THREADS, false, false, 2000, -1, 0 },
        { "threads+50%/5m<4000", "threads+50%/5m<4000", PROF__QUANTITY_THREADS, true, true, 50,
          4000, 5 * MINUTE },
        { "cpu>90%/30s<98%", "cpu>90%/30s<98%", PROF__QUANTITY_CPU, false, true, 90, 98, 30000 },
        { "events.oom_kill > 0", "events.oom_kill>0", PROF__QUANTITY_KILL, false, false, 0, -1, 0 },
        { "events.max>10/30s", "events.max>10/30s", PROF__QUANTITY_MAX, false, false, 10, -1,
          30000 },
        { "cpu>90%", "cpu>90%", PROF__QUANTITY_CPU, false, true, 90, -1, 10000 },
        { "heap>2000000", "heap>2000000", PROF__QUANTITY_HEAP, false, false, 2e6, -1, 0 },
        { "alloc>100m/1m", "alloc>100m/1m", PROF__QUANTITY_ALLOC, false, false, 100 * MIB, -1,
          MINUTE },
        { "swap>1%", "swap>1%", PROF__QUANTITY_SWAP, false, true, 1, -1, 0 },
        { "stall > 200ms", "stall>200ms", PROF__QUANTITY_STALL, false, false, 200, -1, 0 },
        { "stall>1.5s ->heap", "stall>1.5s", PROF__QUANTITY_STALL, false, false, 1500, -1, 0 },
        { "term -> heap", "term", PROF__QUANTITY_TERM, false, false, 0, -1, 0 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct prof__rule *r = &rules.rule[0];

        CHECK_INT(parse(cases[i].text), 0, cases[i].text);
        CHECK_INT(rules.n, 1, cases[i].text);
        CHECK_STR(r->text, cases[i].kept, cases[i].text);
        CHECK_INT(r->what, cases[i].what, cases[i].text);
        CHECK_INT(r->grows, cases[i].grows, cases[i].text);
        CHECK_INT(r->amount.percent, cases[i].percent, cases[i].text);
        CHECK(r->amount.n == cases[i].n, "%s: %g", cases[i].text, r->amount.n);
        CHECK(r->below.n == cases[i].below, "%s: %g", cases[i].text, r->below.n);
        CHECK_INT(r->window_ms, cases[i].window_ms, cases[i].text);
        CHECK_STR(rules.clause[0].wanted[0].profile, "heap", "what is taken if nothing is said");
    }
}

static void test_the_whole_of_an_example(void)
{
    CHECK_INT(parse("mem>80% | mem+25%/10m | peak+1g -> heap; threads>2000 -> threads cooldown 1h;"
                    " cpu>90%/30s<98% -> profile:20s, example.org/pool, exec /bin/tell ; cooldown "
                    "5m; warmup 90s; baseline 0s; keep 2 first + 6 last, 32m; dir /var/lib/my "
                    "app/prof ;"),
              0, error.sentence);
    CHECK_INT(rules.n, 5, "rules");
    CHECK_INT(rules.n_clauses, 3, "clauses");
    CHECK_INT(rules.rule[2].clause, 0, "rules with | between them take one thing");
    CHECK_INT(rules.rule[3].clause, 1, "another");
    CHECK_INT(rules.rule[3].cooldown_ms, 60 * MINUTE, "of the clause");
    CHECK_INT(rules.rule[0].cooldown_ms, 5 * MINUTE, "of all others, wherever it stands");
    CHECK_INT(rules.clause[2].n, 2, "profiles");
    CHECK_STR(rules.clause[2].wanted[0].profile, "profile", "name");
    CHECK_INT(rules.clause[2].wanted[0].seconds, 20, "time");
    CHECK_STR(rules.clause[2].wanted[1].profile, "example.org/pool", "name");
    CHECK_INT(rules.clause[2].exec, true, "runs a program");
    CHECK_INT(rules.clause[0].exec, false, "does not");
    CHECK_STR(rules.exec, "/bin/tell", "the program");
    CHECK_INT(rules.warmup_ms, 90000, "warm-up");
    CHECK_INT(rules.baseline_ms, 0, "baseline");
    CHECK_INT(rules.keep_first, 2, "first");
    CHECK_INT(rules.keep_last, 6, "last");
    CHECK_INT(rules.keep_bytes, 32 << 20, "bytes");
    CHECK_STR(rules.dir, "/var/lib/my app/prof", "directory");
}

static void test_what_is_not_said_has_a_default(void)
{
    CHECK_INT(parse(" "), 0, "no rules at all");
    CHECK_INT(rules.n, 0, "no rules at all");
    CHECK_INT(parse("mem>80%"), 0, "a rule");
    CHECK_INT(rules.rule[0].cooldown_ms, 10 * MINUTE, "cooldown");
    CHECK_INT(rules.keep_first, 1, "first");
    CHECK_INT(rules.keep_last, 8, "last");
    CHECK_INT(rules.keep_bytes, 64 << 20, "bytes");
    CHECK_INT(rules.warmup_ms, 0, "warm-up");
    CHECK_INT(parse("mem>80%; exec /bin/tell"), 0, "a program for all");
    CHECK_INT(rules.clause[0].exec, true, "a program for all");
    CHECK_INT(parse("keep 3 last; mem>1%"), 0, "part of keep");
    CHECK_INT(rules.keep_first, 1, "first");
    CHECK_INT(rules.keep_last, 3, "last");
    CHECK_INT(parse("mem>1% -> profile"), 0, "a profile without its time");
    CHECK_INT(rules.clause[0].wanted[0].seconds, 10, "has ten seconds");
}

static void test_errors_name_their_column(void)
{
    static const struct {
        const char *text;
        unsigned column;
        const char *word; /* of the sentence */
    } cases[] = {
        { "memory>80%", 1, "mem, rss" },
        { "mem>80% | foo>1", 11, "mem, rss" },
        { "mem=80%", 4, "> or +" },
        { "mem>", 5, "size" },
        { "mem>80", 0, NULL }, /* bytes: odd, and right */
        { "mem>80q", 5, "size" },
        { "mem>-1", 5, "size" },
        { "mem+25%", 8, "/TIME" },
        { "mem+0%/1m", 5, "more than nothing" },
        { "mem+25%/10", 9, "time" },
        { "mem+25%/10x", 9, "time" },
        { "mem+25%/3d", 9, "one day" },
        { "peak>1g", 5, "peak+AMOUNT" },
        { "peak+1g/10m", 8, "no time" },
        { "threads>80%", 9, "number" },
        { "threads>2k", 9, "number" },
        { "cpu>2", 5, "percentage" },
        { "cpu>90%/30s<80%", 13, "never" },
        { "events.hihg>0", 1, "events.high" },
        { "events.high>80%", 13, "a number such as 2000" },
        { "mem>80% -> heep", 12, "no profile \"heep\"" },
        { "mem>80% ->", 11, "profile's name" },
        { "mem>80% -> heap,", 17, "profile's name" },
        { "mem>80% -> profile:0s", 20, "1 second" },
        { "mem>80% -> profile:11m", 20, "10 minutes" },
        { "mem>80% heap", 9, "; or the end" },
        { "mem>80% -> exec tell", 17, "slash" },
        { "mem>80% -> exec /a; rss>1g -> exec /b", 36, "the same one" },
        { "cooldown", 9, "time" },
        { "cooldown 10ms", 10, "one second" },
        { "keep 1", 7, "first" },
        { "keep 1 first + 8", 17, "last" },
        { "keep 0 first + 0 last", 6, "at least one" },
        { "keep 101 last", 6, "up to 100" },
        { "keep 8 last, 1k", 14, "1m at least" },
        { "dir var/lib", 5, "slash" },
        { "dir /var\tlib", 9, "character" },
        { "mem>99999999999999999999999999999999999999999999%", 0, NULL },
        { "term>1", 5, "; or the end" },
        { "stall>200", 7, "a time" },
        { "stall>20%", 7, "a time" },
        { "stall+1s/1m", 6, "stall>200ms" },
        { "stall>1s/1m", 9, "; or the end" },
        { "term -> trace:10s", 15, "of what has been" },
        { ">80%", 1, "mem, rss" },
        { "mem>80% -> heap; mem > 80% -> threads", 18, "there already" },
        { "mem>80% -> a,b,c", 12, "no profile" },
        { "mem>80% -> heap,heap,heap,heap,heap", 32, "at most 4" },
        { "\xff", 1, "mem, rss" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int r = parse(cases[i].text);

        CHECK_INT(error.column, cases[i].column, cases[i].text);
        CHECK((r < 0) == (cases[i].word != NULL), "%s: %d", cases[i].text, r);
        CHECK(!cases[i].word || strstr(error.sentence, cases[i].word), "%s: %s", cases[i].text,
              error.sentence);
    }
}

static void test_there_is_an_end_to_everything(void)
{
    char text[4096] = "", *at = text;

    for (int i = 0; i < PROF__RULES_MAX + 1; i++)
        at += sprintf(at, "%smem>%d%%", i ? "|" : "", i + 1);
    CHECK(parse(text) < 0 && strstr(error.sentence, "16 rules"), "rules: %s", error.sentence);
    at = text;
    for (int i = 0; i < PROF__CLAUSES_MAX + 1; i++)
        at += sprintf(at, "mem>%d%%;", i + 1);
    CHECK(parse(text) < 0 && strstr(error.sentence, "8 clauses"), "clauses: %s", error.sentence);
    at = text + sprintf(text, "dir /");
    memset(at, 'x', 1000);
    at[1000] = '\0';
    CHECK(parse(text) < 0 && strstr(error.sentence, "longer"), "path: %s", error.sentence);
    at = text + sprintf(text, "mem > 1%%");
    for (int i = 0; i < 500; i++)
        at += sprintf(at, "0 ");
    CHECK(parse(text) < 0, "a number in pieces");
}

/* Of a text each beginning, and each with one byte changed: nothing is read beyond its end, which a
 * sanitizer sees as the copy has no room behind it. */
static void test_damaged_texts_are_refused_or_understood(void)
{
    static const char whole[] = "mem>80%|peak+1g->heap,profile:9s,exec /b;cpu>9%/3s<98%;keep 1 "
                                "first+8 last,64m;dir /v;cooldown 9m";
    size_t refused = 0;

    for (size_t n = 0; n <= sizeof(whole) - 1; n++) {
        char *copy = malloc(n + 1);

        memcpy(copy, whole, n);
        copy[n] = '\0';
        refused += parse(copy) < 0;
        if (n)
            for (int c = 1; c < 256; c += 7) {
                copy[n - 1] = (char)c;
                int r = parse(copy);
                CHECK(r == 0 || (error.column >= 1 && error.column <= n + 1 && *error.sentence),
                      "\"%s\": column %u", copy, error.column);
            }
        free(copy);
    }
    CHECK(refused > 20, "%zu refused", refused);
}

int main(void)
{
    test_what_is_written_is_what_is_kept();
    test_the_whole_of_an_example();
    test_what_is_not_said_has_a_default();
    test_errors_name_their_column();
    test_there_is_an_end_to_everything();
    test_damaged_texts_are_refused_or_understood();
    return check_report();
}
