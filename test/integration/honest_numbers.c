/*
 * honest_numbers.c - allocates known amounts at known sites, for honest_numbers.py to compare with
 * what the heap profile says.
 *
 *   honest_numbers OUT THREADS STEP..
 *
 * All threads work through the steps together, each doing its share; * is done by one of them
 * while the others wait:
 *   rate=BYTES *           set the heap rate
 *   malloc=SITE,COUNT      malloc, and free at once
 *   feed=SITE,COUNT        prof_heap_alloc(), and prof_heap_free() of every second one: live blocks
 *                          of any amount that take no memory
 *   shares=COUNT           in turn a block at site_half, site_quarter_a, site_quarter_b
 *   spikes=COUNT           in turn one byte less than 512 KiB, and the one byte
 *   exact=COUNT            malloc, calloc, realloc, aligned_alloc of random sizes; every second
 *                          block is freed, by another thread than allocated it
 *   threads=COUNT *        COUNT threads, some at a time, each of which allocates 256 blocks of
 *                          1 KiB at site_short
 *
 * Ends with the heap profile in the file OUT, and on standard output a line for each site:
 *   NAME alloc_objects alloc_bytes inuse_objects inuse_bytes
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <prof/prof.h>

#define KIB           ((size_t)1024)
#define MIB           (1024 * KIB)
#define THREADS_MAX   64
#define SHORT_BLOCKS  256
#define SHORT_AT_ONCE 8
#define EXACT_MAX     20000 /* bytes of a block */

/* What really happened at one site, in all threads. */
struct site {
    const char *name;
    size_t size; /* of each block, where they are all alike */
    void (*malloc_free)(size_t size, long count);
    void (*feed)(size_t size, long count, uintptr_t key);
    atomic_llong objects, bytes, freed_objects, freed_bytes;
};

static int n_threads;
static pthread_barrier_t barrier;
static char **steps;
/* The first block that is fed shares its page filter entry with NULL, so free(NULL) is looked up.
 */
static atomic_ulong next_key = (uintptr_t)1 << 44;

__attribute__((noreturn)) static void fail(const char *what)
{
    fprintf(stderr, "honest_numbers: %s\n", what);
    exit(2);
}

/* The compiler must believe in the block, or it drops malloc and free together. */
static inline void *keep(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    if (!p)
        fail("out of memory");
    return p;
}

/* A site is found again by its function's name; the comment in the assembler's text keeps the
 * compiler from folding equal functions into one. */
