/*
 * deepbind.c - a library loaded with RTLD_DEEPBIND calls libc's malloc and free behind our back,
 * and its blocks cross to the program and the program's to it: nothing breaks, and no count goes
 * wrong by more than the blocks whose end nobody could see.
 *
 *   deepbind LIBRARY
 */
#include "check.h"
#include "totals.h"

enum { BLOCKS = 1000, SIZE = 100 };

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
    CHECK_BETWEEN(after.inuse_objects - before.inuse_objects, 0, BLOCKS, "left over");
    CHECK_INT(dlclose(library), 0, "dlclose");
    return check_report();
}
