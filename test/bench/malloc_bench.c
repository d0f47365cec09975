/*
 * malloc_bench.c - nanoseconds for a malloc+free pair; knows nothing of libprof.
 *
 *   malloc_bench PATTERN PAIRS
 *
 * PATTERN is a size in bytes, each block freed at once; or "churn": 4,096 live blocks of 16 B to
 * 4 KiB (log-uniform), a random one replaced each time. Called 20 frames deep, so that a sampled
 * block costs what it costs in a real program. Prints one number.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static void *volatile sink;
static uint64_t rng = 1;

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void pairs_of(size_t size, long n)
{
    for (long i = 0; i < n; i++) {
        sink = malloc(size);
        free(sink);
    }
}

static uint32_t random32(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 16);
}

static void churn(long n)
{
    enum { LIVE = 4096, SIZES = 1024 };
    static void *live[LIVE];
    static uint32_t size[SIZES];

    if (!size[0])
        for (int i = 0; i < SIZES; i++) {
            uint32_t log2 = 4 + random32() % 8;
            size[i] = (1u << log2) + random32() % (1u << log2);
        }
    for (long i = 0; i < n; i++) {
        uint32_t r = random32();
        void **slot = &live[r % LIVE];

        free(*slot);
        *slot = malloc(size[(r >> 12) % SIZES]);
    }
}

/* Mapped, one page touched, and unmapped: beside 10,000 that stay, of which no two are one to the
 * kernel. */
static void mappings(long n)
{
    static char *stay;

    if (!stay) {
        stay = mmap(NULL, 20000 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (long i = 0; i < 20000; i += 2)
            mmap(stay + i * 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
    for (long i = 0; i < n; i++) {
        volatile char *p =
            mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        *p = 1;
        munmap((char *)p, 65536);
    }
}

static double measure(const char *pattern, long n)
{
    double start = now_ns();

    if (strcmp(pattern, "churn") == 0)
        churn(n);
    else if (strcmp(pattern, "map") == 0)
        mappings(n);
    else
        pairs_of((size_t)atol(pattern), n);
    return (now_ns() - start) / (double)n;
}

__attribute__((noinline)) static double deep(int depth, const char *pattern, long n)
{
    volatile double r = depth ? deep(depth - 1, pattern, n) : measure(pattern, n);
    return r; /* volatile: no tail call */
}

int main(int argc, char **argv)
{
    if (argc != 3 || atol(argv[2]) <= 0) {
        fprintf(stderr, "usage: malloc_bench SIZE|churn|map PAIRS\n");
        return 2;
    }
    deep(17, argv[1], atol(argv[2]) / 20 + 1); /* warm up */
    printf("%.3f\n", deep(17, argv[1], atol(argv[2])));
    return 0;
}
