/*
 * many_functions.h - call chains as of a large program: 1,024 functions, none like the other.
 *
 * A benchmark that walks one stack again and again flatters every unwinder. Here each function
 * keeps some of its values in registers across the call, and some on the stack, and which one calls
 * which is drawn at random, repeatable by a seed. To be included by one file of a program.
 */
#ifndef BENCH_MANY_FUNCTIONS_H
#define BENCH_MANY_FUNCTIONS_H

#include <stdint.h>

#ifdef __clang__
#define BENCH_ALWAYS __attribute__((noinline))
#else
#define BENCH_ALWAYS __attribute__((noinline, noclone))
#endif

enum { BENCH_FUNCTIONS = 1024 };

typedef unsigned bench_fn(unsigned depth, unsigned a, unsigned b);

static bench_fn *const bench_functions[BENCH_FUNCTIONS];
static uint64_t bench_seed;
static void (*bench_leaf)(void);
static volatile unsigned bench_sink;

static inline uint32_t bench_random(void)
{
    bench_seed = bench_seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(bench_seed >> 33);
}

#define BENCH_BODY(n)                                                                   \
    BENCH_ALWAYS static unsigned f##n(unsigned depth, unsigned a, unsigned b)           \
    {                                                                                   \
        volatile unsigned kept[(n) % 13 + 1];                                           \
        unsigned c = a * ((n) + 1), d = b ^ a, e = a + b;                               \
                                                                                        \
        kept[0] = a;                                                                    \
        if (depth == 0)                                                                 \
            bench_leaf();                                                               \
        else                                                                            \
            c += bench_functions[bench_random() % BENCH_FUNCTIONS](depth - 1, b, c);    \
        return kept[0] + c + ((n) % 2 ? d : 0) + ((n) % 3 ? e : 0) + ((n) % 5 ? b : 0); \
    }
#define BENCH_B4(n)   BENCH_BODY(n##0) BENCH_BODY(n##1) BENCH_BODY(n##2) BENCH_BODY(n##3)
#define BENCH_B16(n)  BENCH_B4(n##0) BENCH_B4(n##1) BENCH_B4(n##2) BENCH_B4(n##3)
#define BENCH_B64(n)  BENCH_B16(n##0) BENCH_B16(n##1) BENCH_B16(n##2) BENCH_B16(n##3)
#define BENCH_B256(n) BENCH_B64(n##0) BENCH_B64(n##1) BENCH_B64(n##2) BENCH_B64(n##3)
BENCH_B256(10)
BENCH_B256(11)
BENCH_B256(12)
BENCH_B256(13)

#define BENCH_R4(n)   f##n##0, f##n##1, f##n##2, f##n##3,
#define BENCH_R16(n)  BENCH_R4(n##0) BENCH_R4(n##1) BENCH_R4(n##2) BENCH_R4(n##3)
#define BENCH_R64(n)  BENCH_R16(n##0) BENCH_R16(n##1) BENCH_R16(n##2) BENCH_R16(n##3)
#define BENCH_R256(n) BENCH_R64(n##0) BENCH_R64(n##1) BENCH_R64(n##2) BENCH_R64(n##3)
static bench_fn *const bench_functions[BENCH_FUNCTIONS] = { BENCH_R256(10) BENCH_R256(11)
                                                                BENCH_R256(12) BENCH_R256(13) };

/* Call `leaf` from the innermost of `depth` of them (at least one); the same ones for a seed. */
static void bench_call(unsigned depth, uint64_t seed, void (*leaf)(void))
{
    bench_seed = seed * 0x9e3779b97f4a7c15u + 1;
    bench_leaf = leaf;
    bench_sink = bench_functions[bench_random() % BENCH_FUNCTIONS](depth > 1 ? depth - 1 : 0, 1, 2);
}

#endif
