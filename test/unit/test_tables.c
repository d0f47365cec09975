/*
 * test_tables.c - stacks and rows under many threads, and at their bounds.
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "table/eras.h"
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

            id_of[me][k] = prof__stack_table_add(PROF__STORE_KEPT, pcs, n);
            row_of[me][k] = prof__rows_get(3, id_of[me][k], k % 3, 5);
            prof__row_add(prof__rows_at(row_of[me][k]), 1, 1);
        }
    return NULL;
}

static int sum_rows(uint32_t ref, const struct prof__row *row, void *arg)
{
    int64_t *sum = arg;

    CHECK(ref > sum[2], "references rise");
    sum[2] = ref;
    sum[0]++;
    sum[1] += (int64_t)row->value[1];
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

static void test_full_tables_keep_totals(void)
{
    uintptr_t pcs[64];
    int64_t sum[3] = { 0 };

    prof__stack_table_set_limit(1 << 20);
    prof__rows_set_limit(1 << 20);
    for (unsigned i = 0; i < 60000; i++) {
        size_t n = make_stack(i + 100000, pcs);
        uint32_t row = prof__rows_get(9, prof__stack_table_add(PROF__STORE_KEPT, pcs, n), 0, 0);

        prof__row_add(prof__rows_at(row), 1, 1);
    }
    prof__rows_each(9, sum_rows, sum);
    CHECK_INT(sum[1], 60000, "total");
    CHECK(prof__stack_table_lost() > 0, "losses are counted");
    const struct prof__stack *lost = prof__stack_table_get(UINT32_MAX);
    CHECK(lost->n == 1 && lost->pcs[0] == PROF__PC_LOST, "the stack of the lost");
}

static void test_a_value_that_passes_its_end(void)
{
    struct prof__row *row = prof__rows_at(prof__rows_get(8, 1, 0, 0));
    uint64_t before = prof__rows_full();

    prof__row_add(row, 1, UINT64_MAX - 5);
    prof__row_add(row, 0, UINT64_MAX);
    CHECK_INT(row->full, 0, "not yet");
    prof__row_add(row, 1, 10);
    prof__row_add(row, 1, 10);
    CHECK_INT(row->full, 2, "the second value, and it stays known");
    CHECK_INT(row->value[1], 14, "what is added since is right");
    CHECK_INT(prof__rows_full(), before + 1, "counted once");
}

/* --- stores ----------------------------------------------------------------------------------- */

static prof__stack_id passing_stack(uintptr_t i)
{
    uintptr_t pcs[20] = { 0x2000 + i };

    for (size_t k = 1; k < ARRAY_LEN(pcs); k++)
        pcs[k] = 0x3000 + k;
    return prof__stack_table_add(PROF__STORE_CPU, pcs, ARRAY_LEN(pcs));
}

/* A program in which no two samples have the same stack is profiled for long, twice. */
static void test_cpu_profiles_take_nothing_from_others(void)
{
    uintptr_t other[] = { 0x123456, 0x1234567 };
    uint64_t counted = 0;

    prof__stack_table_set_limit((size_t)8 << 20);
    prof__rows_set_limit((size_t)8 << 20);
    for (int session = 0; session < 2; session++) {
        uintptr_t kept = 0;

        CHECK_INT(prof__rows_count(PROF__TABLE_CPU), 0, "rows at the beginning");
        for (uintptr_t i = 0; i < 100000; i++) {
            prof__stack_id id = passing_stack(i);
            uint32_t row = prof__rows_get(PROF__TABLE_CPU, id, 0, 0);

            prof__row_add(prof__rows_at(row), 0, 1);
            kept += prof__stack_table_get(id)->pcs[0] == 0x2000 + i;
        }
        counted += 100000;
        CHECK_BETWEEN(kept, 5000, 99999, "stacks until there was no room");
        uint64_t lost_before = prof__stack_table_lost() + prof__rows_lost();
        other[0]++;
        prof__stack_id id = prof__stack_table_add(PROF__STORE_KEPT, other, 2);
        CHECK(prof__stack_table_get(id)->pcs[0] == other[0], "a kept stack has its room");
        CHECK(!prof__rows_is_lost(prof__rows_get(3, id, 0, 0)), "and its row");
        CHECK_INT(prof__stack_table_lost() + prof__rows_lost(), lost_before, "none of them lost");
        prof__rows_empty_cpu();
        prof__stack_table_empty(PROF__STORE_CPU);
        CHECK_INT(prof__rows_emptied(PROF__TABLE_CPU, 0), counted, "samples of all sessions");
        CHECK(prof__stack_table_get(id)->pcs[0] == other[0], "the kept stack is still there");
    }
}

/* --- eras ------------------------------------------------------------------------------------- */

static uint64_t id_of_first = 1, id_there = 2; /* in memory: whose 8 bytes are those */

static void tell(bool first_loaded, bool second_loaded)
{
    uintptr_t at = (uintptr_t)&id_there;

    CHECK_INT(prof__eras_begin(9), 0, "begun");
    prof__eras_add(
        &(struct prof__era_place) { 0x500000, 0x509000, at, id_of_first, 0, first_loaded });
    prof__eras_add(&(struct prof__era_place) { 0x501000, 0x503000, at, 77, 4, second_loaded });
    prof__eras_end();
}

