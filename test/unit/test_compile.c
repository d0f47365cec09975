/*
 * test_compile.c - what the rule compiler must not do: allocate, look for objects, or believe a
 * damaged table.
 */
#include "unwind/compile.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <search.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/random.h"
#include "check.h"
#include "unwind/cfi.h"
#include "unwind/stack.h"

/* --- calls that must not happen ----------------------------------------------------------------
 */

static volatile bool watching;
static volatile unsigned iterations, allocations;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#ifndef SANITIZED
/* In front of libc's. */
int dl_iterate_phdr(int (*f)(struct dl_phdr_info *, size_t, void *), void *arg)
{
    static int (*real)(int (*)(struct dl_phdr_info *, size_t, void *), void *);

    if (watching)
        iterations++;
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "dl_iterate_phdr");
    return real(f, arg);
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);

void *malloc(size_t size)
{
    if (watching)
        allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    if (watching)
        allocations++;
    return __libc_calloc(n, size);
}
#endif

static long resident_pages(void)
{
    long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f) {
        if (fscanf(f, "%ld %ld", &size, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return resident;
}

/* One that no sanitizer replaces. */
#define a_function_of_libc twalk

static bool find_libc(struct prof__object *ret)
{
    bool found = prof__object_find((uintptr_t)a_function_of_libc, true, ret);

    CHECK(found, "libc is not known");
    return found;
}

static void compile(uintptr_t pc, const struct prof__object *o, struct prof__rule *ret)
{
    prof__compile(pc, true, o, PROF__READ_HELD, ret);
}

static void test_it_allocates_and_looks_for_nothing(void)
{
    enum { TIMES = 30000 };
    uint64_t seed = 1;
    struct prof__object o;
    struct prof__rule r;
    unsigned useful = 0;

    if (!find_libc(&o))
        return;
    for (int round = 0; round < 2; round++) {
        long before = resident_pages();

        watching = true;
        for (int i = 0; i < TIMES; i++) {
            compile(o.start + prof__random(&seed) % o.size, &o, &r);
            useful += prof__rule_kind(r.step) <= PROF__RULE_FP;
        }
        watching = false;
        CHECK_INT(allocations, 0, "malloc");
        CHECK_INT(iterations, 0, "dl_iterate_phdr");
        /* The tables are paged in by the first round. */
        if (round == 1)
            CHECK(resident_pages() - before < 64, "memory grows: %ld pages",
                  resident_pages() - before);
    }
    CHECK(useful > TIMES / 3, "%u rules", useful);
}

static void test_nothing_is_read_far_away(void)
{
    /* From a program at such an address two gigabytes go around, both ways. */
    struct prof__object low = { .start = 0x400000, .size = 0x100000 };
    struct prof__object high = { .start = ((uintptr_t)1 << 47) - 0x100000, .size = 0x1000 };
    const uintptr_t bad[] = { 0, 8, 4095, (uintptr_t)1 << 47, UINTPTR_MAX - 7, UINTPTR_MAX };
    uintptr_t word;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct prof__reader a, b;

        prof__reader_start(&a, &low, PROF__READ_FOREIGN);
        prof__reader_start(&b, &high, PROF__READ_FOREIGN);
        CHECK(!prof__read_number(&a, bad[i], 8, &word), "%#lx near 0", (unsigned long)bad[i]);
        CHECK(!prof__read_number(&b, bad[i], 8, &word), "%#lx near the end", (unsigned long)bad[i]);
    }
}

/* --- damage ----------------------------------------------------------------------------------- */

/* A private copy of an object, gaps included, that can be damaged: its tables only hold distances,
 * so they are right in the copy too. */
PROF_NO_SANITIZE static char *copy_object(const struct prof__object *o)
{
    char *copy = mmap(NULL, o->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (copy == MAP_FAILED)
        return NULL;
    for (size_t at = 0; at < o->size; at += 4096) {
        if (!prof__page_readable(o->start + at)) {
            mprotect(copy + at, 4096, PROT_NONE);
            continue;
        }
        /* No memcpy, into which sanitizers look. */
        for (size_t i = at; i < PROF_MIN(at + 4096, o->size); i++)
            ((volatile char *)copy)[i] = ((const volatile char *)o->start)[i];
    }
    return copy;
}

static void test_damaged_tables_are_survived(void)
{
    enum { TIMES = 20000, FLIPS = 40 };
    uint64_t seed = 2;
    struct prof__object o, c;
    struct prof__rule r;
    unsigned kinds[16] = { 0 };

    if (!find_libc(&o))
        return;
    char *copy = copy_object(&o);
    c = o;
    c.start = (uintptr_t)copy;
    c.eh_frame_hdr = c.start + (o.eh_frame_hdr - o.start);
    compile(c.start + ((uintptr_t)a_function_of_libc - o.start), &c, &r);
    CHECK_INT(prof__rule_kind(r.step), PROF__RULE_SP, "the copy is as good");

    /* The table and .eh_frame behind it, to the end of their mapping. */
    size_t tables = 0;
    while (c.eh_frame_hdr + tables < c.start + c.size &&
           prof__page_readable(c.eh_frame_hdr + tables) && tables < 400000)
        tables += 4096;
    tables -= 8192;
    for (int i = 0; i < TIMES; i++) {
        char *at[FLIPS], was[FLIPS];

        for (int k = 0; k < FLIPS; k++) {
            /* Every tenth time the head of the table too. */
            at[k] = (char *)c.eh_frame_hdr +
                    prof__random(&seed) % (k == 0 && i % 10 == 0 ? 16 : tables);
            was[k] = *at[k];
            *at[k] = (char)prof__random(&seed);
        }
        compile(c.start + prof__random(&seed) % c.size, &c, &r);
        kinds[prof__rule_kind(r.step)]++;
        for (int k = FLIPS - 1; k >= 0; k--)
            *at[k] = was[k];
    }
    CHECK(kinds[PROF__RULE_SP] > 0 && kinds[PROF__RULE_NO_INFO] > 0, "rules of both kinds");

    /* Bytes at random, all of them, where a function's own entry is. */
    for (int i = 0; i < TIMES; i++) {
        char *entries = (char *)c.eh_frame_hdr + tables / 2;

        for (int k = 0; k < 200; k++)
            entries[prof__random(&seed) % (tables / 2)] = (char)prof__random(&seed);
        compile(c.start + prof__random(&seed) % c.size, &c, &r);
    }
    compile(c.start + ((uintptr_t)a_function_of_libc - o.start), &c, &r);
    CHECK(true, "got here");
    munmap(copy, o.size);
}

static void test_objects_without_a_table(void)
{
    struct prof__object o;
    struct prof__rule r;

    if (!prof__object_find((uintptr_t)a_function_of_libc, true, &o))
        return;
    const uintptr_t tables[] = { 0, 8, o.start - 4096, o.start + o.size - 4, UINTPTR_MAX - 100 };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        o.eh_frame_hdr = tables[i];
        compile((uintptr_t)a_function_of_libc, &o, &r);
        CHECK_INT(prof__rule_kind(r.step), PROF__RULE_NO_INFO, "no table");
    }
}

int main(void)
{
    prof__stack_init();
    test_it_allocates_and_looks_for_nothing();
    test_nothing_is_read_far_away();
    test_damaged_tables_are_survived();
    test_objects_without_a_table();
    return check_report();
}
