/*
 * test_collect_heap.c - which blocks are sampled, through the feeding API: on average right at any
 * rate, soon right after a change of rate, and not the same ones in every forked child.
 */
#include <prof/prof.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"
#include "check.h"
#include "record/collect_heap.h"
#include "text_profile.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static char place[1 << 20]; /* addresses to feed */

static struct prof_stats stats_now(void)
{
    struct prof_stats s = PROF_STATS_INIT;

    CHECK_INT(prof_stats(&s), 0, "stats");
    return s;
}

static void feed(size_t n, size_t size)
{
    for (size_t i = 0; i < n; i++) {
        prof_heap_alloc(&place[i % sizeof(place)], size);
        prof_heap_free(&place[i % sizeof(place)]);
    }
}

/*
 * Gaps longer than what a thread goes without looking are drawn piece by piece. `samples` are
 * expected; five standard deviations of a Poisson process with as many.
 */
static void test_long_gaps_are_fair(void)
{
    static const struct {
        int64_t rate;
        size_t n, size;
        double tolerance; /* 5 / sqrt(samples) */
    } cases[] = {
        { 8 << 20, 40000, 1 << 20, 0.075 },    /* 4,700 samples, each block passes a cut */
        { 8 << 20, 400000, 100 << 10, 0.075 }, /* 4,900 */
        { 2 << 20, 2000000, 4 << 10, 0.081 },  /* 3,900 */
        { 16 << 20, 4000, 64 << 20, 0.079 },   /* as good as every block */
        { 512 << 10, 4000000, 512, 0.081 },    /* 3,900; gaps are seldom cut */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double truth = (double)cases[i].n * (double)cases[i].size;

        prof_set_heap_rate(cases[i].rate);
        prof__self.rng = i + 1;
        uint64_t before = stats_now().heap_allocated_bytes;
        feed(cases[i].n, cases[i].size);
        CHECK_BETWEEN((double)(stats_now().heap_allocated_bytes - before) / truth,
                      1 - cases[i].tolerance, 1 + cases[i].tolerance, "share of the truth");
    }
}

/* --- a change of rate ------------------------------------------------------------------------- */

static pthread_barrier_t changed;

static void *allocate_before_and_after(void *arg)
{
    feed(1000, 100);
    pthread_barrier_wait(&changed);
    pthread_barrier_wait(&changed);
    feed(11 * KIB, KIB);
    return arg;
}

static void test_a_finer_rate_is_seen_by_others(void)
{
    static const int64_t from[] = { (int64_t)1 << 34, (int64_t)1 << 40, 0, 512 << 10 };
    pthread_t t;

    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        pthread_barrier_init(&changed, NULL, 2);
        prof_set_heap_rate(from[i]);
        pthread_create(&t, NULL, allocate_before_and_after, NULL);
        pthread_barrier_wait(&changed);
        prof_set_heap_rate(1);
        uint64_t before = stats_now().heap_allocated_objects;
        pthread_barrier_wait(&changed);
        pthread_join(t, NULL);
        /* All but what comes before it looks again, after 1 MiB at most; and one may still be
         * sampled at the old rate, and stand for 513. */
        CHECK_BETWEEN(stats_now().heap_allocated_objects - before, 10 * KIB, 11 * KIB + 513,
                      "blocks of 11 Ki are counted");
    }
}

/* --- fork ------------------------------------------------------------------------------------- */

enum { CHILDREN = 8 };

/* Which of 10,000 blocks of a tenth of the rate were sampled: a hash of their numbers. */
static uint64_t sampled_ones(void)
{
    uint64_t hash = 0;

    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t before = prof__self.samples;

        prof_heap_alloc(&place[i], 6554);
        if (prof__self.samples != before)
            hash = hash * 31 + i;
        prof_heap_free(&place[i]);
    }
    return hash;
}

static void test_children_sample_each_for_itself(void)
{
    uint64_t of_child[CHILDREN];
    int ends[2];

    prof_set_heap_rate(64 << 10);
    feed(1000, KIB); /* a gap is running, and numbers have been drawn */
    CHECK_INT(pipe(ends), 0, "pipe");
    for (int i = 0; i < CHILDREN; i++)
        if (fork() == 0) {
            uint64_t hash = sampled_ones();
            _exit(write(ends[1], &hash, sizeof(hash)) != sizeof(hash));
        }
    for (int i = 0; i < CHILDREN; i++) {
        CHECK_INT(read(ends[0], &of_child[i], sizeof(of_child[i])), sizeof(of_child[i]), "answer");
        for (int k = 0; k < i; k++)
            CHECK(of_child[i] != of_child[k], "children %d and %d took the same samples", i, k);
    }
    while (wait(NULL) > 0)
        ;
}

/* --- numbers beyond all measure --------------------------------------------------------------- */

static int64_t total_of(const char *name, const char *column)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    struct text_profile t = { 0 };
    int64_t total = 0;

    o.folded = column;
    CHECK_INT(prof_profile_write(prof_lookup(name), &o, text_profile_sink, &t), 0, name);
    for (char *line = t.text ? strtok(t.text, "\n") : NULL; line; line = strtok(NULL, "\n")) {
        const char *value = strrchr(line, ' ');

        if (value && __builtin_add_overflow(total, strtoll(value, NULL, 10), &total))
            CHECK(0, "%s adds up to more than there is", name);
    }
    text_profile_free(&t);
    return total;
}

static void test_the_largest_numbers_saturate(void)
{
    prof_set_heap_rate(1);
    uint64_t allocated = stats_now().heap_allocated_bytes;
    prof_heap_alloc(place, (size_t)1 << 60);
    CHECK(stats_now().heap_allocated_bytes - allocated >= (uint64_t)1 << 55, "a block of 2^60");
    CHECK(total_of("allocs", "alloc_space") > 0, "is not below zero");
    CHECK(total_of("heap", "inuse_space") > 0, "nor is what is in use");
    prof_heap_free(place);
    CHECK_INT(total_of("heap", "inuse_space"), 0, "and all of it is taken back");

    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    for (int i = 0; i < 4; i++) {
        uint64_t block = stats_now().block_wait_ns, mutex = stats_now().mutex_wait_ns;

        prof_block_record(INT64_MAX, 0);
        prof_mutex_record(INT64_MAX, 1, 0);
        CHECK(stats_now().block_wait_ns >= block, "block never falls");
        CHECK(stats_now().mutex_wait_ns >= mutex, "mutex never falls");
    }
    CHECK_INT(stats_now().block_wait_ns, INT64_MAX, "the largest there is");
    CHECK_INT(total_of("block", "delay"), INT64_MAX, "in the profile too");
    char status[1024];
    prof_profile_status(prof_lookup("block"), status, sizeof(status));
    CHECK(strstr(status, "too large to tell"), "and it says so: %s", status);
}

int main(void)
{
    test_long_gaps_are_fair();
    test_a_finer_rate_is_seen_by_others();
    test_children_sample_each_for_itself();
    test_the_largest_numbers_saturate();
    return check_report();
}
