/*
 * test_capture_limit.c - which memory counts against which limit, from files as the kernel writes
 * them.
 */
#include "capture/limit.h"

#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "check.h"
#include "temp_dir.h"

#define MIB ((double)(1 << 20))

struct group {
    const char *limit; /* NULL: no such file */
    double used, files, shared, slab;
};

static void put(const char *folder, const char *name, const char *text)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static void remove_group(const char *folder)
{
    static const char *const names[] = { "memory.limit_in_bytes", "memory.max",
                                         "memory.usage_in_bytes", "memory.current", "memory.stat" };
    char path[600];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void make(const char *folder, bool version_1, const struct group *g)
{
    char text[400];

    mkdir(folder, 0700);
    if (!g->limit)
        return;
    snprintf(text, sizeof(text), "%s\n", g->limit);
    put(folder, version_1 ? "memory.limit_in_bytes" : "memory.max", text);
    snprintf(text, sizeof(text), "%.0f\n", g->used * MIB);
    put(folder, version_1 ? "memory.usage_in_bytes" : "memory.current", text);
    if (version_1)
        snprintf(text, sizeof(text),
                 "cache 1\nshmem 1\ntotal_cache %.0f\ntotal_rss 5\ntotal_shmem %.0f\n",
                 g->files * MIB, g->shared * MIB);
    else
        snprintf(text, sizeof(text),
                 "anon 12345\nfile %.0f\nkernel 77\nshmem %.0f\nfile_mapped 3\n"
                 "slab_reclaimable %.0f\nslab_unreclaimable 9\n",
                 g->files * MIB, g->shared * MIB, g->slab * MIB);
    put(folder, "memory.stat", text);
}

static void test_what_cannot_be_given_back_counts(void)
{
    static const struct {
        const char *name;
        bool version_1, found;
        struct group group[3]; /* its own, then those above */
        double used, limit;    /* MiB */
    } cases[] = {
        { "a limit", false, true, { { "268435456", 100, 0, 0, 0 } }, 100, 256 },
        { "without page cache and slabs",
          false,
          true,
          { { "268435456", 200, 90, 0, 10 } },
          100,
          256 },
        { "but with shared memory", false, true, { { "268435456", 200, 90, 40, 10 } }, 140, 256 },
        { "no limit", false, false, { { "max", 100, 0, 0, 0 } }, 0, 0 },
        { "a limit above",
          false,
          true,
          { { "max", 100, 0, 0, 0 }, { "536870912", 300, 0, 0, 0 } },
          300,
          512 },
        { "the least room counts",
          false,
          true,
          { { "1073741824", 100, 0, 0, 0 }, { "536870912", 500, 0, 0, 0 }, { "max", 1, 0, 0, 0 } },
          500,
          512 },
        { "not the least limit",
          false,
          true,
          { { "536870912", 100, 0, 0, 0 }, { "1073741824", 1000, 0, 0, 0 } },
          1000,
          1024 },
        { "version 1", true, true, { { "268435456", 200, 90, 40, 0 } }, 150, 256 },
        { "version 1 says no limit as a number",
          true,
          false,
          { { "9223372036854771712", 200, 90, 40, 0 } },
          0,
          0 },
        { "no files", false, false, { { NULL, 0, 0, 0, 0 } }, 0, 0 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct prof__limit l = { .n = 0 };
        double used = -1, limit = -1;
        char folder[500];

        for (unsigned k = 0; k < 3 && (k == 0 || cases[i].group[k].limit); k++) {
            snprintf(folder, sizeof(folder), "%.400s/%zu.%u", temp_dir, i, k);
            make(folder, cases[i].version_1, &cases[i].group[k]);
            prof__limit_add(&l, folder, cases[i].version_1);
        }
        CHECK_INT(prof__limit_read(&l, &used, &limit), cases[i].found, cases[i].name);
        if (cases[i].found) {
            CHECK_INT(used / MIB, cases[i].used, cases[i].name);
            CHECK_INT(limit / MIB, cases[i].limit, cases[i].name);
        } else {
            CHECK(used == -1 && limit > 64 * MIB, "%s: the machine's memory, %g", cases[i].name,
                  limit);
        }
        prof__limit_close(&l);
        for (unsigned k = 0; k < 3; k++) {
            snprintf(folder, sizeof(folder), "%.400s/%zu.%u", temp_dir, i, k);
            remove_group(folder);
        }
    }
}

/* A limit that is set, or lifted, while the program runs is seen at the next look. */
static void test_limits_change(void)
{
    struct prof__limit l = { .n = 0 };
    struct group g = { "max", 100, 0, 0, 0 };
    double used, limit;
    char folder[500];

    snprintf(folder, sizeof(folder), "%.400s/changes", temp_dir);
    make(folder, false, &g);
    prof__limit_add(&l, folder, false);
    CHECK(!prof__limit_read(&l, &used, &limit), "none at first");
    put(folder, "memory.max", "134217728\n");
    CHECK(prof__limit_read(&l, &used, &limit) && limit == 128 * MIB, "then there is one");
    put(folder, "memory.max", "max\n");
    CHECK(!prof__limit_read(&l, &used, &limit), "and it goes again");
    prof__limit_close(&l);
    remove_group(folder);
}

/* Of the own limits of its group and those above: what happened to neighbours below these is left
 * out where the kernel tells it apart. */
static void test_events_of_its_limits(void)
{
    static const struct {
        const char *name;
        bool version_1;
        struct {
            const char *file, *text;
        } file[2][2]; /* of its own group, and of the one above */
        double want[PROF__EVENTS];
    } cases[] = {
        { "both levels",
          false,
          { { { "memory.events.local",
                "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n" },
              { "memory.events", "low 100\nhigh 100\nmax 100\noom 100\noom_kill 100\n" } },
            { { "memory.events.local", "low 0\nhigh 10\nmax 20\noom 0\noom_kill 0\n" } } },
          { 1, 12, 23, 4, 5 } },
        { "an older kernel",
          false,
          { { { "memory.events", "low 0\nhigh 7\nmax 8\noom 0\noom_kill 0\n" } },
            { { NULL, NULL } } },
          { 0, 7, 8, 0, 0 } },
        { "version 1",
          true,
          { { { "memory.failcnt", "41\n" },
              { "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n" } },
            { { "memory.failcnt", "1\n" } } },
          { NAN, NAN, 42, NAN, 2 } },
        { "none", false, { { { NULL, NULL } } }, { NAN, NAN, NAN, NAN, NAN } },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct group g = { "268435456", 100, 0, 0, 0 };
        struct prof__limit l = { .n = 0 };
        double events[PROF__EVENTS];
        char folder[500], path[600];

        for (unsigned k = 0; k < 2; k++) {
            snprintf(folder, sizeof(folder), "%.400s/e%zu.%u", temp_dir, i, k);
            make(folder, cases[i].version_1, &g);
            for (unsigned f = 0; f < 2 && cases[i].file[k][f].file; f++)
                put(folder, cases[i].file[k][f].file, cases[i].file[k][f].text);
            prof__limit_add(&l, folder, cases[i].version_1);
        }
        prof__limit_read_events(&l, events);
        for (unsigned e = 0; e < PROF__EVENTS; e++)
            CHECK(events[e] == cases[i].want[e] || (isnan(events[e]) && isnan(cases[i].want[e])),
                  "%s: event %u: %g, want %g", cases[i].name, e, events[e], cases[i].want[e]);
        prof__limit_close(&l);
        for (unsigned k = 0; k < 2; k++) {
            snprintf(folder, sizeof(folder), "%.400s/e%zu.%u", temp_dir, i, k);
            for (unsigned f = 0; f < 2 && cases[i].file[k][f].file; f++) {
                snprintf(path, sizeof(path), "%s/%s", folder, cases[i].file[k][f].file);
                unlink(path);
            }
            remove_group(folder);
        }
    }
}

int main(void)
{
    temp_dir_make();
    test_events_of_its_limits();
    test_what_cannot_be_given_back_counts();
    test_limits_change();
    temp_dir_remove();
    return check_report();
}
