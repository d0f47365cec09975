/*
 * test_scan.c - the parts of a scan that can be had without a process to look at: ranges, paths,
 * and the list of the profiler's own pages.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/random.h"
#include "check.h"
#include "scan/paths.h"
#include "scan/ranges.h"
#include "scan/wanted.h"
#include "scan/words.h"

/* Beside a plain search, over ranges of all sizes in two places far apart. */
static void test_a_range_is_found_as_by_search(void)
{
    enum { N = 3000 };
    static uint64_t start[N + 1], end[N];
    static struct prof__ranges r;
    struct prof__arena a = { 0 };
    uint64_t rng = 1, at = 0x5555000000000;
    unsigned wrong = 0, found = 0;

    at = 0x555500000000;
    for (int i = 0; i < N; i++) {
        if (i == N / 2)
            at = 0x7f0000000000;
        at += prof__random(&rng) % (i % 100 == 0 ? 100000000 : 3000);
        start[i] = at;
        at += 1 + prof__random(&rng) % (i % 50 == 0 ? 3000000 : 300);
        end[i] = at;
    }
    CHECK_INT(prof__ranges_build(&r, &a, start, end, N), 0, "build");
    for (int i = 0; i < 200000; i++) {
        size_t near = prof__random(&rng) % N;
        uint64_t address = start[near] - 200 + prof__random(&rng) % (end[near] - start[near] + 400);
        uint32_t want = PROF__NO_RANGE;

        for (size_t k = near > 3 ? near - 3 : 0; k < N && k < near + 4; k++)
            if (address >= start[k] && address < end[k])
                want = (uint32_t)k;
        wrong += prof__ranges_find(&r, address) != want;
        wrong += want != PROF__NO_RANGE && !prof__ranges_maybe(&r, address);
        found += want != PROF__NO_RANGE;
    }
    CHECK_INT(wrong, 0, "wrong answers");
    CHECK(found > 10000, "%u found", found);
    CHECK(!prof__ranges_maybe(&r, 0x600000000000), "what lies between the two places");
    prof__arena_free(&a);
}

/* No pointer to a range that is wanted may be turned away, however far apart the ranges are, in
 * whatever order they are dropped; and what nobody wants any more has to be turned away. */
static void test_what_is_wanted_is_asked_for_until_it_is_dropped(void)
{
    enum { N = 2000 };
    static const struct {
        const char *name;
        uint64_t gap, size;
    } cases[] = {
        { "packed", 16, 64 },
        { "a few to a page", 3000, 2000 },
        { "over 4 TiB", (uint64_t)4 << 30, 100 },
        { "large", 100, 300000 },
    };

    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        static uint64_t start[N + 1], end[N], order[N];
        static struct prof__ranges r;
        struct prof__wanted w;
        struct prof__arena a = { 0 };
        uint64_t rng = 7, at = 0x555500000000;
        unsigned refused = 0, let_through = 0;

        for (size_t i = 0; i < N; i++) {
            if (i == N / 2)
                at = 0x7f0000000000;
            start[i] = at + prof__random(&rng) % cases[c].gap;
            end[i] = at = start[i] + 1 + prof__random(&rng) % cases[c].size;
            order[i] = i;
        }
        CHECK_INT(prof__ranges_build(&r, &a, start, end, N), 0, cases[c].name);
        CHECK_INT(prof__wanted_build(&w, &r, &a), 0, cases[c].name);
        for (size_t i = 0; i < N; i++) {
            size_t k = prof__random(&rng) % (i + 1); /* a random order, of all so far */

            prof__wanted_add(&w, start[i], end[i]);
            order[i] = order[k];
            order[k] = i;
        }
        for (size_t n = N; n-- > 0;) {
            for (size_t k = 0; k <= n; k += 1 + n / 50) {
                uint64_t from = start[order[k]], to = end[order[k]];

                refused += !prof__wanted_maybe(&w, from) + !prof__wanted_maybe(&w, to - 1) +
                           !prof__wanted_maybe(&w, from + (to - from) / 2);
            }
            prof__wanted_drop(&w, start[order[n]], end[order[n]]);
        }
        for (size_t i = 0; i < N; i++)
            let_through += prof__wanted_maybe(&w, start[i]) + prof__wanted_maybe(&w, end[i] - 1);
        CHECK_INT(refused, 0, cases[c].name);
        CHECK_INT(let_through, 0, cases[c].name);
        CHECK(!prof__wanted_maybe(&w, 0) && !prof__wanted_maybe(&w, 0x600000000000) &&
                  !prof__wanted_maybe(&w, PROF__ADDRESS_MASK),
              "what is in neither span");
        prof__arena_free(&a);
    }
}

