/*
 * test_compile.c - what the rule compiler must not do: allocate, look for objects, keep memory,
 * believe a damaged table, or let cancellation in while it holds its lock.
 */
#include "unwind/compile.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/random.h"
#include "check.h"
#include "unwind/bounds.h"
#include "unwind/cfi.h"
#include "unwind/rawmask.h"
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
/* In front of libc's, for libunwind too. */
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
    bool found = prof__object_find((uintptr_t)a_function_of_libc, ret);

    CHECK(found, "libc is not known");
    return found;
}

static bool compile(uintptr_t pc, const struct prof__object *o, struct prof__rule *ret)
{
    if (prof__compile_enter(false) != 0)
        return false;
    prof__compile(pc, true, o, ret);
    prof__compile_leave();
    return true;
}

static void test_it_allocates_and_looks_for_nothing(void)
{
    enum { TIMES = 30000 };
    uint64_t seed = 1;
    struct prof__object o;
    struct prof__rule r;
    unsigned useful = 0, refused = 0;

    if (!find_libc(&o))
        return;
    for (int round = 0; round < 2; round++) {
        long before = resident_pages();

        watching = true;
        for (int i = 0; i < TIMES; i++) {
            refused += !compile(o.start + prof__random(&seed) % o.size, &o, &r);
            useful += prof__rule_kind(r.step) <= PROF__RULE_RBP;
        }
        watching = false;
        CHECK_INT(allocations, 0, "malloc");
        CHECK_INT(iterations, 0, "dl_iterate_phdr");
        CHECK_INT(refused, 0, "refused");
        /* The tables are paged in by the first round. */
        if (round == 1)
            CHECK(resident_pages() - before < 64, "memory grows: %ld pages",
                  resident_pages() - before);
    }
    CHECK(useful > TIMES / 3, "%u rules", useful);
}

static void test_compilers_are_understood(void)
{
    uint64_t seed = 3;
    struct prof__object o;
    struct prof__cfi_table table;
    struct prof__rule rule;
    unsigned rules = 0, usual = 0;

    if (!find_libc(&o))
        return;
    struct prof__reader reader = { .object = &o };
    if (!prof__cfi_table(&reader, o.eh_frame_hdr, &table)) {
        CHECK(false, "libc has no table");
        return;
    }
    for (int i = 0; i < 10000; i++) {
        uintptr_t pc = o.start + prof__random(&seed) % o.size;
        struct prof__cfi_row row;

        reader.n_reads = 0;
        compile(pc, &o, &rule);
        if (prof__rule_kind(rule.step) > PROF__RULE_BASE)
            continue;
        rules++;
        usual += prof__cfi_row(&reader, &table, pc, &row);
    }
    CHECK(rules > 3000, "%u rules", rules);
    CHECK(usual >= rules / 100 * 98, "%u of %u rules without libunwind", usual, rules);
}

static void test_nothing_is_read_far_away(void)
{
    /* From a program at such an address two gigabytes go around, both ways. */
    struct prof__object low = { .start = 0x400000, .size = 0x100000 };
    struct prof__object high = { .start = ((uintptr_t)1 << 47) - 0x100000, .size = 0x1000 };
    const uintptr_t bad[] = { 0, 8, 4095, (uintptr_t)1 << 47, UINTPTR_MAX - 7, UINTPTR_MAX };
    uintptr_t word;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct prof__reader a = { .object = &low }, b = { .object = &high };

        CHECK(!prof__read_word(&a, bad[i], &word), "%#lx near 0", (unsigned long)bad[i]);
        CHECK(!prof__read_word(&b, bad[i], &word), "%#lx near the end", (unsigned long)bad[i]);
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
    CHECK_INT(prof__rule_kind(r.step), PROF__RULE_RSP, "the copy is as good");

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
    CHECK(kinds[PROF__RULE_RSP] > 0 && kinds[PROF__RULE_NO_INFO] > 0, "rules of both kinds");

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

    if (!prof__object_find((uintptr_t)a_function_of_libc, &o))
        return;
    const uintptr_t tables[] = { 0, 8, o.start - 4096, o.start + o.size - 4, UINTPTR_MAX - 100 };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        o.eh_frame_hdr = tables[i];
        compile((uintptr_t)a_function_of_libc, &o, &r);
        CHECK_INT(prof__rule_kind(r.step), PROF__RULE_NO_INFO, "no table");
    }
}

/* --- the lock ----------------------------------------------------------------------------------
 */

static void test_signals_and_cancellation_wait(void)
{
    uint64_t before, inside, after;
    int cancel, type;

    prof__raw_sigmask(SIG_BLOCK, NULL, &before);
    CHECK_INT(prof__compile_enter(false), 0, "enter");
    prof__raw_sigmask(SIG_BLOCK, NULL, &inside);
    CHECK(~inside == (1u << (SIGKILL - 1) | 1u << (SIGSTOP - 1)), "all masked but two: %#lx",
          inside);
    CHECK_INT(prof__compile_enter(false), PROF__PC_BUSY, "a second time");
    prof__compile_leave();
    prof__raw_sigmask(SIG_BLOCK, NULL, &after);
    CHECK(before == after, "the mask is as it was");
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &cancel);
    CHECK_INT(cancel, PTHREAD_CANCEL_ENABLE, "and so is cancellation");
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
    CHECK_INT(type, PTHREAD_CANCEL_DEFERRED, "and its type");
}

#ifndef SANITIZED
static _Atomic unsigned compiled;

static void *compile_for_ever(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    struct prof__object o;
    struct prof__rule r;
    int old;

    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    if (!prof__object_find((uintptr_t)a_function_of_libc, &o))
        return NULL;
    for (;;) {
        compile(o.start + prof__random(&seed) % o.size, &o, &r);
        atomic_fetch_add_explicit(&compiled, 1, memory_order_relaxed);
    }
}

static void test_a_canceled_thread_leaves_the_lock_free(void)
{
    struct prof__object o;
    struct prof__rule r;
    unsigned stuck = 0;

    if (!prof__object_find((uintptr_t)a_function_of_libc, &o))
        return;
    for (uintptr_t i = 0; i < 1000; i++) {
        unsigned start = atomic_load(&compiled);
        pthread_t t;

        pthread_create(&t, NULL, compile_for_ever, (void *)(i + 1));
        while (atomic_load(&compiled) - start < 20 + i % 30)
            sched_yield();
        pthread_cancel(t);
        pthread_join(t, NULL);
        stuck += !compile((uintptr_t)a_function_of_libc, &o, &r);
    }
    CHECK_INT(stuck, 0, "locks left behind");
}
#else /* they lose count of a stack that is left this way */
static void test_a_canceled_thread_leaves_the_lock_free(void)
{
}
#endif

int main(void)
{
    uintptr_t pcs[PROF__STACK_MAX];

    CHECK_INT(prof__compile_enter(false), PROF__PC_BUSY, "nothing is set up from a handler");
    prof__objects_refresh(); /* where a list stands in for the dynamic linker's */
    prof__stack_here(__builtin_return_address(0), pcs, PROF__STACK_MAX);
    CHECK_INT(prof__compile_enter(false), 0, "but from a hook it is");
    prof__compile_leave();
    prof__stack_init();
    test_it_allocates_and_looks_for_nothing();
    test_compilers_are_understood();
    test_nothing_is_read_far_away();
    test_damaged_tables_are_survived();
    test_objects_without_a_table();
    test_signals_and_cancellation_wait();
    test_a_canceled_thread_leaves_the_lock_free();
    return check_report();
}
