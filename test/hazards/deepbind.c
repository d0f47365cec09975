/*
 * deepbind.c - a library loaded with RTLD_DEEPBIND calls libc's malloc and free behind our back,
 * and its blocks cross to the program and the program's to it: nothing breaks, and what it frees is
 * in use no longer once its memory has been handed out again.
 *
 *   deepbind LIBRARY
 */
#include <malloc.h>
#include <stdbool.h>

#include "check.h"
#include "totals.h"

enum { BLOCKS = 1000, SIZE = 100 };

/* --- for long --------------------------------------------------------------------------------- */

enum { KEPT = 2000, REPLACED = 400000, RATE = 4096 };

static int64_t (*set_rate)(int64_t bytes);
static uint64_t rng = 1;

static size_t random_below(size_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(rng >> 33) % n;
}

/* Some thousand blocks are kept, and one after the other is replaced; whoever frees them, the
 * hooks never see it. Of KEPT blocks an eighth or more has a sample: the estimate of what is in use
 * has a deviation of 7 % at most, and half of the truth is far out of reach. What is free in
 * malloc's heap has a record until it is handed out again: with glibc 2.41 that is 0.6 of what is
 * in use. */
static void replace_for_long(void (*drop)(void *), bool same_size)
{
    static void *kept[KEPT];
    static size_t size[KEPT];
    int64_t truth = 0;

    set_rate(RATE);
    struct totals before = totals_now();
    for (int i = 0; i < KEPT + REPLACED; i++) {
        size_t at = i < KEPT ? (size_t)i : random_below(KEPT);

        if (kept[at])
            drop(kept[at]);
        truth -= (int64_t)size[at];
        size[at] = same_size ? 512 : 64 + 16 * random_below(250);
        truth += (int64_t)size[at];
        kept[at] = i % 3   ? malloc(size[at])
                   : i % 2 ? calloc(1, size[at])
                           : aligned_alloc(64, size[at]);
    }
    struct mallinfo2 heap = mallinfo2();
    double most = (double)(heap.arena + heap.hblkhd) / (double)truth;
    struct totals after = totals_now();
    CHECK_BETWEEN(most, 1, 4, "of what is in use, what malloc has");
    CHECK_BETWEEN((double)(after.inuse_bytes - before.inuse_bytes) / (double)truth, 0.5, 1.3 * most,
                  same_size ? "in use, of the truth, one size" : "in use, of the truth, any size");
    for (int i = 0; i < KEPT; i++) {
        free(kept[i]);
        kept[i] = NULL;
        size[i] = 0;
    }
    set_rate(1);
}

int main(int argc, char **argv)
{
    static void *ours[BLOCKS], *theirs[BLOCKS];

    free(malloc(1));
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND);
    CHECK(library != NULL, "%s", library ? "" : dlerror());
    if (!library)
        return check_report();
    void *(*get)(size_t) = (void *(*)(size_t))(uintptr_t)dlsym(library, "deep_get");
    void (*drop)(void *) = (void (*)(void *))(uintptr_t)dlsym(library, "deep_drop");

    *(void **)&set_rate = totals_api("prof_set_heap_rate");
    struct totals before = totals_now();
    for (int i = 0; i < BLOCKS; i++) {
        ours[i] = malloc(SIZE);
        theirs[i] = get(SIZE);
        memset(ours[i], 1, SIZE);
        memset(theirs[i], 2, SIZE);
    }
    struct totals full = totals_now();
    CHECK_INT(full.inuse_objects - before.inuse_objects, BLOCKS, "the program's are seen");

    /* what the library allocated, the program frees; unknown to us, and harmless */
    for (int i = 0; i < BLOCKS; i++) {
        theirs[i] = realloc(theirs[i], 2 * SIZE);
        CHECK(((char *)theirs[i])[SIZE - 1] == 2, "kept by realloc");
        free(theirs[i]);
    }
    struct totals after = totals_now();
    CHECK_INT(after.inuse_objects, full.inuse_objects, "freed what was never counted");

    /* what the program allocated, the library frees, and the program gets the addresses again */
    for (int i = 0; i < BLOCKS; i++)
        drop(ours[i]);
    for (int i = 0; i < BLOCKS; i++)
        ours[i] = malloc(SIZE);
    for (int i = 0; i < BLOCKS; i++)
        free(ours[i]);
    after = totals_now();
    CHECK_BETWEEN(after.inuse_objects - before.inuse_objects, 0, BLOCKS / 10, "left over");
    replace_for_long(drop, true);
    replace_for_long(drop, false);
    CHECK(strstr(totals_text, "freed where no hook sees it"), "the profile says so");
    CHECK_INT(dlclose(library), 0, "dlclose");
    return check_report();
}