static void test_tags_are_left_aside_and_numbers_are_not_pointers(void)
{
    static uint64_t start[2] = { 0x7f1234560000 }, end[1] = { 0x7f1234570000 };
    static struct prof__ranges r;
    struct prof__arena a = { 0 };
    double number = 1.5;
    uint64_t words[] = { 0x7f1234560010, 0xa57f1234560010, 0xffff7f1234560010, 0, 0x7f1234570000 };
    uint64_t bits;
    int n = 0;

    memcpy(&bits, &number, sizeof(bits));
    bits |= 0x7f1234560010;
    words[3] = bits;
    CHECK_INT(prof__ranges_build(&r, &a, start, end, 1), 0, "build");
    PROF__EACH_POINTER(prof__ranges_maybe, &r, words, 5, n += 1 << at);
    CHECK_INT(n, 7, "the plain one and the two tagged ones");
    prof__arena_free(&a);
}

static void test_a_list_is_one_node_and_a_cycle_ends(void)
{
    struct prof__paths p;
    struct prof__arena a = { 0 };
    struct prof__kind root = { .of = PROF__KIND_ROOT, .who = 7 };
    struct prof__kind item = { .of = PROF__KIND_UNSAMPLED, .detail = 64 };
    struct prof__kind payload = { .of = PROF__KIND_SAMPLED, .who = 3, .detail = 100 };

    CHECK_INT(prof__paths_init(&p, &a, 4, 8), 0, "init");
    uint32_t r = prof__paths_add(&p, 0, &root), at = r;
    for (int i = 0; i < 1000; i++)
        at = prof__paths_add(&p, at, &item);
    CHECK_INT(at, 2, "the second node");
    CHECK_INT(p.path[at].parent, r, "held by the root");
    CHECK_INT(p.path[at].blocks, 1000, "blocks");
    uint32_t value = prof__paths_add(&p, at, &payload);
    CHECK_INT(prof__paths_add(&p, value, &item), at, "back to the list");
    struct prof__kind another = { .of = PROF__KIND_SAMPLED, .who = 4 };
    CHECK_INT(prof__paths_add(&p, value, &another), value, "no room: the holder's path stands");
    CHECK_INT(p.lost, 1, "and it is counted");
    prof__arena_free(&a);
}

static void sum(uintptr_t start, size_t size, void *arg)
{
    (void)start;
    *(size_t *)arg += size;
}

static void test_own_pages_are_listed_while_they_are_there(void)
{
    enum { N = 2000 };
    static void *page[N];
    size_t before = 0, after = 0, unlisted_before = prof__pages_each(sum, &before);

    for (int i = 0; i < N; i++)
        page[i] = prof__pages_map(8192);
    size_t full = 0, unlisted = prof__pages_each(sum, &full);
    CHECK_INT(full + unlisted, before + unlisted_before + N * 8192, "listed or counted");
    CHECK(unlisted > 0, "more than there is room for");
    for (int i = 0; i < N; i++)
        prof__pages_unmap(page[i], 8192);
    size_t left = prof__pages_each(sum, &after);
    CHECK_INT(after, before, "given back");
    CHECK_INT(left, unlisted_before, "and those without room too");
}

int main(void)
{
    test_a_range_is_found_as_by_search();
    test_what_is_wanted_is_asked_for_until_it_is_dropped();
    test_tags_are_left_aside_and_numbers_are_not_pointers();
    test_a_list_is_one_node_and_a_cycle_ends();
    test_own_pages_are_listed_while_they_are_there();
    return check_report();
}
