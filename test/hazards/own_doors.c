/*
 * own_doors.c - an allocator's doors beside malloc()'s: each block seen, once, with its caller as
 * leaf, and forgotten again; at the latest when its memory is handed out anew, by whatever door.
 *
 *   own_doors ALLOCATOR LIBRARY   jemalloc, tcmalloc, mimalloc or copying, which is in LD_PRELOAD
 *                                 behind libprof, and where it is
 *
 * At a rate of 1, where nothing else is said. The doors are imported weakly, as programs do that
 * ask which allocator they have.
 */
#include <dlfcn.h>
#include <stdbool.h>

#include "check.h"
#include "totals.h"

#define WEAK __attribute__((weak))

enum { SIZE = 300 };

extern void *mallocx(size_t size, int flags) WEAK;
extern void *rallocx(void *p, size_t size, int flags) WEAK;
extern size_t xallocx(void *p, size_t size, size_t extra, int flags) WEAK;
extern size_t sallocx(const void *p, int flags) WEAK;
extern void dallocx(void *p, int flags) WEAK;
extern void sdallocx(void *p, size_t size, int flags) WEAK;

extern void *_Znwm(size_t size) WEAK;
extern void *_ZnamRKSt9nothrow_t(size_t size, const void *nothrow) WEAK;

extern void *tc_malloc(size_t size) WEAK;
extern void *tc_calloc(size_t n, size_t size) WEAK;
extern void *tc_realloc(void *p, size_t size) WEAK;
extern void *tc_memalign(size_t alignment, size_t size) WEAK;
extern int tc_posix_memalign(void **p, size_t alignment, size_t size) WEAK;
extern void *tc_new(size_t size) WEAK;
extern void tc_free(void *p) WEAK;
extern void tc_free_sized(void *p, size_t size) WEAK;
extern void tc_delete(void *p) WEAK;

extern void *mi_malloc(size_t size) WEAK;
extern void *mi_zalloc(size_t size) WEAK;
extern void *mi_calloc(size_t n, size_t size) WEAK;
extern void *mi_realloc(void *p, size_t size) WEAK;
extern void *mi_recalloc(void *p, size_t n, size_t size) WEAK;
extern void *mi_malloc_aligned(size_t size, size_t alignment) WEAK;
extern void *mi_heap_get_default(void) WEAK;
extern void *mi_heap_malloc(void *heap, size_t size) WEAK;
extern void *mi_heap_realloc(void *heap, void *p, size_t size) WEAK;
extern char *mi_strdup(const char *s) WEAK;
extern void mi_free(void *p) WEAK;
extern void mi_free_size(void *p, size_t size) WEAK;

typedef void *make_fn(size_t size);
typedef void drop_fn(void *p);

/* A caller of its own for each door. */
#define MAKER(name, call)                                                      \
    static __attribute__((noinline, aligned(512))) void *make_##name(size_t n) \
    {                                                                          \
        void *p = (call);                                                      \
        __asm__ volatile("" : "+r"(p)::"memory");                              \
        return p;                                                              \
    }
#define DROPPER(name, call)                                    \
    static __attribute__((noinline)) void drop_##name(void *p) \
    {                                                          \
        (call);                                                \
        __asm__ volatile("" ::: "memory");                     \
    }

static inline __attribute__((always_inline)) void *tc_aligned(size_t n)
{
    void *p = NULL;

    return tc_posix_memalign(&p, 64, n) ? NULL : p;
}

static char text[SIZE];

MAKER(mallocx, mallocx(n, 0))
MAKER(rallocx, rallocx(mallocx(7, 0), n, 0))
DROPPER(dallocx, dallocx(p, 0))
DROPPER(sdallocx, sdallocx(p, SIZE, 0))
MAKER(tc_malloc, tc_malloc(n))
MAKER(tc_calloc, tc_calloc(1, n))
MAKER(tc_realloc, tc_realloc(tc_malloc(7), n))
MAKER(tc_memalign, tc_memalign(64, n))
MAKER(tc_posix_memalign, tc_aligned(n))
MAKER(tc_new, tc_new(n))
DROPPER(tc_free, tc_free(p))
DROPPER(tc_free_sized, tc_free_sized(p, SIZE))
DROPPER(tc_delete, tc_delete(p))
MAKER(mi_malloc, mi_malloc(n))
MAKER(mi_zalloc, mi_zalloc(n))
MAKER(mi_calloc, mi_calloc(1, n))
MAKER(mi_realloc, mi_realloc(mi_malloc(7), n))
MAKER(mi_recalloc, mi_recalloc(mi_calloc(1, 7), 1, n))
MAKER(mi_malloc_aligned, mi_malloc_aligned(n, 64))
MAKER(mi_heap_malloc, mi_heap_malloc(mi_heap_get_default(), n))
MAKER(mi_heap_realloc, mi_heap_realloc(mi_heap_get_default(), malloc(7), n))
MAKER(mi_strdup, mi_strdup(text + SIZE - n))
DROPPER(mi_free, mi_free(p))
DROPPER(mi_free_size, mi_free_size(p, SIZE))
MAKER(strdup, strdup(text + SIZE - n))
MAKER(strndup, strndup(text, n - 1))
MAKER(malloc, malloc(n))
DROPPER(free, free(p))

