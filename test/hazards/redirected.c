/*
 * redirected.c - a library loaded with RTLD_DEEPBIND finds libc's malloc and free before the hooks:
 * its blocks are seen all the same, and nothing else about it changes.
 *
 *   redirected LIBRARY..     each of them, bound when loaded and bound when called; and while
 * others are loaded and unloaded redirected pool LIBRARY  it brings a malloc of its own, which must
 * stay what it calls redirected after NAME    another malloc comes before libprof's redirected by
 * CALLER FILE   CALLER calls dlopen(FILE), where only its own paths lead to it
 *
 * At a rate of 1, with the hooks preloaded.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "check.h"
#include "redirected.h"
#include "totals.h"

enum { LIVE = 1000, TURNS = 20000, SIZE = 200 };

static struct prof_stats stats_now(void)
{
    int (*stats)(struct prof_stats *);
    struct prof_stats s = PROF_STATS_INIT;

    *(void **)&stats = totals_api("prof_stats");
    stats(&s);
    return s;
}

/* The mapping that `address` is in may not be written to. */
static bool is_read_only(const void *address)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], permissions[8] = "";
    uintptr_t start, end;
    bool found = false;

    while (maps && !found && fgets(line, sizeof(line), maps))
        found = sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &start, &end, permissions) == 3 &&
                (uintptr_t)address - start < end - start;
    if (maps)
        fclose(maps);
    return found && permissions[1] == '-';
}

void load_beside(void);

/* What the constructor of the next one loads, and gets. */
static const char *beside;
static void *got_beside;

void load_beside(void)
{
    const char *path = beside;

    beside = NULL;
    if (path)
        got_beside = dlopen(path, RTLD_NOW);
}

static void try_library(const char *path, int mode, const char *how)
{
    static void *live[LIVE];

    free(malloc(1));
    void *library = dlopen(path, mode | RTLD_DEEPBIND);
    CHECK(library != NULL, "%s: %s", how, library ? "" : dlerror());
    if (!library)
        return;
    const struct plugin *p = dlsym(library, "plugin");
    bool was_read_only = is_read_only(p);

    for (int i = 0; i < MAKERS; i++) {
        struct totals before = totals_now();
        void *block = p->make[i](SIZE);
        struct totals with = totals_now();
        p->drop[i % DROPPERS](block);
        struct totals after = totals_now();

        CHECK_INT(with.inuse_objects - before.inuse_objects, 1, how);
        CHECK_INT(with.inuse_bytes - before.inuse_bytes, SIZE, how);
        CHECK_INT(after.inuse_objects, before.inuse_objects, how);
        CHECK_INT(after.inuse_bytes, before.inuse_bytes, how);
    }

    /* The program's blocks, freed there, their addresses coming round in other sizes. */
    struct totals before = totals_now();
    for (int i = 0; i < LIVE; i++)
        live[i] = malloc(SIZE);
    for (int i = 0; i < TURNS; i++) {
        p->drop[i % DROPPERS](live[i % LIVE]);
        live[i % LIVE] = malloc(SIZE + i % 7 * 48);
    }
    CHECK_INT(totals_now().inuse_objects - before.inuse_objects, LIVE, how);
    for (int i = 0; i < LIVE; i++)
        p->drop[0](live[i]);
    CHECK_INT(totals_now().inuse_objects, before.inuse_objects, how);
    CHECK_INT(totals_now().inuse_bytes, before.inuse_bytes, how);

    CHECK(is_read_only(p) == was_read_only, "%s: what was read-only is so again", how);
    CHECK(was_read_only, "%s: and it was", how);
    CHECK_INT(stats_now().heap_bypassed_objects, 0, how);
    CHECK_INT(stats_now().heap_watched, 1, how);

    /* Not only what is about memory. */
    for (int i = 0; i < OTHERS; i++)
        CHECK((void *)(uintptr_t)p->other[i].function == dlsym(RTLD_DEFAULT, p->other[i].name),
              "%s: %s is the hook", how, p->other[i].name);
    CHECK_INT(p->set_action(SIGUSR1), 0, how);
    CHECK_INT(dlclose(library), 0, how);
}

/* While it is being loaded another comes, without RTLD_DEEPBIND, after which all are looked at. */
static void try_beside(const char *path, const char *other)
{
    beside = other;
    try_library(path, RTLD_LAZY, "bound when called, another loaded meanwhile");
    CHECK(got_beside != NULL, "%s is there, too", other);
    if (got_beside)
        dlclose(got_beside);
}

/* --- objects that go while others are looked at ----------------------------------------------- */

enum { LOADERS = 3, LOADS = 400 };