static void test_code_that_took_anothers_place(void)
{
    uintptr_t inside[] = { 0x502000, 0x900000 }, outside[] = { 0x700010, 0x900000 };
    prof__stack_id first = prof__stack_table_add(PROF__STORE_KEPT, inside, 2),
                   out = prof__stack_table_add(PROF__STORE_KEPT, outside, 2);
    static const struct {
        const char *name;
        bool first_loaded, second_loaded;
        uint64_t there;
        uint32_t era;
    } cases[] = {
        { "told: the first", true, false, 77, 0 },
        { "told: the second", false, true, 1, 4 },
        { "known: the first is back", false, false, 1, 0 },
        { "known: the second is back", false, false, 77, 4 },
        { "neither", false, false, 5, 9 },
    };

    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            uintptr_t now[] = { 0x502000, 0x900000 };

            id_there = cases[i].there;
            tell(cases[i].first_loaded, cases[i].second_loaded);
            prof__stack_id id = prof__stack_table_add(PROF__STORE_KEPT, now, 2);
            CHECK((id == first) == (cases[i].era == 0), "%s: its own stack", cases[i].name);
            CHECK_INT(prof__era_of(now[0]), cases[i].era, cases[i].name);
            CHECK_INT(prof__era_address(now[0]), 0x502000, cases[i].name);
            CHECK_INT(prof__era_of(now[1]), 0, cases[i].name);
            CHECK_INT(prof__stack_table_add(PROF__STORE_KEPT, now, 2), id, cases[i].name);
        }
    CHECK_INT(prof__era_of(prof__era_mark(0x508fff)), 9, "where only one of them was, and is not");
    CHECK_INT(prof__era_mark(0x509000), 0x509000, "beyond");
    CHECK_INT(prof__era_mark(0xffffffffff600400), (int64_t)0xffffffffff600400, "in the kernel's");
    CHECK_INT(prof__era_address(0xffffffffff600400), (int64_t)0xffffffffff600400, "and back");
    CHECK_INT(prof__stack_table_add(PROF__STORE_KEPT, outside, 2), out,
              "stacks of other code stay");
}

/* One place, of which the two editions say different things, each of which fits in itself. */
static _Atomic bool told_enough;

static void *tell_on_and_on(void *arg)
{
    for (uint32_t i = 0; !told_enough; i++) {
        uintptr_t shift = i % 7 * 0x1000;

        prof__eras_begin(9);
        for (uintptr_t k = 0; k < 20 + i % 5; k++)
            prof__eras_add(&(struct prof__era_place) { 0x10000000 + k * 0x100000 + shift,
                                                       0x10080000 + k * 0x100000 + shift, 0, 0,
                                                       100 + (uint32_t)k, true });
        prof__eras_end();
    }
    return arg;
}

static void test_marks_while_places_change(void)
{
    pthread_t t;
    size_t wrong = 0;

    pthread_create(&t, NULL, tell_on_and_on, NULL);
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t marked = prof__era_mark(0x10010000 + i % 20 * 0x100000);

        wrong += prof__era_of(marked) != 0 && prof__era_of(marked) != 100 + i % 20;
    }
    told_enough = true;
    pthread_join(t, NULL);
    CHECK_INT(wrong, 0, "marks of another place");
}

/* --- for dumps -------------------------------------------------------------------------------- */

struct told {
    size_t n, bytes;
    bool has_root, has_stack, has_row, has_block, has_name;
    uintptr_t stack, row, block, name;
};

static void note_range(const void *start, size_t size, void *arg)
{
    struct told *t = arg;
    uintptr_t from = (uintptr_t)start;

    t->n++;
    t->bytes += size;
    t->has_root |= size >= 16 && memcmp(start, "\x8flibprof\r\n\x1a\n", 12) == 0;
    t->has_stack |= t->stack >= from && t->stack < from + size;
    t->has_row |= t->row >= from && t->row < from + size;
    t->has_block |= t->block >= from && t->block < from + size;
    t->has_name |= t->name >= from && t->name < from + size;
}

/* What a minidump is told to hold leads to every stack, row, block and name. */
static void test_dump_ranges_have_stacks_and_rows(void)
{
    struct prof_profile *own = NULL;
    struct prof__live stale;

    CHECK_INT(prof__live_add(0x700000001000, &(struct prof__live) { .row = 1 }, &stale), 0,
              "a block");
    CHECK_INT(prof_profile_new("told", &own), 0, "a profile");
    struct told t = { .stack = (uintptr_t)prof__stack_table_get(id_of[0][STACKS - 1]),
                      .row = (uintptr_t)prof__rows_at(row_of[0][STACKS - 1]),
                      .block = (uintptr_t)prof__live_segments[0],
                      .name = (uintptr_t)prof_profile_name(own) };

    CHECK_INT(prof_dump_ranges(note_range, &t), 0, "ranges");
    CHECK(t.has_root && t.has_stack && t.has_row && t.has_block && t.has_name,
          "root %d, stack %d, row %d, block %d, name %d", t.has_root, t.has_stack, t.has_row,
          t.has_block, t.has_name);
    CHECK_BETWEEN(t.bytes, 10000, 24 << 20, "bytes");
    CHECK_BETWEEN(t.n, 10, 128, "ranges");
    CHECK_INT(prof_dump_ranges(NULL, NULL), -EINVAL, "nobody to tell");
}

int main(void)
{
    test_size_classes();
    test_many_threads_agree();
    test_dump_ranges_have_stacks_and_rows();
    test_cpu_profiles_take_nothing_from_others();
    test_code_that_took_anothers_place();
    test_marks_while_places_change();
    test_a_value_that_passes_its_end();
    test_full_tables_keep_totals();
    return check_report();
}
