/*
 * sample_bench.c - nanoseconds for a malloc+free pair at the end of a call chain; knows nothing of
 * libprof.
 *
 *   sample_bench DEPTH STACKS PAIRS
 *
 * With a profiler that samples every block, what comes on top of the same without it is the cost of
 * one sample: recorded, and forgotten. DEPTH counts all frames, those before main() too. STACKS is
 * 1, or so many that take turns, over 1,024 functions. Prints one number.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "many_functions.h"

enum {
    SIZE = 1000,      /* of a block: small enough for every allocator's fast way */
    OTHER_FRAMES = 6, /* leaf, bench_call, main, and three of libc's */
    WARM_UP = 20000   /* tcmalloc takes no sample in its first 16 MiB */
};

static void *volatile block;
static long times;
static uint64_t sum;

static uint64_t ticks(void)
{
    unsigned aux;

    __builtin_ia32_lfence();
    return __builtin_ia32_rdtscp(&aux);
}

BENCH_ALWAYS static void leaf(void)
{
    for (long i = 0; i < times; i++) {
        uint64_t t = ticks();

        block = malloc(SIZE);
        free(block);
        sum += ticks() - t;
    }
}

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void run(unsigned depth, long stacks, long pairs)
{
    times = stacks == 1 ? pairs : 1;
    for (long i = 0; i < pairs; i += times)
        bench_call(depth, (uint64_t)(i % stacks), leaf);
}

int main(int argc, char **argv)
{
    int depth = argc == 4 ? atoi(argv[1]) : 0;
    long stacks = argc == 4 ? atol(argv[2]) : 0, pairs = argc == 4 ? atol(argv[3]) : 0;

    if (depth < 1 || stacks < 1 || pairs < 1) {
        fprintf(stderr, "usage: sample_bench DEPTH STACKS PAIRS\n");
        return 2;
    }
    unsigned chain = depth > OTHER_FRAMES ? (unsigned)(depth - OTHER_FRAMES) : 1;

    run(chain, stacks, WARM_UP + stacks);
    double begin_ns = now_ns();
    uint64_t begin = ticks();

    sum = 0;
    run(chain, stacks, pairs);
    printf("%.2f\n",
           (double)sum / (double)pairs * (now_ns() - begin_ns) / (double)(ticks() - begin));
    return 0;
}