static void *load_and_unload(void *path)
{
    for (int i = 0; i < LOADS; i++) {
        void *library = dlopen(path, (i % 2 ? RTLD_NOW : RTLD_LAZY) | RTLD_DEEPBIND);
        const struct plugin *p = library ? dlsym(library, "plugin") : NULL;

        if (!p)
            return "cannot be loaded";
        unsigned char *block = p->make[i % MAKERS](SIZE);
        if (!block)
            return "has no memory";
        memset(block, i, SIZE);
        p->drop[i % DROPPERS](block);
        if (dlclose(library) != 0)
            return "cannot be unloaded";
    }
    return NULL;
}

static void try_at_once(char **path, int n)
{
    pthread_t t[LOADERS];
    void *why;

    for (int i = 0; i < LOADERS; i++)
        pthread_create(&t[i], NULL, load_and_unload, path[i % n]);
    for (int i = 0; i < LOADERS; i++) {
        pthread_join(t[i], &why);
        CHECK(!why, "thread %d: %s %s", i, path[i % n], why ? (const char *)why : "");
    }
}

/* The comments of heap. */
static const char *status(void)
{
    static char text[2048];
    struct prof_profile *(*lookup)(const char *);
    int (*get)(const struct prof_profile *, char *, size_t);

    *(void **)&lookup = totals_api("prof_lookup");
    *(void **)&get = totals_api("prof_profile_status");
    get(lookup("heap"), text, sizeof(text));
    return text;
}

/* libNAME is in LD_PRELOAD before libprof. */
static void try_after(const char *name)
{
    CHECK_INT(stats_now().heap_watched, 0, "malloc is not seen");
    CHECK(strstr(status(), name) != NULL, "whose it is is said: %s", status());
}

static void try_pool(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_DEEPBIND);
    CHECK(library != NULL, "%s", library ? "" : dlerror());
    if (!library)
        return;
    const struct plugin *p = dlsym(library, "plugin");
    const int *pool_blocks = dlsym(library, "pool_blocks");
    struct totals before = totals_now();

    void *block = p->make[0](SIZE);
    CHECK_INT(*pool_blocks, 1, "its malloc is its own");
    CHECK_INT(totals_now().inuse_objects, before.inuse_objects, "and not seen");
    p->drop[0](block);
    CHECK_INT(*pool_blocks, 0, "its free is, too");

    CHECK_INT(stats_now().heap_bypassed_objects, 1, "one object goes by the hooks");
    CHECK(strstr(status(), strrchr(path, '/')) != NULL, "and is named: %s", status());
    CHECK(strstr(status(), "Ruby") != NULL, "Ruby is recognised: %s", status());

    CHECK_INT(dlclose(library), 0, "dlclose");
    CHECK_INT(stats_now().heap_bypassed_objects, 0, "until it is gone");
}

static void try_caller(const char *caller, const char *file)
{
    void *library = dlopen(caller, RTLD_NOW);
    CHECK(library != NULL, "%s", library ? "" : dlerror());
    if (!library)
        return;
    void *(*load)(const char *) = (void *(*)(const char *))(uintptr_t)dlsym(library, "load");
    void *loaded = load(file);
    CHECK(loaded != NULL, "found by its caller's paths: %s", loaded ? "" : dlerror());

    /* Whatever was left for later is done when the program is in the linker again. */
    void *again = dlopen(file, RTLD_NOW | RTLD_NOLOAD);
    struct totals before = totals_now();
    const struct plugin *p = loaded ? dlsym(loaded, "plugin") : NULL;
    void *block = p ? p->make[0](SIZE) : NULL;
    CHECK_INT(totals_now().inuse_objects - before.inuse_objects, 1, "and seen");
    free(block);
    if (again)
        dlclose(again);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 1 << 16); /* its buffer comes before the counting */
    printf("\n");
    if (argc == 3 && strcmp(argv[1], "pool") == 0) {
        try_pool(argv[2]);
    } else if (argc == 3 && strcmp(argv[1], "after") == 0) {
        try_after(argv[2]);
    } else if (argc == 4 && strcmp(argv[1], "by") == 0) {
        try_caller(argv[2], argv[3]);
    } else {
        for (int i = 1; i < argc; i++) {
            try_library(argv[i], RTLD_NOW, "bound when loaded");
            try_library(argv[i], RTLD_LAZY, "bound when called");
            try_beside(argv[i], argv[1 + i % (argc - 1)]);
        }
        try_at_once(argv + 1, argc - 1);
        for (int i = 1; i < argc; i++)
            try_library(argv[i], RTLD_LAZY, "after many at once");
    }
    return check_report();
}
