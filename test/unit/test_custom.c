/*
 * test_custom.c - profiles of the program's own: names, keys, skips, and many threads at it.
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/random.h"
#include "check.h"
#include "profile/registry.h"
#include "table/rows.h"
#include "unwind/stack.h"

static void test_names(void)
{
    static const struct {
        const char *name;
        int want;
    } cases[] = {
        { "example.org/pool.conns", 0 },
        { "example.org/pool.conns", -EEXIST },
        { "heap", -EEXIST },
        { "profile", -EEXIST },
        { "cmdline", -EEXIST },
        { "symbol", -EEXIST },
        { "trace", -EEXIST },
        { "goroutine", -EEXIST },
        { "", -EINVAL },
        { NULL, -EINVAL },
        { "two words", -EINVAL },
        { "tab\there", -EINVAL },
        { "quo\"te", -EINVAL },
        { "line\n", -EINVAL },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prof_profile *p = NULL;

        CHECK_INT(prof_profile_new(cases[i].name, &p), cases[i].want,
                  cases[i].name ? cases[i].name : "(null)");
        CHECK((p != NULL) == (cases[i].want == 0), "a handle only on success");
        if (p)
            CHECK(prof_lookup(cases[i].name) == p, "found by name");
        else
            CHECK(prof_last_error()[0], "an error has a sentence");
    }
}

static void test_keys(void)
{
    struct prof_profile *p, *heap = prof_lookup("heap");
    int a, b;

    CHECK_INT(prof_profile_new("keys", &p), 0, "new");
    CHECK_INT(prof_profile_add(p, &a, 0), 0, "add");
    CHECK_INT(prof_profile_add(p, &a, 0), -EEXIST, "the same key again");
    CHECK_INT(prof_profile_add(p, &b, 0), 0, "another key");
    CHECK_INT(prof_profile_count(p), 2, "count");
    CHECK_INT(prof_profile_remove(p, &a), 0, "remove");
    CHECK_INT(prof_profile_remove(p, &a), 0, "remove again");
    CHECK_INT(prof_profile_count(p), 1, "count");
    CHECK_INT(prof_profile_add(p, NULL, 0), -EINVAL, "NULL key");
    CHECK_INT(prof_profile_add(NULL, &a, 0), -EINVAL, "NULL profile");
    CHECK_INT(prof_profile_add(heap, &a, 0), -EPERM, "a built-in profile");
    CHECK_INT(prof_profile_remove(heap, &a), 0, "remove from a built-in one");
    CHECK_INT(prof_profile_remove(NULL, &a), -EINVAL, "NULL profile");
    struct prof_window *w;
    CHECK_INT(prof_window_open("keys", &w), -ENOTSUP, "no window");
}

static int root_of(uint32_t ref, const struct prof__row *row, void *arg)
{
    (void)ref;
    *(uintptr_t *)arg = prof__stack_table_get(row->stack)->pcs[0];
    return 0;
}

static void test_skip_past_the_end(void)
{
    struct prof_profile *p;
    uintptr_t pc = 0;
    int a;

    prof_profile_new("skips", &p);
    CHECK_INT(prof_profile_add(p, &a, 1000), 0, "counted all the same");
    CHECK_INT(prof_profile_count(p), 1, "count");
    prof__rows_each(p->table, root_of, &pc);
    CHECK_INT(pc, PROF__PC_SKIPPED, "pseudo frame");
}

enum { THREADS = 8, KEYS = 300, ROUNDS = 40 };

static struct prof_profile *shared;
static char keys[THREADS][KEYS];

static void *come_and_go(void *arg)
{
    char *mine = keys[(uintptr_t)arg];
    uint64_t rng = (uintptr_t)arg + 1;
    long failed = 0;

    for (int i = 0; i < ROUNDS * KEYS; i++) {
        size_t k = prof__random(&rng) % KEYS;

        if (mine[k])
            failed += prof_profile_remove(shared, &mine[k]) != 0;
        else
            failed += prof_profile_add(shared, &mine[k], 0) != 0;
        mine[k] = !mine[k];
    }
    return (void *)failed;
}

static int add_up(uint32_t ref, const struct prof__row *row, void *arg)
{
    (void)ref;
    *(int64_t *)arg += row->value[0] - row->value[1];
    return 0;
}

static void test_many_threads(void)
{
    pthread_t thread[THREADS];
    int64_t want = 0, in_rows = 0;
    void *failed;

    prof_profile_new("shared", &shared);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, come_and_go, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], &failed);
        CHECK(!failed, "%ld calls failed", (long)failed);
        for (int k = 0; k < KEYS; k++)
            want += keys[i][k];
    }
    CHECK_INT(prof_profile_count(shared), want, "keys in the set");
    prof__rows_each(shared->table, add_up, &in_rows);
    CHECK_INT(in_rows, want, "values of the rows");
    for (int i = 0; i < THREADS; i++)
        for (int k = 0; k < KEYS; k++)
            if (keys[i][k])
                prof_profile_remove(shared, &keys[i][k]);
    CHECK_INT(prof_profile_count(shared), 0, "empty again");
}

static atomic_bool reading;

static int count_bytes(void *arg, const void *data, size_t size)
{
    (void)data;
    *(size_t *)arg += size;
    return 0;
}

static void *read_again_and_again(void *arg)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    long rounds = 0;

    (void)arg;
    o.no_symbols = 1;
    while (atomic_load(&reading) || rounds == 0) {
        size_t size = 0;

        o.debug = (int)(rounds & 1);
        if (prof_profile_write(shared, &o, count_bytes, &size) != 0 || size == 0 ||
            prof_profile_count(shared) < 0)
            return NULL;
        rounds++;
    }
    return (void *)rounds;
}

/* Eight threads add and remove while four read. */
static void test_readers_meanwhile(void)
{
    enum { READERS = 4 };
    pthread_t writer[THREADS], reader[READERS];
    void *result;

    atomic_store(&reading, true);
    for (int i = 0; i < READERS; i++)
        pthread_create(&reader[i], NULL, read_again_and_again, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&writer[i], NULL, come_and_go, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(writer[i], &result);
        CHECK(!result, "%ld calls failed", (long)result);
    }
    atomic_store(&reading, false);
    for (int i = 0; i < READERS; i++) {
        pthread_join(reader[i], &result);
        CHECK(result, "a reader got an error, or nothing");
    }
}

static void test_listing_is_sorted(void)
{
    struct prof_profile *all[64];
    size_t n = prof_profiles(all, 64);

    CHECK_INT(prof_profiles(NULL, 0), n, "counting only");
    for (size_t i = 1; i < n; i++)
        CHECK(strcmp(prof_profile_name(all[i - 1]), prof_profile_name(all[i])) < 0, "sorted");
    CHECK(prof_lookup("heap") && prof_lookup("allocs"), "the built-in ones are there");
    CHECK(!prof_lookup("profile") && !prof_lookup("nosuch") && !prof_lookup(NULL), "others not");
}

int main(void)
{
    test_names();
    test_keys();
    test_skip_past_the_end();
    test_many_threads();
    test_readers_meanwhile();
    test_listing_is_sorted();
    return check_report();
}