#define DEFINE_SITE(site)                                                                     \
    __attribute__((noinline)) static void site##_malloc(size_t size, long count)              \
    {                                                                                         \
        for (long i = 0; i < count; i++)                                                      \
            free(keep(malloc(size)));                                                         \
        __asm__ volatile("# " #site);                                                         \
    }                                                                                         \
    __attribute__((noinline)) static void site##_feed(size_t size, long count, uintptr_t key) \
    {                                                                                         \
        for (long i = 0; i < count; i++, key += size) {                                       \
            prof_heap_alloc((void *)key, size);                                               \
            if (i % 2)                                                                        \
                prof_heap_free((void *)key);                                                  \
        }                                                                                     \
        __asm__ volatile("# " #site);                                                         \
    }
#define SITE_ENTRY(site, size)                                  \
    { #site "_malloc", size, site##_malloc, NULL, 0, 0, 0, 0 }, \
    {                                                           \
#site "_feed", size, NULL, site##_feed, 0, 0, 0, 0      \
    }

DEFINE_SITE(site_16)
DEFINE_SITE(site_1k)
DEFINE_SITE(site_100k)
DEFINE_SITE(site_4m)
DEFINE_SITE(site_half)
DEFINE_SITE(site_quarter_a)
DEFINE_SITE(site_quarter_b)
DEFINE_SITE(site_spike)
DEFINE_SITE(site_byte)

static struct site sites[] = {
    SITE_ENTRY(site_16, 16),
    SITE_ENTRY(site_1k, KIB),
    SITE_ENTRY(site_100k, 100 * KIB),
    SITE_ENTRY(site_4m, 4 * MIB),
    SITE_ENTRY(site_half, 256 * KIB),
    SITE_ENTRY(site_quarter_a, 128 * KIB),
    SITE_ENTRY(site_quarter_b, 128 * KIB),
    SITE_ENTRY(site_spike, 512 * KIB - 1),
    SITE_ENTRY(site_byte, 1),
    { .name = "site_short", .size = KIB },
    { .name = "site_exact_malloc" },
    { .name = "site_exact_calloc" },
    { .name = "site_exact_realloc" },
    { .name = "site_exact_aligned" },
};
#define N_SITES (sizeof(sites) / sizeof(sites[0]))

static struct site *site_named(const char *name, size_t len)
{
    for (size_t i = 0; i < N_SITES; i++)
        if (strlen(sites[i].name) == len && strncmp(sites[i].name, name, len) == 0)
            return &sites[i];
    fail("no such site");
}

static struct site *site_get(const char *name)
{
    return site_named(name, strlen(name));
}

static void count_alloc(struct site *s, long long objects, long long bytes)
{
    atomic_fetch_add(&s->objects, objects);
    atomic_fetch_add(&s->bytes, bytes);
}

static void count_free(struct site *s, long long objects, long long bytes)
{
    atomic_fetch_add(&s->freed_objects, objects);
    atomic_fetch_add(&s->freed_bytes, bytes);
}

/* --- one size --------------------------------------------------------------------------------- */

static void run_malloc(struct site *s, long count)
{
    s->malloc_free(s->size, count);
    count_alloc(s, count, count * (long long)s->size);
    count_free(s, count, count * (long long)s->size);
}

static void run_feed(struct site *s, long count)
{
    s->feed(s->size, count, atomic_fetch_add(&next_key, (uintptr_t)count * s->size));
    count_alloc(s, count, count * (long long)s->size);
    count_free(s, count / 2, count / 2 * (long long)s->size);
    free(NULL);
}

/* --- patterns that a sampler without chance in it falls for ----------------------------------- */

static void run_shares(long count)
{
    struct site *half = site_get("site_half_malloc");
    struct site *a = site_get("site_quarter_a_malloc"), *b = site_get("site_quarter_b_malloc");

    for (long i = 0; i < count; i++) {
        run_malloc(half, 1);
        run_malloc(a, 1);
        run_malloc(b, 1);
    }
}

static void run_spikes(long count)
{
    struct site *spike = site_get("site_spike_malloc"), *byte = site_get("site_byte_malloc");

    for (long i = 0; i < count; i++) {
        run_malloc(spike, 1);
        run_malloc(byte, 1);
    }
}

/* --- every block counted ---------------------------------------------------------------------- */

struct block {
    void *p;
    struct site *site;
    size_t size;
};
static struct block *exact[THREADS_MAX];

__attribute__((noinline)) static void *site_exact_malloc(size_t size)
{
    return keep(malloc(size));
}

__attribute__((noinline)) static void *site_exact_calloc(size_t size)
{
    return keep(calloc(1, size));
}

__attribute__((noinline)) static void *site_exact_realloc(size_t before, size_t size)
{
    return keep(realloc(keep(malloc(before)), size));
}

__attribute__((noinline)) static void *site_exact_aligned(size_t size)
{
    return keep(aligned_alloc(64, size));
}

static struct block exact_block(unsigned *seed)
{
    struct block b = { NULL, NULL, 1 + (size_t)rand_r(seed) % EXACT_MAX };
    size_t before = 1 + (size_t)rand_r(seed) % EXACT_MAX;

    switch (rand_r(seed) % 4) {
    case 0:
        b.site = site_get("site_exact_malloc");
        b.p = site_exact_malloc(b.size);
        break;
    case 1:
        b.site = site_get("site_exact_calloc");
        b.p = site_exact_calloc(b.size);
        break;
    case 2:
        b.site = site_get("site_exact_realloc");
        b.p = site_exact_realloc(before, b.size);
        count_alloc(b.site, 1, (long long)before);
        count_free(b.site, 1, (long long)before);
        break;
    default:
        b.site = site_get("site_exact_aligned");
        b.size = (b.size + 63) / 64 * 64;
        b.p = site_exact_aligned(b.size);
        break;
    }
    count_alloc(b.site, 1, (long long)b.size);
    return b;
}

static void run_exact(int thread, long count)
{
    unsigned seed = 1000 + (unsigned)thread;

    exact[thread] = keep(calloc((size_t)count, sizeof(struct block)));
    for (long i = 0; i < count; i++)
        exact[thread][i] = exact_block(&seed);
    pthread_barrier_wait(&barrier);

    struct block *other = exact[(thread + 1) % n_threads];

    for (long i = 0; i < count; i += 2) {
        free(other[i].p);
        count_free(other[i].site, 1, (long long)other[i].size);
    }
}

/* --- threads that end before their first sample is due ---------------------------------------- */

__attribute__((noinline)) static void *site_short(void *unused)
{
    for (int i = 0; i < SHORT_BLOCKS; i++)
        free(keep(malloc(KIB)));
    return unused;
}

static void run_threads(long count)
{
    struct site *s = site_get("site_short");

    for (long done = 0; done < count;) {
        pthread_t t[SHORT_AT_ONCE];
        int n = 0;

        for (; n < SHORT_AT_ONCE && done < count; n++, done++)
            if (pthread_create(&t[n], NULL, site_short, NULL) != 0)
                fail("cannot start a thread");
        while (n > 0)
            pthread_join(t[--n], NULL);
    }
    count_alloc(s, count * SHORT_BLOCKS, count * SHORT_BLOCKS * (long long)KIB);
    count_free(s, count * SHORT_BLOCKS, count * SHORT_BLOCKS * (long long)KIB);
}

/* --- steps ------------------------------------------------------------------------------------ */

/* "NAME=ARG": the argument, if `step` is of that name. */
static const char *argument(const char *step, const char *name)
{
    size_t len = strlen(name);

    return strncmp(step, name, len) == 0 && step[len] == '=' ? step + len + 1 : NULL;
}

/* `count` in all, divided so that it is met exactly. */
static long share(int thread, long count)
{
    return count / n_threads + (thread < count % n_threads);
}

static void run_step(int thread, const char *step)
{
    const char *arg, *comma = strchr(step, ',');

    if ((arg = argument(step, "rate"))) {
        if (thread == 0 && prof_set_heap_rate(atoll(arg)) < 0)
            fail("cannot set the rate");
    } else if ((arg = argument(step, "threads"))) {
        if (thread == 0)
            run_threads(atol(arg));
    } else if ((arg = argument(step, "malloc")) && comma) {
        run_malloc(site_named(arg, (size_t)(comma - arg)), share(thread, atol(comma + 1)));
    } else if ((arg = argument(step, "feed")) && comma) {
        run_feed(site_named(arg, (size_t)(comma - arg)), share(thread, atol(comma + 1)));
    } else if ((arg = argument(step, "shares"))) {
        run_shares(share(thread, atol(arg)));
    } else if ((arg = argument(step, "spikes"))) {
        run_spikes(share(thread, atol(arg)));
    } else if ((arg = argument(step, "exact"))) {
        run_exact(thread, share(thread, atol(arg)));
    } else {
        fail("no such step");
    }
}

static void *work(void *arg)
{
    int thread = (int)(intptr_t)arg;

    for (char **step = steps; *step; step++) {
        run_step(thread, *step);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t t[THREADS_MAX];

    n_threads = argc > 3 ? atoi(argv[2]) : 0;
    if (n_threads < 1 || n_threads > THREADS_MAX)
        fail("usage: honest_numbers OUT THREADS STEP..");
    steps = argv + 3;
    pthread_barrier_init(&barrier, NULL, (unsigned)n_threads);

    for (int i = 1; i < n_threads; i++)
        if (pthread_create(&t[i], NULL, work, (void *)(intptr_t)i) != 0)
            fail("cannot start a thread");
    work((void *)(intptr_t)0); /* the main thread is one of them: nothing may be special in it */
    for (int i = 1; i < n_threads; i++)
        pthread_join(t[i], NULL);

    if (prof_write_heap(argv[1]) < 0)
        fail(prof_last_error());
    for (size_t i = 0; i < N_SITES; i++) {
        const struct site *s = &sites[i];
        long long objects = atomic_load(&s->objects), bytes = atomic_load(&s->bytes);

        if (objects)
            printf("%s %lld %lld %lld %lld\n", s->name, objects, bytes,
                   objects - atomic_load(&s->freed_objects), bytes - atomic_load(&s->freed_bytes));
    }
    return 0;
}
