/*
 * walk_bench.c - what a stack costs: ns for each walk, and for each frame.
 *
 *   walk_bench [rounds]
 *
 * "hot" walks one stack again and again, which flatters every unwinder. "fresh" walks 1,000 stacks
 * in turn, made of calls in random order among 1,024 functions. Of each stack the least time of all
 * rounds counts, so that what else the machine does is left out, and then their mean.
 * unw_backtrace() of libunwind stands beside it.
 */
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "unwind/stack.h"

#ifdef __clang__
#define ALWAYS __attribute__((noinline))
#else
#define ALWAYS __attribute__((noinline, noclone))
#endif

enum { FUNCTIONS = 1024, STACKS = 1000 };

static uint64_t seed;
static void (*walk)(void);
static volatile uintptr_t sink;
static size_t frames;
static unsigned repeat; /* walks of one stack, of which the last is timed */
static unsigned stack;  /* which one it is */
static uint64_t least[STACKS];

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static uint64_t ticks(void)
{
    unsigned aux;

    __builtin_ia32_lfence();
    return __builtin_ia32_rdtscp(&aux);
}

ALWAYS static void leaf(void)
{
    uint64_t t = 0;

    for (unsigned i = 0; i < repeat; i++) {
        t = ticks();
        walk();
        t = ticks() - t;
    }
    if (t < least[stack])
        least[stack] = t;
}

/* 1,024 functions, of which none is like the other: each keeps some of its values in registers
 * across the call, and some on the stack. */
typedef unsigned fn(unsigned depth, unsigned a, unsigned b);
static fn *const table[FUNCTIONS];

#define BODY(n)                                                                         \
    ALWAYS static unsigned f##n(unsigned depth, unsigned a, unsigned b)                 \
    {                                                                                   \
        volatile unsigned kept[(n) % 13 + 1];                                           \
        unsigned c = a * ((n) + 1), d = b ^ a, e = a + b;                               \
                                                                                        \
        kept[0] = a;                                                                    \
        if (depth == 0)                                                                 \
            leaf();                                                                     \
        else                                                                            \
            c += table[prof__random(&seed) % FUNCTIONS](depth - 1, b, c);               \
        return kept[0] + c + ((n) % 2 ? d : 0) + ((n) % 3 ? e : 0) + ((n) % 5 ? b : 0); \
    }
#define B4(n)   BODY(n##0) BODY(n##1) BODY(n##2) BODY(n##3)
#define B16(n)  B4(n##0) B4(n##1) B4(n##2) B4(n##3)
#define B64(n)  B16(n##0) B16(n##1) B16(n##2) B16(n##3)
#define B256(n) B64(n##0) B64(n##1) B64(n##2) B64(n##3)
B256(10)
B256(11)
B256(12)
B256(13)

#define R4(n)   f##n##0, f##n##1, f##n##2, f##n##3,
#define R16(n)  R4(n##0) R4(n##1) R4(n##2) R4(n##3)
#define R64(n)  R16(n##0) R16(n##1) R16(n##2) R16(n##3)
#define R256(n) R64(n##0) R64(n##1) R64(n##2) R64(n##3)
static fn *const table[FUNCTIONS] = { R256(10) R256(11) R256(12) R256(13) };

ALWAYS static void walk_ours(void)
{
    uintptr_t pcs[PROF__STACK_MAX];

    frames = prof__stack_here(__builtin_return_address(0), pcs, PROF__STACK_MAX);
    sink = pcs[0];
}

ALWAYS static void walk_libunwind(void)
{
    void *pcs[PROF__STACK_MAX];

    frames = (size_t)unw_backtrace(pcs, PROF__STACK_MAX);
    sink = (uintptr_t)pcs[0];
}

ALWAYS static void walk_nothing(void)
{
    sink = 0;
}

/* Mean over the stacks, in ticks. */
static double cost(unsigned depth, int rounds, unsigned times, void (*what)(void))
{
    double sum = 0;

    walk = what;
    repeat = times;
    for (stack = 0; stack < STACKS; stack++)
        least[stack] = UINT64_MAX;
    for (int i = 0; i < rounds; i++) {
        seed = 1;
        for (stack = 0; stack < STACKS; stack++)
            table[stack](depth, 1, 2);
    }
    for (stack = 0; stack < STACKS; stack++)
        sum += (double)least[stack];
    return sum / STACKS;
}

static double ns_per_tick(void)
{
    double t = now_ns();
    uint64_t start = ticks();

    while (now_ns() - t < 5e7)
        ;
    return (now_ns() - t) / (double)(ticks() - start);
}

static void measure(const char *name, unsigned depth, int rounds, void (*what)(void))
{
    double ns = ns_per_tick(), empty = cost(depth, rounds, 1, walk_nothing);
    double hot = (cost(depth, rounds, 4, what) - empty) * ns;
    double fresh = (cost(depth, rounds, 1, what) - empty) * ns;

    printf("%-14s %5u %6zu  %8.0f %8.2f  %8.0f %8.2f\n", name, depth, frames, hot,
           hot / (double)frames, fresh, fresh / (double)frames);
}

int main(int argc, char **argv)
{
    static const unsigned depths[] = { 5, 20, 60 };
    int rounds = argc > 1 ? atoi(argv[1]) : 50;

    prof__stack_init();
    printf("%-14s %5s %6s  %8s %8s  %8s %8s\n", "", "depth", "frames", "hot ns", "/frame",
           "fresh ns", "/frame");
    for (size_t i = 0; i < ARRAY_LEN(depths); i++) {
        measure("libprof", depths[i], rounds, walk_ours);
        measure("unw_backtrace", depths[i], rounds, walk_libunwind);
    }
    return 0;
}
