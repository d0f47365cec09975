/*
 * mmap_calls.c - the profile mmap: every mapping under its caller, through every way in which one
 * ends, in part or whole; and the calls as without libprof.
 *
 * Linked with libprof and its hooks, or with the hooks preloaded.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <prof/prof.h>

#include "check.h"
#include "long_run.h"
#include "totals.h"

#define PAGE ((size_t)4096)

/* The rows whose leaf is in `function`; all that the hooks have seen where that is NULL. */
static struct totals under(const void *function)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    struct totals sum = { 0 };

    options.debug = 1;
    options.no_symbols = 1;
    totals_size = 0;
    CHECK_INT(prof_profile_write(prof_lookup("mmap"), &options, totals_sink, NULL), 0, "written");
    for (char *line = strchr(totals_text, '\n'); line; line = strchr(line + 1, '\n')) {
        struct totals c;
        unsigned long long leaf;

        if (line[1] == '\n' || sscanf(line, "\n%lld: %lld [%lld: %lld] @ 0x%llx", &c.inuse_objects,
                                      &c.inuse_bytes, &c.alloc_objects, &c.alloc_bytes, &leaf) != 5)
            continue;
        if (leaf - (uintptr_t)function >= 512)
            continue;
        sum.inuse_objects += c.inuse_objects;
        sum.inuse_bytes += c.inuse_bytes;
        sum.alloc_objects += c.alloc_objects;
        sum.alloc_bytes += c.alloc_bytes;
    }
    return sum;
}

#define SITE    static __attribute__((noinline, aligned(512)))
#define STAY(x) __asm__ volatile("" : "+r"(x)::"memory")

SITE void *map(void *at, size_t size, int flags)
{
    void *p = mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

    STAY(p);
    return p;
}

SITE void *map_file(size_t size)
{
    char path[] = "/tmp/libprof-mmap-XXXXXX";
    int fd = mkstemp(path);
    void *p = MAP_FAILED;

    unlink(path);
    if (ftruncate(fd, (off_t)size) == 0)
        p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    STAY(p);
    return p;
}

SITE void *remap(void *p, size_t old, size_t size, int flags)
{
    void *q = mremap(p, old, size, flags);

    STAY(q);
    return q;
}

SITE void *grow(intptr_t n)
{
    void *p = sbrk(n);

    STAY(p);
    return p;
}

#define CHECK_UNDER(function, objects, pages, what)                   \
    do {                                                              \
        struct totals c = under((const void *)(uintptr_t)(function)); \
        CHECK_INT(c.inuse_objects, objects, what);                    \
        CHECK_INT(c.inuse_bytes, (long long)((pages)*PAGE), what);    \
    } while (0)

static void test_pieces(void)
{
    char *p = map(NULL, 10 * PAGE - 7, 0);
    CHECK_UNDER(map, 1, 10, "one of ten pages, as the kernel rounds");
    CHECK_INT(munmap(p + 4 * PAGE, PAGE), 0, "a hole");
    CHECK_UNDER(map, 1, 9, "less a page in the middle");
    CHECK_INT(munmap(p + 4 * PAGE, PAGE), 0, "where nothing is any more");
    CHECK_UNDER(map, 1, 9, "nothing changes");
    CHECK_INT(munmap(p + 9 * PAGE, PAGE), 0, "the end");
    CHECK_UNDER(map, 1, 8, "less one at the end");
    CHECK_INT(munmap(p, PAGE), 0, "the beginning");
    CHECK_UNDER(map, 1, 7, "and one at the beginning");
    CHECK(map(p + 2 * PAGE, 4 * PAGE, MAP_FIXED) == p + 2 * PAGE, "over what is there");
    CHECK_UNDER(map, 2, 8, "three pages over others, one in the hole");
    CHECK_INT(munmap(p, 10 * PAGE), 0, "all of it");
    CHECK_UNDER(map, 0, 0, "gone");
}

