/*
 * test_tables.c - stacks, rows and live blocks under many threads, and at their bounds.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/random.h"
#include "check.h"
#include "table/live_table.h"
#include "table/rows.h"
#include "table/stack_table.h"
#include "table/tables.h"
#include "unwind/stack.h"

enum { THREADS = 8, STACKS = 2000, ROUNDS = 20 };

static prof__stack_id id_of[THREADS][STACKS];
static uint32_t row_of[THREADS][STACKS];

static size_t make_stack(unsigned i, uintptr_t *pcs)
{
    size_t n = 1 + i % 40;

    for (size_t k = 0; k < n; k++)
        pcs[k] = 0x400000 + i * 64 + k * 7919;
    return n;
}

static void *add_all(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    uintptr_t pcs[64];

    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < STACKS; i++) {
            unsigned k = (i * 7 + me * 251) % STACKS; /* each in another order */
            size_t n = make_stack(k, pcs);

            id_of[me][k] = prof__stack_table_add(pcs, n);
            row_of[me][k] = prof__rows_get(3, id_of[me][k], k % 3, 5);
            atomic_fetch_add(&prof__rows_at(row_of[me][k])->value[1], 1);
        }
    return NULL;
}

static int sum_rows(uint32_t ref, const struct prof__row *row, void *arg)
{
    int64_t *sum = arg;

    CHECK(ref > sum[2], "references rise");
    sum[2] = ref;
    sum[0]++;
    sum[1] += row->value[1];
    return 0;
}

static void test_many_threads_agree(void)
{
    pthread_t thread[THREADS];
    uintptr_t pcs[64];
    int64_t sum[3] = { 0 };

    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, add_all, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned k = 0; k < STACKS; k++) {
        const struct prof__stack *s = prof__stack_table_get(id_of[0][k]);
        size_t n = make_stack(k, pcs);

        CHECK(s->n == n && memcmp(s->pcs, pcs, n * sizeof(*pcs)) == 0, "stack %u is kept", k);
        for (int i = 1; i < THREADS; i++)
            CHECK(id_of[i][k] == id_of[0][k] && row_of[i][k] == row_of[0][k], "one id for stack %u",
                  k);
    }
    CHECK_INT(prof__stack_table_count(), STACKS, "stacks");
    CHECK_INT(prof__rows_count(3), STACKS, "rows");
    prof__rows_each(3, sum_rows, sum);
    CHECK_INT(sum[0], STACKS, "rows visited");
    CHECK_INT(sum[1], (int64_t)THREADS * STACKS * ROUNDS, "additions");
}

static void test_size_classes(void)
{
    unsigned last = 0;

    for (uint64_t size = 0; size < (1 << 20); size++) {
        unsigned c = prof__size_class(size);

        if (c < last || c > last + 1)
            CHECK(0, "size %llu is in class %u after %u", (unsigned long long)size, c, last);
        last = c;
    }
    CHECK_INT(prof__size_class(0), 1, "first class");
    CHECK(prof__size_class(UINT64_MAX) < UINT16_MAX, "fits");
    CHECK_INT(prof__size_class(1 << 20) - prof__size_class(1 << 19), 8, "classes a doubling");
}

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
    CHECK_INT(prof__live_add(0x1234560, &b, &out), 1, "stale");
    CHECK_INT(out.bytes, 70, "the old record");
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

static void test_full_tables_keep_totals(void)
{
    uintptr_t pcs[64];
    int64_t sum[3] = { 0 };

    prof__stack_table_set_limit(1 << 20);
    prof__rows_set_limit(1 << 20);
    for (unsigned i = 0; i < 60000; i++) {
        size_t n = make_stack(i + 100000, pcs);
        uint32_t row = prof__rows_get(9, prof__stack_table_add(pcs, n), 0, 0);

        atomic_fetch_add(&prof__rows_at(row)->value[1], 1);
    }
    prof__rows_each(9, sum_rows, sum);
    CHECK_INT(sum[1], 60000, "total");
    CHECK(prof__stack_table_lost() > 0, "losses are counted");
    const struct prof__stack *lost = prof__stack_table_get(UINT32_MAX);
    CHECK(lost->n == 1 && lost->pcs[0] == PROF__PC_LOST, "the stack of the lost");
}

static void test_code_that_took_anothers_place(void)
{
    uintptr_t inside[] = { 0x500010, 0x900000 }, outside[] = { 0x700010, 0x900000 };
    prof__stack_id in = prof__stack_table_add(inside, 2), out = prof__stack_table_add(outside, 2);
    uint32_t epoch = prof__unload_epoch();

    prof__unload_epoch_next(0x500000, 0x501000);
    prof__stack_id now = prof__stack_table_add(inside, 2);
    CHECK(now != in, "the same addresses are another stack once their code was unloaded");
    CHECK_INT(prof__stack_table_get(now)->epoch, epoch + 1, "of this epoch");
    CHECK_INT(prof__stack_table_get(in)->epoch, epoch, "and the old one of its own");
    CHECK_INT(prof__stack_table_add(inside, 2), now, "and only once");
    CHECK_INT(prof__stack_table_add(outside, 2), out, "stacks of other code stay");
    prof__unload_epoch_next(0x600000, 0x601000);
    CHECK(prof__stack_table_add(inside, 2) != now, "the next time again");
}

int main(void)
{
    test_size_classes();
    test_many_threads_agree();
    test_code_that_took_anothers_place();
    test_live_blocks();
    test_stale_block_is_handed_back();
    test_no_block_is_missed_on_shared_pages();
    test_full_tables_keep_totals();
    return check_report();
}