static const struct {
    const char *name;
    make_fn *make;
} makers[] = {
#define ROW(name)          \
    {                      \
#name, make_##name \
    }
    ROW(mallocx),        ROW(rallocx),
    ROW(tc_malloc),      ROW(tc_calloc),
    ROW(tc_realloc),     ROW(tc_memalign),
    ROW(tc_new),         ROW(tc_posix_memalign),
    ROW(mi_malloc),      ROW(mi_zalloc),
    ROW(mi_calloc),      ROW(mi_realloc),
    ROW(mi_recalloc),    ROW(mi_malloc_aligned),
    ROW(mi_heap_malloc), ROW(mi_heap_realloc),
    ROW(mi_strdup),      ROW(strdup),
    ROW(strndup),        ROW(malloc),
#undef ROW
};

static const struct {
    const char *name;
    drop_fn *drop;
} droppers[] = {
#define ROW(name)          \
    {                      \
#name, drop_##name \
    }
    ROW(dallocx),   ROW(sdallocx), ROW(tc_free),      ROW(tc_free_sized),
    ROW(tc_delete), ROW(mi_free),  ROW(mi_free_size), ROW(free),
#undef ROW
};

/* "jemalloc" has no prefix of its own; doors of malloc()'s go with all, and libc's strdup() is the
 * leaf of what it makes. */
static bool belongs(const char *door, const char *allocator)
{
    if (strcmp(door, "malloc") == 0 || strcmp(door, "free") == 0)
        return true;
    if (strcmp(door, "strdup") == 0 || strcmp(door, "strndup") == 0)
        return strcmp(allocator, "copying") == 0;
    if (strncmp(door, "tc_", 3) == 0)
        return strcmp(allocator, "tcmalloc") == 0;
    if (strncmp(door, "mi_", 3) == 0)
        return strcmp(allocator, "mimalloc") == 0;
    return strcmp(allocator, "jemalloc") == 0;
}

static bool is_leaf(make_fn *caller)
{
    for (const char *at = totals_text; (at = strstr(at, "] @ 0x")); at++) {
        uintptr_t leaf = strtoull(at + 4, NULL, 16);

        if (leaf - (uintptr_t)caller < 512)
            return true;
    }
    return false;
}

static void test_each_door_with_each(const char *allocator)
{
    for (size_t i = 0; i < sizeof(makers) / sizeof(*makers); i++)
        for (size_t j = 0; j < sizeof(droppers) / sizeof(*droppers); j++) {
            char what[64];

            if (!belongs(makers[i].name, allocator) || !belongs(droppers[j].name, allocator))
                continue;
            snprintf(what, sizeof(what), "%s, %s", makers[i].name, droppers[j].name);
            struct totals before = totals_now();
            void *p = makers[i].make(SIZE);
            struct totals live = totals_now();
            CHECK(is_leaf(makers[i].make), "%s: the caller is the leaf", what);
            droppers[j].drop(p);
            struct totals after = totals_now();

            CHECK_INT(live.inuse_objects - before.inuse_objects, 1, what);
            CHECK_INT(live.inuse_bytes - before.inuse_bytes, SIZE, what);
            CHECK_INT(after.inuse_objects, before.inuse_objects, what);
            CHECK_INT(after.inuse_bytes, before.inuse_bytes, what);
        }
}

static void test_resizing_in_place(void)
{
    struct totals before = totals_now();
    void *p = mallocx(100, 0);
    size_t has = xallocx(p, 110, 0, 0);
    struct totals live = totals_now();

    CHECK(has >= 110 && sallocx(p, 0) == has, "grown to %zu", has);
    CHECK_INT(live.inuse_objects - before.inuse_objects, 1, "one block");
    CHECK_INT(live.inuse_bytes - before.inuse_bytes, 110, "of the new size");
    has = xallocx(p, 100 << 20, 0, 0);
    CHECK(has < 100 << 20, "not grown to 100 MiB");
    CHECK_INT(totals_now().inuse_bytes - before.inuse_bytes, 110, "is as it was");
    dallocx(p, 0);
    CHECK_INT(totals_now().inuse_objects, before.inuse_objects, "gone");
}