static void test_resizing(void)
{
    char *p = map(NULL, 2 * PAGE, 0);
    char *q = remap(p, 2 * PAGE, 300 * PAGE, MREMAP_MAYMOVE);
    CHECK_UNDER(map, 0, 0, "no longer who made it");
    CHECK_UNDER(remap, 1, 300, "but who resized it");
    q = remap(q, 300 * PAGE, 3 * PAGE, 0);
    CHECK_UNDER(remap, 1, 3, "smaller");
    errno = 0;
    CHECK(remap(q, 3 * PAGE, (size_t)1 << 46, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM,
          "refused");
    CHECK_UNDER(remap, 1, 3, "as it was");
    munmap(q, 3 * PAGE);
    CHECK_UNDER(remap, 0, 0, "gone");
}

/* What libc takes for a success, and the kernel leaves as it was, ends nothing. */
static void test_a_break_that_stays(void)
{
    char *mapped = map(NULL, PAGE, 0), *before = sbrk(0);

    CHECK_UNDER(map, 1, 1, "a page");
    brk(NULL);
    CHECK(sbrk(0) == before, "brk(NULL) moves nothing");
    brk((void *)PAGE);
    sbrk(-((intptr_t)before - (intptr_t)PAGE));
    CHECK(sbrk(0) == before, "nor does any address below the program");
    CHECK_UNDER(map, 1, 1, "so all is as it was");
    CHECK_INT(under((const void *)(uintptr_t)grow).inuse_bytes, 1000, "below it, too");
    munmap(mapped, PAGE);
}

static void test_files_and_the_break(void)
{
    void *p = map_file(5 * PAGE);
    CHECK_UNDER(map_file, 1, 5, "a file");
    munmap(p, 5 * PAGE);
    CHECK_UNDER(map_file, 0, 0, "gone");

    char *before = sbrk(0);
    CHECK(grow(8 * (intptr_t)PAGE) == before, "sbrk");
    CHECK_UNDER(grow, 1, 8, "the break has moved");
    CHECK(grow(-8 * (intptr_t)PAGE) == before + 8 * PAGE, "back");
    CHECK(sbrk(0) == before, "as it was");
    CHECK_UNDER(grow, 0, 0, "gone");
    for (int i = 0; i < 10; i++)
        grow(100);
    CHECK_INT(under((const void *)(uintptr_t)grow).inuse_bytes, 1000, "to the byte, in one page");
    test_a_break_that_stays();
    grow(-300);
    CHECK_INT(under((const void *)(uintptr_t)grow).inuse_bytes, 700, "less what was given back");
    grow(-700);
    CHECK_UNDER(grow, 0, 0, "gone");
}

static void test_refusals(void)
{
    errno = 0;
    CHECK(map(NULL, 0, 0) == MAP_FAILED && errno == EINVAL, "nothing");
    errno = 0;
    CHECK(munmap((void *)1, PAGE) == -1 && errno == EINVAL, "at no page");
    CHECK_UNDER(map, 0, 0, "neither counts");
}

static void *churn(void *arg)
{
    for (int i = 0; i < long_run(3000, 100000); i++) {
        char *p = map(NULL, (size_t)(1 + i % 5) * PAGE, 0);

        if (i % 3 == 0)
            munmap(p, PAGE);
        munmap(p, (size_t)(1 + i % 5) * PAGE);
    }
    return arg;
}

/* Addresses come round among threads at once. */
static void test_threads(void)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, churn, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK_UNDER(map, 0, 0, "nothing is left over");
}

/* What is mapped, by the kernel's list, less what has no access. */
static long long mapped_bytes(void)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[4352], permissions[8];
    unsigned long long start, end;
    long long sum = 0;

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "%llx-%llx %7s", &start, &end, permissions) == 3 &&
            strncmp(permissions, "---", 3) != 0)
            sum += (long long)(end - start);
    if (f)
        fclose(f);
    return sum;
}

static void test_it_adds_up(void)
{
    char *p = map(NULL, 1000 * PAGE, 0);
    struct totals c = { 0 };

    under(NULL);
    CHECK(sscanf(totals_text, "heap profile: %lld: %lld", &c.inuse_objects, &c.inuse_bytes) == 2,
          "%.60s", totals_text);
    long long mapped = mapped_bytes();
    CHECK_BETWEEN(c.inuse_bytes, 0.9 * (double)mapped, 1.1 * (double)mapped,
                  "the profile adds up to what the kernel lists");
    munmap(p, 1000 * PAGE);
}

int main(void)
{
    test_refusals();
    test_pieces();
    test_resizing();
    test_files_and_the_break();
    test_it_adds_up();
    test_threads();
    return check_report();
}
