/*
 * doors.c - every door of the C allocator, for every odd argument: what it returned, as text, and
 * whether libprof counted it right.
 *
 * Run plain, the text is what libc does. Run with the hooks, the text must be the same, and each
 * call counted once, under its caller, and forgotten again. ways.py compares.
 *
 *   doors            libprof is not here, or cannot see (also: doors unwatched)
 *   doors watched    it is
 *   doors behind     it is, behind another wrapper of malloc
 */
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>
#include <wchar.h>

#include "check.h"
#include "totals.h"

#define HIDDEN_FROM_COMPILER(x) __asm__ volatile("" : "+r"(x)::"memory")

static bool watched;    /* libprof is here and sees malloc */
static bool is_behind;  /* but behind somebody else's wrapper, which is what calls it */
static int posix_error; /* what posix_memalign() returned */

struct args {
    void *old;
    size_t n, size, alignment;
};

/* One function each, so that a row can be told by its leaf; the barrier keeps the call from
 * becoming a jump, which would leave no trace of the function. */
#define DOOR(name, expression)                                                             \
    static __attribute__((noinline, aligned(512))) void *call_##name(const struct args *a) \
    {                                                                                      \
        void *p = (expression);                                                            \
        HIDDEN_FROM_COMPILER(p);                                                           \
        return p;                                                                          \
    }

static inline __attribute__((always_inline)) void *posix(size_t alignment, size_t size)
{
    void *p = (void *)1;

    posix_error = posix_memalign(&p, alignment, size);
    return p == (void *)1 ? NULL : p;
}

DOOR(malloc, malloc(a->size))
DOOR(calloc, calloc(a->n, a->size))
DOOR(realloc, realloc(a->old, a->size))
DOOR(reallocarray, reallocarray(a->old, a->n, a->size))
DOOR(aligned_alloc, aligned_alloc(a->alignment, a->size))
DOOR(memalign, memalign(a->alignment, a->size))
DOOR(valloc, valloc(a->size))
DOOR(pvalloc, pvalloc(a->size))
DOOR(posix_memalign, posix(a->alignment, a->size))

typedef void *door_fn(const struct args *a);

static const size_t sizes[] = { 0, 1, 24, 4095, 4096, 100000, 1 << 20, PTRDIFF_MAX, SIZE_MAX };
static const size_t alignments[] = { 0, 1, 3, 8, 16, 64, 4096, 1 << 20 };

static size_t alignment_of(const void *p)
{
    return (size_t)1 << __builtin_ctzll((uintptr_t)p);
}

/* The last row whose leaf is in `door`: was it there? */
static bool is_leaf(door_fn *door)
{
    for (const char *at = totals_text; (at = strstr(at, "] @ 0x")); at++) {
        uintptr_t leaf = strtoull(at + 4, NULL, 16);

        if (leaf - (uintptr_t)door < 512)
            return true;
    }
    return false;
}

/* One call; then the block is freed. `old_size` bytes are to be found again after a realloc. */
static void try_door(const char *name, door_fn *door, struct args a, size_t old_size)
{
    size_t total = a.n * a.size;
    struct totals before = { 0 }, live = { 0 }, after = { 0 };
    char what[128];

    bool overflows = a.size && a.n > SIZE_MAX / a.size;
    snprintf(what, sizeof(what), "%s n=%zu size=%zu alignment=%zu old=%zu", name, a.n, a.size,
             a.alignment, old_size);

    if (watched)
        before = totals_now();
    if (old_size) {
        a.old = malloc(old_size);
        memset(a.old, 0x5a, old_size);
    }
    errno = 0;
    posix_error = -1;
    void *p = door(&a);
    int error = errno;
    if (watched)
        live = totals_now();

    bool kept = true, zero = true;
    for (size_t i = 0; p && old_size && i < old_size && i < total; i++)
        kept = kept && ((unsigned char *)p)[i] == 0x5a;
    for (size_t i = 0; p && door == call_calloc && i < total; i++)
        zero = zero && ((unsigned char *)p)[i] == 0;

    /* How much more it is aligned than asked for is chance. Promised is what fits the size. */
    size_t least = a.alignment ? a.alignment : total < 16 ? 8 : 16;
    if (door == call_valloc || door == call_pvalloc)
        least = 4096;
    printf("> %s: %s error=%d posix=%d aligned=%d usable=%d kept=%d zero=%d\n", what,
           p ? "block" : "NULL", error, posix_error,
           p && (alignment_of(p) >= least || (a.alignment & (a.alignment - 1))),
           p && malloc_usable_size(p) >= total, kept, zero);

    if (watched && p && total > PTRDIFF_MAX) {
        free(p); /* tcmalloc's pvalloc() and memalign() do that; nobody can say how large it is */
        CHECK_INT(live.inuse_objects, before.inuse_objects, what);
    } else if (watched) {
        /* realloc() to nothing frees; a failed one leaves the old block alive */
        bool freed = old_size && !p && total == 0 && !overflows;
        bool old_lives = old_size && !p && !freed;
        size_t bytes = (p ? total : 0) + (old_lives ? old_size : 0);

        CHECK_INT(live.inuse_objects - before.inuse_objects, (p != NULL) + old_lives, what);
        CHECK_INT(live.inuse_bytes - before.inuse_bytes, bytes, what);
        CHECK_INT(live.alloc_objects - before.alloc_objects, (p != NULL) + (old_size != 0), what);
        CHECK_INT(live.alloc_bytes - before.alloc_bytes, (p ? total : 0) + old_size, what);
        if (p && !is_behind)
            CHECK(is_leaf(door), "%s: no row has its caller as leaf", what);
        if (old_lives)
            free(a.old);
        free(p);
        after = totals_now();
        CHECK_INT(after.inuse_objects, before.inuse_objects, what);
        CHECK_INT(after.inuse_bytes, before.inuse_bytes, what);
    } else {
        if (old_size && !p && (total || overflows))
            free(a.old);
        free(p);
    }
}