static void test_what_fails_changes_nothing(const char *allocator)
{
    bool je = strcmp(allocator, "jemalloc") == 0, tc = strcmp(allocator, "tcmalloc") == 0;
    struct totals before = totals_now();
    void *p = malloc(SIZE);
    size_t much = PTRDIFF_MAX - 4096;

    __asm__ volatile("" : "+r"(much));
    void *q = je ? rallocx(p, much, 0) : tc ? tc_realloc(p, much) : mi_realloc(p, much);
    CHECK(q == NULL, "refused");
    CHECK_INT(totals_now().inuse_bytes - before.inuse_bytes, SIZE, "the block is as it was");
    free(p);
    CHECK_INT(totals_now().inuse_objects, before.inuse_objects, "gone");
}

/* --- frees that no hook sees ------------------------------------------------------------------ */

enum { KEPT = 2000, REPLACED = 60000, RATE = 4096 };

static uint64_t rng = 1;

static size_t random_below(size_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(rng >> 33) % n;
}

MAKER(operator_new, _Znwm(n))
MAKER(operator_new_nothrow, _ZnamRKSt9nothrow_t(n, ""))

/* As deepbind.c: some thousand blocks are replaced one after the other, by one door, and freed by a
 * pointer from dlsym(), which goes by the hooks. A third of them has a sample, so that half of the
 * truth and twice of it are far out of reach; but if only samples ended the record of what was at
 * an address before, each address would have one. */
static void test_memory_that_comes_again(const char *door, make_fn *make, drop_fn *unseen_free)
{
    static void *kept[KEPT];
    static size_t size[KEPT];
    int64_t (*set_rate)(int64_t), truth = 0;

    *(void **)&set_rate = totals_api("prof_set_heap_rate");
    set_rate(RATE);
    struct totals before = totals_now();
    for (int i = 0; i < KEPT + REPLACED; i++) {
        size_t at = i < KEPT ? (size_t)i : random_below(KEPT);

        if (kept[at])
            unseen_free(kept[at]);
        truth -= (int64_t)size[at];
        size[at] = 64 + 16 * random_below(250);
        truth += (int64_t)size[at];
        kept[at] = make(size[at]);
        memset(kept[at], 1, size[at]);
    }
    struct totals after = totals_now();
    CHECK_BETWEEN((double)(after.inuse_bytes - before.inuse_bytes) / (double)truth, 0.5, 1.5, door);
    for (int i = 0; i < KEPT; i++) {
        free(kept[i]);
        kept[i] = NULL;
        size[i] = 0;
    }
    set_rate(1);
}

static void test_unseen_frees(const char *allocator, const char *library)
{
    static const struct {
        const char *name;
        make_fn *make;
        bool own_prefix;
    } doors[] = {
        { "mallocx", make_mallocx, true },
        { "tc_malloc", make_tc_malloc, true },
        { "tc_memalign", make_tc_memalign, true },
        { "tc_posix_memalign", make_tc_posix_memalign, true },
        { "mi_malloc", make_mi_malloc, true },
        { "mi_realloc", make_mi_realloc, true },
        { "operator new", make_operator_new, false },
        { "operator new[], nothrow", make_operator_new_nothrow, false },
        { "malloc", make_malloc, false },
    };
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    drop_fn *unseen_free = handle ? (drop_fn *)(uintptr_t)dlsym(handle, "free") : NULL;

    CHECK(unseen_free && unseen_free != free, "free() of %s itself", library);
    for (size_t i = 0; unseen_free && i < sizeof(doors) / sizeof(*doors); i++)
        if (!doors[i].own_prefix || belongs(doors[i].name, allocator))
            test_memory_that_comes_again(doors[i].name, doors[i].make, unseen_free);
    CHECK(strstr(totals_text, "freed where no hook sees it"), "the profile says so");
}

int main(int argc, char **argv)
{
    const char *allocator = argc > 1 ? argv[1] : "";

    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    printf("\n");
    free(malloc(1));
    memset(text, 'x', SIZE - 1);
    if (strcmp(allocator, "jemalloc") == 0)
        test_resizing_in_place();
    test_each_door_with_each(allocator);
    if (strcmp(allocator, "copying") == 0)
        return check_report();
    test_what_fails_changes_nothing(allocator);
    test_unseen_frees(allocator, argc > 2 ? argv[2] : "");
    return check_report();
}
