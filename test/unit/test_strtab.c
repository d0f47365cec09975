/*
 * test_strtab.c - equal strings get one place, others their own, and it holds many.
 */
#include "encode/strtab.h"

#include "check.h"
#include "faults.h"

static void test_places_are_given_in_order_and_once(void)
{
    enum { N = 100000 };
    struct prof__arena a = { 0 };
    struct prof__strtab t;
    int wrong = 0;

    CHECK_INT(prof__strtab_init(&t, &a), 0, "init");
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 1; i <= N; i++) {
            const char *s = prof__arena_printf(&a, "name %u", i * 2654435761u);

            wrong += prof__strtab_add(&t, s) != i || strcmp(t.string[i], s) != 0;
        }
    }
    CHECK_INT(wrong, 0, "strings in a wrong place");
    CHECK_INT(t.n, N + 1, "strings");
    CHECK_INT(t.error, 0, "error");
    prof__arena_free(&a);
}

static void test_nothing_is_the_empty_string_and_the_wrong_is_cleaned(void)
{
    struct prof__arena a = { 0 };
    struct prof__strtab t;

    prof__strtab_init(&t, &a);
    CHECK_INT(prof__strtab_add(&t, NULL), 0, "NULL");
    CHECK_INT(prof__strtab_add(&t, ""), 0, "empty");
    CHECK_STR(t.string[0], "", "string 0");
    CHECK_INT(prof__strtab_add(&t, "a\xff"), 1, "wrong bytes");
    CHECK_INT(prof__strtab_add(&t, "a\xfe"), 1, "other wrong bytes, equal once cleaned");
    CHECK_STR(t.string[1], "a\xef\xbf\xbd", "cleaned");
    prof__arena_free(&a);
}

static void test_out_of_memory_is_remembered(void)
{
    struct prof__arena a = { 0 };
    struct prof__strtab t;

    faults_mmap_left = 0;
    CHECK_INT(prof__strtab_init(&t, &a), -ENOMEM, "init");
    faults_mmap_left = -1;

    prof__strtab_init(&t, &a);
    const char *name = prof__arena_alloc(&a, 16 * 4096);
    uint32_t n = 0;
    faults_mmap_left = 0;
    for (int i = 0; name && i < 4096 && !t.error; i++) {
        snprintf((char *)(uintptr_t)name + 16 * i, 16, "name %hd", (short)i);
        n = prof__strtab_add(&t, name + 16 * i);
    }
    faults_mmap_left = -1;
    CHECK_INT(t.error, -ENOMEM, "error");
    CHECK_INT(n, 0, "its place");
    CHECK_INT(prof__strtab_add(&t, "name 1"), 0, "and from then on all are");
    prof__arena_free(&a);
}

int main(void)
{
    test_places_are_given_in_order_and_once();
    test_nothing_is_the_empty_string_and_the_wrong_is_cleaned();
    test_out_of_memory_is_remembered();
    return check_report();
}
