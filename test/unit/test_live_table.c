/*
 * test_live_table.c - sampled blocks by address: none is missed, none is there twice, and what is
 * no more costs nothing.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "check.h"
#include "table/live_table.h"

enum { THREADS = 8 };

/* Each thread adds and removes its own blocks; half of them are removed by its neighbour. */
enum { BLOCKS = 20000 };

static void *live_half(void *arg)
{
    uintptr_t base = (uintptr_t)arg << 36 | 0x700000000000;

    for (uintptr_t i = 0; i < BLOCKS; i++) {
        struct prof__live live = { .row = (uint32_t)i + 1, .objects = (int64_t)i }, stale;
        CHECK_INT(prof__live_add(base + i * 48, &live, &stale), 0, "added");
    }
    for (uintptr_t i = 0; i < BLOCKS; i += 2) {
        struct prof__live live;
        CHECK(prof__live_remove(base + i * 48, &live) && live.row == i + 1 &&
                  live.objects == (int64_t)i,
              "found with its record");
        CHECK(!prof__live_remove(base + i * 48, &live), "found once");
    }
    return NULL;
}

static int count_live(uintptr_t key, const struct prof__live *live, void *arg)
{
    (void)key;
    CHECK(live->row % 2 == 0, "only the odd blocks are left");
    ++*(size_t *)arg;
    return 0;
}

static void test_live_blocks(void)
{
    size_t n = 0;

    live_half((void *)1);
    live_half((void *)2);
    CHECK_INT(prof__live_count(), BLOCKS, "half of two");
    prof__live_each(count_live, &n);
    CHECK_INT(n, BLOCKS, "visited");
    for (uintptr_t t = 1; t <= 2; t++)
        for (uintptr_t i = 1; i < BLOCKS; i += 2) {
            struct prof__live live;
            uintptr_t key = (t << 36 | 0x700000000000) + i * 48;

            if (!prof__live_maybe(key) || !prof__live_remove(key, &live))
                CHECK(0, "block %lu is there", i);
        }
    CHECK_INT(prof__live_count(), 0, "all gone");
}

static void test_stale_block_is_handed_back(void)
{
    struct prof__live a = { .row = 7, .bytes = 70 }, b = { .row = 8, .bytes = 80 }, out;

    CHECK_INT(prof__live_add(0x1234560, &a, &out), 0, "new");
    CHECK(prof__live_maybe(0x1234568), "same page");
    CHECK(!prof__live_maybe(0x1235560), "next page");
    CHECK_INT(out.row, 0, "nothing was there");
    CHECK_INT(prof__live_add(0x1234560, &b, &out), 0, "again");
    CHECK(out.row == 7 && out.bytes == 70, "the old record");
    CHECK(!prof__live_remove(0x1234560 | PROF__LIVE_FED, &out), "a fed block is another");
    CHECK(prof__live_remove(0x1234560, &out) && out.bytes == 80, "the new record");
    CHECK(!prof__live_maybe(0x1234560), "filter clear again");
    CHECK(!prof__live_remove(0, &out), "free(NULL) does not find an empty slot");
}

static void *pass(void *arg)
{
    uint64_t rng = (uintptr_t)arg + 1;

    for (int i = 0; i < 200000; i++) { /* few addresses, much reuse */
        uintptr_t key = 0x10000 + ((uintptr_t)arg << 4) + prof__random(&rng) % 64 * 4096;
        struct prof__live live = { .row = 1 }, out;

        if (prof__live_add(key, &live, &out) != 0 || !prof__live_maybe(key) ||
            !prof__live_remove(key, &out)) {
            CHECK(0, "an own block is always found");
            break;
        }
    }
    return NULL;
}

static void test_no_block_is_missed_on_shared_pages(void)
{
    pthread_t thread[THREADS];

    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, pass, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    CHECK_INT(prof__live_count(), 0, "all gone");
    for (uintptr_t page = 0; page < 80; page++)
        CHECK(!prof__live_maybe(page << 12), "filter of page %lu is clear", page);
}