static void test_each_door(void)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        try_door("malloc", call_malloc, (struct args) { .n = 1, .size = sizes[i] }, 0);
        try_door("valloc", call_valloc, (struct args) { .n = 1, .size = sizes[i] }, 0);
        try_door("pvalloc", call_pvalloc, (struct args) { .n = 1, .size = sizes[i] }, 0);
        for (size_t n = 0; n < 4; n++) {
            size_t times = n == 3 ? SIZE_MAX / 2 : n;

            try_door("calloc", call_calloc, (struct args) { .n = times, .size = sizes[i] }, 0);
            for (size_t old = 0; old < 3; old++) {
                struct args a = { .n = times, .size = sizes[i] };

                try_door("reallocarray", call_reallocarray, a, (size_t[]) { 0, 30, 70000 }[old]);
            }
        }
        for (size_t old = 0; old < 3; old++)
            try_door("realloc", call_realloc, (struct args) { .n = 1, .size = sizes[i] },
                     (size_t[]) { 0, 30, 300000 }[old]);
        for (size_t j = 0; j < sizeof(alignments) / sizeof(*alignments); j++) {
            struct args a = { .n = 1, .size = sizes[i], .alignment = alignments[j] };

            try_door("aligned_alloc", call_aligned_alloc, a, 0);
            try_door("memalign", call_memalign, a, 0);
            try_door("posix_memalign", call_posix_memalign, a, 0);
        }
    }
}

/* Libc's own callers of malloc. */
static void test_through_libc(void)
{
    struct totals before = { 0 }, after = { 0 };
    char *text = NULL, *line = NULL, *stream = NULL;
    size_t line_size = 0, stream_size = 0;
    FILE *f;

    if (watched)
        before = totals_now();
    char *copy = strdup("a string");
    char *part = strndup("a string", 3);
    wchar_t *wide = wcsdup(L"wide");
    int n = asprintf(&text, "%0200d", 7);
    f = fopen("/proc/self/status", "re");
    ssize_t got = f ? getline(&line, &line_size, f) : -1;
    if (f)
        fclose(f);
    f = open_memstream(&stream, &stream_size);
    fprintf(f, "%0300d", 7);
    fclose(f);
    printf("> strdup %s strndup %s wcsdup %ls asprintf %d getline %d open_memstream %zu\n", copy,
           part, wide, n, got > 0 || access("/proc/self", 0) != 0, stream_size);
    if (watched) {
        after = totals_now();
        CHECK(after.inuse_objects - before.inuse_objects >= 5, "blocks of libc's are seen: %lld",
              after.inuse_objects - before.inuse_objects);
    }
    free(copy);
    free(part);
    free(wide);
    free(text);
    free(line);
    free(stream);
    if (watched) {
        after = totals_now();
        CHECK_INT(after.inuse_objects, before.inuse_objects, "what libc gave is all freed");
        CHECK_INT(after.inuse_bytes, before.inuse_bytes, "to the byte");
    }
}

static void test_a_resized_block_stays_one(void)
{
    struct totals before = { 0 }, after = { 0 };
    size_t bytes = 0;

    if (watched)
        before = totals_now();
    char *p = NULL;
    for (size_t size = 1; size < 300000; size = size * 3 / 2 + 1) {
        p = realloc(p, size);
        HIDDEN_FROM_COMPILER(p);
        bytes = size;
    }
    if (watched) {
        after = totals_now();
        CHECK_INT(after.inuse_objects - before.inuse_objects, 1, "one block after many reallocs");
        CHECK_INT(after.inuse_bytes - before.inuse_bytes, bytes, "of the last size");
    }
    free(p);
    if (watched)
        CHECK_INT(totals_now().inuse_objects, before.inuse_objects, "and then none");
}

int main(int argc, char **argv)
{
    watched = argc > 1 && strcmp(argv[1], "unwatched") != 0;
    is_behind = watched && strcmp(argv[1], "behind") == 0;
    setvbuf(stdout, NULL, _IOLBF, 1 << 16); /* its buffer comes before the counting */
    printf("> start\n");
    free(malloc(1)); /* so that in use and allocated differ: see encode_text.c */
    if (watched)
        CHECK(totals_now().alloc_objects > 0, "libprof counts");
    test_each_door();
    test_through_libc();
    test_a_resized_block_stays_one();
    CHECK(true, " ");
    return check_report();
}
