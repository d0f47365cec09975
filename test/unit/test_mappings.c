/*
 * test_mappings.c - what is mapped, by address: as a plain table of pages has it, whatever is cut,
 * mapped over and taken back; and in a child that has the lock of a thread that is not there.
 */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "check.h"
#include "table/mappings.h"

#define BASE ((uintptr_t)0x700000000000)

enum { PAGE = 4096, PAGES = 6000, STEPS = 40000, OWNERS = 50, THREADS = 3 };

/* --- against a table of pages ----------------------------------------------------------------- */

static uint32_t owner[PAGES]; /* 0: nobody */
static int64_t bytes_of[OWNERS + 1], objects_of[OWNERS + 1];

static void gone(uint32_t row, uint64_t bytes, bool object)
{
    bytes_of[row] -= (int64_t)bytes;
    objects_of[row] -= object;
}

static void gone_elsewhere(uint32_t row, uint64_t bytes, bool object)
{
    (void)row, (void)bytes, (void)object;
}

static void check_same(void)
{
    struct prof__arena arena = { 0 };
    struct prof__mapping *piece;
    size_t n, at = 0;
    uintptr_t end = 0;
    int64_t bytes[OWNERS + 1] = { 0 };

    CHECK_INT(prof__mappings_copy(&arena, &piece, &n), 0, "copied");
    for (size_t i = 0; i < n; i++) {
        CHECK(piece[i].start >= end && piece[i].end > piece[i].start, "in order, and apart");
        end = piece[i].end;
        for (; at < (piece[i].start - BASE) / PAGE; at++)
            CHECK_INT(owner[at], 0, "nobody's page");
        for (; at < (piece[i].end - BASE) / PAGE; at++)
            CHECK_INT(owner[at], piece[i].row, "whose page");
        bytes[piece[i].row] += (int64_t)(piece[i].end - piece[i].start);
    }
    for (; at < PAGES; at++)
        CHECK_INT(owner[at], 0, "nobody's page above all");
    for (int i = 1; i <= OWNERS; i++) {
        CHECK_INT(bytes_of[i], bytes[i], "bytes told as gone are those that are");
        CHECK(objects_of[i] >= 0, "no object goes twice");
    }
    prof__arena_free(&arena);
}

static void step(uint64_t *rng)
{
    uint64_t r = prof__random(rng);
    size_t from = r % PAGES, n = 1 + (r >> 20) % ((r >> 40) % 8 ? 4 : 200);
    uint32_t who = (r >> 50) % 3 ? 1 + (uint32_t)(r >> 32) % OWNERS : 0;

    n = n > PAGES - from ? PAGES - from : n;
    if (who) {
        bytes_of[who] += (int64_t)n * PAGE;
        objects_of[who]++;
        CHECK(prof__mappings_add(BASE + from * PAGE, n * PAGE, who, gone), "added");
    } else {
        CHECK(prof__mappings_remove(BASE + from * PAGE, n * PAGE, prof__mappings_now(), gone),
              "removed");
    }
    for (size_t i = 0; i < n; i++)
        owner[from + i] = who;
}

static void test_as_a_table_of_pages(void)
{
    uint64_t rng = 1;

    for (int i = 0; i < STEPS; i++) {
        step(&rng);
        if (i % 4000 == 0)
            check_same();
    }
    check_same();
    CHECK(prof__mappings_remove(BASE, PAGES * (size_t)PAGE, prof__mappings_now(), gone), "all");
    for (int i = 1; i <= OWNERS; i++)
        CHECK(bytes_of[i] == 0 && objects_of[i] == 0, "nothing of %d is left", i);
}

/* The address of what was unmapped may be another's by the time that is noted. */
static void test_newer_ones_stay(void)
{
    uint64_t before = prof__mappings_now();

    bytes_of[1] = 8 * PAGE;
    CHECK(prof__mappings_add(BASE, 8 * PAGE, 1, gone), "added");
    CHECK(prof__mappings_remove(BASE, 8 * PAGE, before, gone), "asked for before that");
    CHECK_INT(bytes_of[1], 8 * PAGE, "it stays");
    CHECK(prof__mappings_remove(BASE, 8 * PAGE, prof__mappings_now(), gone), "and now");
    CHECK_INT(bytes_of[1], 0, "it is gone");
}

