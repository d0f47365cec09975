/*
 * walk_bench.c - what a stack costs, by ways of walking it.
 *
 *   walk_bench KIND DEPTH [ROUNDS]    prints frames, and ns a walk: hot, fresh
 *
 * KIND: libprof, unw_backtrace and unw_step of libunwind, backtrace of glibc, or frame_pointers,
 * the least that any walk can cost (in walk_bench_fp, which is compiled with them). "hot" walks one
 * stack again and again, which flatters every unwinder. "fresh" walks 1,000 stacks in turn, made of
 * calls in random order among 1,024 functions. Of each stack the least time of all rounds counts,
 * so that what else the machine does is left out, and then their mean.
 */
#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <libunwind.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "many_functions.h"
#include "unwind/stack.h"

enum { STACKS = 1000 };

static void (*walk)(void);
static int (*glibc_backtrace)(void **pcs, int max); /* libunwind has one of that name too */
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

BENCH_ALWAYS static void leaf(void)
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

BENCH_ALWAYS static void walk_libprof(void)
{
    struct prof__site site = prof__site(__builtin_return_address(0));
    uintptr_t pcs[PROF__STACK_MAX];

    frames = prof__stack_from(&site, pcs, PROF__STACK_MAX); /* as a hook does */
    sink = pcs[0];
}

BENCH_ALWAYS static void walk_unw_backtrace(void)
{
    void *pcs[PROF__STACK_MAX];

    frames = (size_t)unw_backtrace(pcs, PROF__STACK_MAX);
    sink = (uintptr_t)pcs[0];
}

BENCH_ALWAYS static void walk_unw_step(void)
{
    unw_context_t context;
    unw_cursor_t cursor;
    unw_word_t pc = 0;

    frames = 0;
    unw_getcontext(&context);
    unw_init_local(&cursor, &context);
    do {
        unw_get_reg(&cursor, UNW_REG_IP, &pc);
        frames++;
    } while (unw_step(&cursor) > 0);
    sink = pc;
}

BENCH_ALWAYS static void walk_backtrace(void)
{
    void *pcs[PROF__STACK_MAX];

    frames = (size_t)glibc_backtrace(pcs, PROF__STACK_MAX);
    sink = (uintptr_t)pcs[0];
}

BENCH_ALWAYS static void walk_frame_pointers(void)
{
    uintptr_t pcs[PROF__STACK_MAX];
    uintptr_t *frame = __builtin_frame_address(0);

    frames = 0;
    do {
        uintptr_t *up = (uintptr_t *)frame[0];

        pcs[frames++] = frame[1];
        if (up <= frame || (uintptr_t)up - (uintptr_t)frame > 65536) /* libc's own keep none */
            break;
        frame = up;
    } while (frames < PROF__STACK_MAX);
    sink = pcs[frames - 1];
}

BENCH_ALWAYS static void walk_nothing(void)
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
    for (int i = 0; i < rounds; i++)
        for (stack = 0; stack < STACKS; stack++)
            bench_call(depth, stack, leaf);
    for (stack = 0; stack < STACKS; stack++)
        sum += (double)least[stack];
    return sum / STACKS;
}

static double ns_per_tick(void)
{
    double t = now_ns();
    uint64_t start = ticks();

    while (now_ns() - t < 2e7)
        ;
    return (now_ns() - t) / (double)(ticks() - start);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*walk)(void);
    } kinds[] = {
        { "libprof", walk_libprof },     { "unw_backtrace", walk_unw_backtrace },
        { "unw_step", walk_unw_step },   { "frame_pointers", walk_frame_pointers },
        { "backtrace", walk_backtrace },
    };
    unsigned depth = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
    int rounds = argc > 3 ? atoi(argv[3]) : 20;

    *(void **)&glibc_backtrace = dlsym(dlopen("libc.so.6", RTLD_NOW), "backtrace");
    prof__stack_init();
    for (size_t i = 0; depth && i < ARRAY_LEN(kinds); i++)
        if (strcmp(argv[1], kinds[i].name) == 0) {
            double ns = ns_per_tick(), empty = cost(depth, rounds, 1, walk_nothing);
            double hot = (cost(depth, rounds, 4, kinds[i].walk) - empty) * ns;
            double fresh = (cost(depth, rounds, 1, kinds[i].walk) - empty) * ns;

            printf("%zu %.1f %.1f\n", frames, hot, fresh);
            return 0;
        }
    fprintf(stderr, "usage: walk_bench KIND DEPTH [ROUNDS]\n");
    return 2;
}