/* --- memory that is handed out anew ----------------------------------------------------------- */

static int64_t ended_bytes;

static void ended(const struct prof__live *live)
{
    ended_bytes += live->bytes;
}

static void add_at(uintptr_t key, int64_t bytes)
{
    struct prof__live live = { .row = 1, .bytes = bytes }, stale;

    CHECK_INT(prof__live_add(key, &live, &stale), 0, "added");
}

static void test_sweep_ends_what_lies_inside(void)
{
    static const uintptr_t base = 0x7f1234567000;
    static const struct {
        uintptr_t key;
        bool inside; /* of [base + 16, base + 16 + 5000) */
    } cases[] = {
        { base - 16, false },
        { base + 8, false },
        { base + 16, true },
        { base + 24, true },
        { (base + 19) | PROF__LIVE_FED, true },
        { (base + 15) | PROF__LIVE_FED, false },
        { (base + 16) | PROF__LIVE_FED, true },
        { base + 4096, true },
        { base + 5008, true },
        { base + 5016, false },
        { (base + 5015) | PROF__LIVE_FED, true },
        { base + 4096 + 4096, false },
        { base + ((uintptr_t)1 << 32) + 32, false }, /* the same in the filters */
    };
    int64_t want = 0;
    size_t n_inside = 0;
    struct prof__live live;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        add_at(cases[i].key, (int64_t)1 << i);
        want += cases[i].inside ? (int64_t)1 << i : 0;
        n_inside += cases[i].inside;
    }
    CHECK_INT(prof__live_sweep(base + 16, 5000, ended), n_inside, "blocks inside");
    CHECK_INT(ended_bytes, want, "these, and no other");
    CHECK_INT(prof__live_sweep(base + 16, 5000, ended), 0, "once");
    CHECK_INT(prof__live_sweep(base - 16, 0, ended), 0, "a block of no size");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK(prof__live_remove(cases[i].key, &live) == !cases[i].inside, "block %zu after", i);
}

/* --- the filters ------------------------------------------------------------------------------ */

/* More blocks on a page than its count can tell: the places still can. */
static void test_a_crowded_page_is_forgotten(void)
{
    enum { CROWD = 512 };
    uintptr_t page = 0x7e0000123000;
    struct prof__live live;

    for (uintptr_t i = 0; i < CROWD; i++)
        add_at(page + i * 8, 1);
    for (uintptr_t i = 0; i < CROWD; i++)
        CHECK(prof__live_maybe(page + i * 8) && prof__live_maybe_here(page + i * 8) &&
                  prof__live_remove(page + i * 8, &live),
              "block %lu is found", i);
    for (uintptr_t i = 0; i < CROWD; i++)
        CHECK(!prof__live_maybe_here(page + i * 8), "place %lu asks nobody to look any more", i);
}

static void test_a_neighbour_is_told_apart(void)
{
    struct prof__live live;

    add_at(0x7d0000001230, 1);
    CHECK(prof__live_maybe(0x7d0000001240), "on the same page");
    CHECK(!prof__live_maybe_here(0x7d0000001240), "but not that block");
    CHECK(prof__live_remove(0x7d0000001230, &live), "removed");
}

/* --- reading while others write --------------------------------------------------------------- */

static _Atomic bool stop;

/* One address, again and again; each record has one number all over. */
static void *come_and_go(void *arg)
{
    uint64_t rng = (uintptr_t)arg + 1;

    while (!stop) {
        uint32_t n = 1 + (uint32_t)(prof__random(&rng) >> 40);
        struct prof__live live = { .row = n, .birth_s = n, .objects = n, .bytes = n }, out;

        prof__live_add(0x7c0000000000, &live, &out);
        prof__live_remove(0x7c0000000000, &out);
    }
    return NULL;
}