/* --- as many as there may be ------------------------------------------------------------------ */

static void test_65530_of_them(void)
{
    enum { MANY = 65530 };
    struct prof__arena arena = { 0 };
    struct prof__mapping *piece;
    size_t n;

    /* Not in order, which leaves chunks half full. */
    for (uintptr_t i = 0; i < MANY; i++)
        CHECK(prof__mappings_add(BASE + (i * 40503 % MANY) * 2 * PAGE, PAGE, 1, gone_elsewhere),
              "%zu", (size_t)i);
    CHECK_INT(prof__mappings_copy(&arena, &piece, &n), 0, "copied");
    CHECK_INT(n, MANY, "all of them");
    prof__arena_free(&arena);
    CHECK(prof__mappings_remove(BASE, (uintptr_t)MANY * 2 * PAGE, prof__mappings_now(),
                                gone_elsewhere),
          "removed");
}

/* Unmapped in order, which leaves a few in every part: there is room for others then. */
static void test_room_of_those_gone(void)
{
    enum { MANY = 65000, EACH = 32 };

    for (uintptr_t i = 0; i < MANY; i++)
        CHECK(prof__mappings_add(BASE + i * 2 * PAGE, PAGE, 1, gone_elsewhere), "%zu", (size_t)i);
    for (uintptr_t i = 0; i < MANY; i++)
        CHECK(i % EACH == EACH - 1 || prof__mappings_remove(BASE + i * 2 * PAGE, PAGE,
                                                            prof__mappings_now(), gone_elsewhere),
              "%zu less", (size_t)i);
    for (uintptr_t i = 0; i < MANY - MANY / EACH; i++)
        CHECK(prof__mappings_add(BASE + (uintptr_t)MANY * 2 * PAGE + i * 2 * PAGE, PAGE, 1,
                                 gone_elsewhere),
              "%zu more", (size_t)i);
    CHECK(prof__mappings_remove(BASE, (uintptr_t)MANY * 4 * PAGE, prof__mappings_now(),
                                gone_elsewhere),
          "all");
}

/* --- forks ------------------------------------------------------------------------------------ */

static _Atomic bool enough;

static void *hammer(void *arg)
{
    uintptr_t base = BASE + ((uintptr_t)arg << 32);

    for (uintptr_t i = 0; !atomic_load_explicit(&enough, memory_order_relaxed); i++) {
        prof__mappings_add(base + i % 100 * PAGE, PAGE, 1, gone_elsewhere);
        prof__mappings_remove(base + i * 7 % 100 * PAGE, PAGE, prof__mappings_now(),
                              gone_elsewhere);
    }
    return NULL;
}

/* The lock may be another thread's that is not here; nobody waits for it for long. */
static int work_in_child(void)
{
    struct prof__arena arena = { 0 };
    struct prof__mapping *piece;
    bool found = false;
    size_t n;

    alarm(20);
    for (uintptr_t i = 0; i < 1000; i++)
        if (!prof__mappings_add(BASE + i * 2 * PAGE, PAGE, 2, gone_elsewhere))
            return 1;
    if (prof__mappings_copy(&arena, &piece, &n) < 0)
        return 2;
    for (size_t i = 0; i < n; i++)
        found |= piece[i].start == BASE + 500 * 2 * PAGE && piece[i].row == 2;
    return found ? 0 : 3;
}

static void children(pid_t (*make)(void), const char *what)
{
    for (int i = 0; i < 60; i++) {
        pid_t child = make();
        int status = -1;

        if (child == 0)
            _exit(work_in_child());
        waitpid(child, &status, 0);
        CHECK_INT(status, 0, what);
    }
}

static void test_children(void)
{
    pthread_t thread[THREADS];

    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, hammer, (void *)(i + 1));
    children(fork, "a child of fork()");
#ifndef __SANITIZE_THREAD__ /* whose own locks are as that call found them */
    children(_Fork, "a child of _Fork(), which runs no handlers");
#endif
    atomic_store(&enough, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
}

int main(void)
{
    test_as_a_table_of_pages();
    test_newer_ones_stay();
    test_65530_of_them();
    test_room_of_those_gone();
    test_children();
    return check_report();
}
