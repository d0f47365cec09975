/*
 * memory_shapes.c - programs whose RSS has one reason, and what the profile `memory` says of it.
 *
 *   memory_shapes SHAPE [pprof]
 *
 * Prints the profile as text, a NUL, and the same as JSON; and to stderr what smaps_rollup said of
 * RSS before and after, and of swap. Exits with 77 where the machine cannot have that shape.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <prof/prof.h>

#define MIB     ((size_t)1 << 20)
#define KEEP(x) __asm__ volatile("" : : "r"(x) : "memory")

enum { SKIP = 77, THREADS = 500 };

static char variables[64 * 1024 * 1024];

static void touch(char *p, size_t size, size_t step)
{
    for (size_t i = 0; i < size; i += step)
        p[i] = 1;
    KEEP(p);
}

/* --- shapes ----------------------------------------------------------------------------------- */

static char *blocks[128 * 1024];

/* In use, and told. */
static int in_use(void)
{
    for (int i = 0; i < 48 * 1024; i++) {
        blocks[i] = malloc(1024);
        touch(blocks[i], 1024, 1024);
    }
    return 0;
}

/* One block at the end keeps all before it from being given back. */
static int given_up(void)
{
    for (int i = 0; i < 64 * 1024; i++) {
        blocks[i] = malloc(1024);
        touch(blocks[i], 1024, 512);
    }
    KEEP(malloc(5000));
    for (int i = 0; i < 64 * 1024; i++)
        free(blocks[i]);
    return 0;
}

/* One block in eight stays: no page is free as a whole. */
static int fragments(void)
{
    for (int i = 0; i < 128 * 1024; i++) {
        blocks[i] = malloc(496);
        touch(blocks[i], 496, 100);
    }
    for (int i = 0; i < 128 * 1024; i++)
        if (i % 8)
            free(blocks[i]);
    return 0;
}

/* Taken and never touched: none of it is resident. */
static int untouched(void)
{
    KEEP(malloc(2048 * MIB));
    KEEP(calloc(1, 2048 * MIB));
    return 0;
}

static __attribute__((noinline)) char *mapping_that_leaks(size_t size)
{
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    KEEP(p);
    return p == MAP_FAILED ? NULL : p;
}

static int mapped(void)
{
    for (int i = 0; i < 16; i++)
        touch(mapping_that_leaks(4 * MIB), 4 * MIB, 4096);
    return 0;
}

static int huge(void)
{
    char *p = mapping_that_leaks(64 * MIB);

    if (madvise(p, 64 * MIB, MADV_HUGEPAGE) < 0)
        return SKIP;
    touch(p, 64 * MIB, 2 * MIB);
    return 0;
}

static int reserved_huge(void)
{
    char *p = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

    if (p == MAP_FAILED)
        return SKIP;
    touch(p, 64 * MIB, 2 * MIB);
    return 0;
}

static int file(void)
{
    char path[] = "/tmp/libprof-memory-XXXXXX";
    int fd = mkstemp(path);
    char *p = MAP_FAILED;

    unlink(path);
    if (ftruncate(fd, (off_t)(64 * MIB)) == 0)
        p = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return SKIP;
    touch(p, 64 * MIB, 4096);
    return 0;
}

static int shared(void)
{
    char *p = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    touch(p, 64 * MIB, 4096);
    return 0;
}

static int swapped(void)
{
    char *p = mapping_that_leaks(64 * MIB);

    touch(p, 64 * MIB, 4096);
    return madvise(p, 64 * MIB, 21 /* MADV_PAGEOUT */) < 0 ? SKIP : 0;
}

static int data(void)
{
    touch(variables, sizeof(variables), 4096);
    return 0;
}

static pthread_barrier_t barrier;

static void *deep(void *arg)
{
    char frame[128 * 1024];

    touch(frame, sizeof(frame), 1024);
    pthread_barrier_wait(&barrier);
    while (arg)
        pause();
    return NULL;
}

static int threads(void)
{
    pthread_t thread;
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread, &attr, deep, variables) != 0)
            return SKIP;
    pthread_barrier_wait(&barrier);
    return 0;
}

static void *fill(void *arg)
{
    char **block = malloc(16 * 1024 * sizeof(*block));

    for (int i = 0; i < 16 * 1024; i++) {
        block[i] = malloc(1000);
        touch(block[i], 1000, 500);
    }
    KEEP(malloc(5000));
    for (int i = 0; i < 16 * 1024; i++)
        free(block[i]);
    pthread_barrier_wait(&barrier);
    while (arg)
        pause();
    return NULL;
}

static int arenas(void)
{
    pthread_t thread;

    pthread_barrier_init(&barrier, NULL, 5);
    for (int i = 0; i < 4; i++)
        pthread_create(&thread, NULL, fill, variables);
    pthread_barrier_wait(&barrier);
    return 0;
}

static const struct {
    const char *name;
    int (*make)(void);
} shapes[] = {
    { "in_use", in_use },
    { "given_up", given_up },
    { "fragments", fragments },
    { "mapped", mapped },
    { "untouched", untouched },
    { "huge", huge },
    { "file", file },
    { "shared", shared },
    { "swapped", swapped },
    { "data", data },
    { "threads", threads },
    { "arenas", arenas },
    { "reserved_huge", reserved_huge },
};

/* --- what is there ---------------------------------------------------------------------------- */

static long long rollup(const char *field)
{
    char line[256];
    long long kib = -1;
    FILE *f = fopen("/proc/self/smaps_rollup", "re");

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, field, strlen(field)) == 0)
            kib = atoll(line + strlen(field));
    if (f)
        fclose(f);
    return kib * 1024;
}

static int print(void *arg, const void *data, size_t size)
{
    (void)arg;
    return fwrite(data, 1, size, stdout) == size ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    static char buffer[1 << 16];
    int r = SKIP;

    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    for (size_t i = 0; argc > 1 && i < sizeof(shapes) / sizeof(*shapes); i++)
        if (strcmp(argv[1], shapes[i].name) == 0)
            r = shapes[i].make();
    if (r)
        return r;
    if (argc == 2) {
        options.debug = 1;
        r = prof_profile_write(prof_lookup("memory"), &options, print, NULL);
        putchar('\0');
        options.json = 1;
    }
    long long before = rollup("Rss:"), swap_before = rollup("Swap:");
    if (r == 0)
        r = prof_profile_write(prof_lookup("memory"), &options, print, NULL);
    if (r < 0) {
        fprintf(stderr, "memory: %s\n", prof_last_error());
        return 1;
    }
    fprintf(stderr, "%lld %lld %lld %lld\n", before, rollup("Rss:"), swap_before, rollup("Swap:"));
    return 0;
}