static int is_one_record(uintptr_t key, const struct prof__live *live, void *arg)
{
    size_t *torn = arg;

    (void)key;
    torn[0] += live->row != live->birth_s || live->row != live->objects || live->row != live->bytes;
    torn[1]++;
    return 0;
}

static void test_a_copy_is_of_one_record(void)
{
    size_t torn[2] = { 0 };
    pthread_t t;

    pthread_create(&t, NULL, come_and_go, NULL);
    for (int i = 0; i < 3000; i++)
        prof__live_each(is_one_record, torn);
    stop = true;
    pthread_join(t, NULL);
    CHECK_INT(torn[0], 0, "copies that are half of one record and half of another");
}

/* --- a table from elsewhere ------------------------------------------------------------------- */

enum { THERE_SLOTS = 4096, THERE = 100 };

/* As in a core file: the list of segments, and two of them, of which one is not all there. */
struct there {
    uint64_t list[PROF__LIVE_SEGMENTS];
    uint64_t slots, records_at, key[THERE_SLOTS];
    struct prof__live live[THERE_SLOTS];
    uint64_t more_slots, more_records_at,
        more_key[THERE_SLOTS]; /* 16,384 they should be, and their records */
    size_t refused;
    uint64_t absent;
};

static size_t read_there(void *arg, uint64_t from, void *to, size_t n)
{
    const struct there *t = arg;
    uint64_t start = (uintptr_t)t, end = (uintptr_t)&t->refused;

    if (from < start || from + n > end)
        return 0;
    memcpy(to, (const void *)(uintptr_t)from, n);
    return n;
}

static bool is_even(void *arg, uintptr_t key, const struct prof__live *live)
{
    struct there *t = arg;
    bool even = live->row % 2 == 0;

    (void)key;
    t->refused += !even;
    return even;
}

static void count_absent(void *arg, uint64_t bytes)
{
    ((struct there *)arg)->absent += bytes;
}

static void test_blocks_of_another_are_taken_as_far_as_they_are_there(void)
{
    struct there *t = calloc(1, sizeof(*t));
    struct prof__live_elsewhere e = { read_there, is_even, count_absent, t };
    size_t before = prof__live_count();
    struct prof__live live;

    t->list[0] = (uintptr_t)&t->slots;
    t->list[1] = (uintptr_t)&t->more_slots;
    t->list[2] = 4242; /* nothing is there at all */
    t->slots = THERE_SLOTS;
    t->more_slots = (size_t)4 * THERE_SLOTS;
    for (uint64_t i = 0; i < THERE; i++) {
        t->key[i * 40] = 0x600000000000 + i * 64;
        t->live[i * 40] = (struct prof__live) { .row = (uint32_t)(100 + i), .bytes = (int64_t)i };
    }
    t->key[1] = 1; /* a slot that was being filled */
    CHECK_INT(prof__live_adopt((uintptr_t)t->list, &e), 0, "taken");
    CHECK_INT(t->refused, THERE / 2, "those that make no sense");
    CHECK_INT(prof__live_count() - before, THERE / 2, "the others are there");
    for (uint64_t i = 0; i < THERE; i++) {
        bool found = prof__live_remove(0x600000000000 + i * 64, &live);

        CHECK(found == (i % 2 == 0) &&
                  (!found || (live.row == 100 + i && live.bytes == (int64_t)i)),
              "block %d", (int)i);
    }
    CHECK(t->absent >= (uint64_t)4 * THERE_SLOTS * 30, "told as missing: %d bytes", (int)t->absent);
    free(t);
}

int main(void)
{
    test_a_copy_is_of_one_record(); /* first: the table is small yet, and soon walked through */
    test_live_blocks();
    test_stale_block_is_handed_back();
    test_no_block_is_missed_on_shared_pages();
    test_sweep_ends_what_lies_inside();
    test_a_crowded_page_is_forgotten();
    test_a_neighbour_is_told_apart();
    test_blocks_of_another_are_taken_as_far_as_they_are_there();
    return check_report();
}
