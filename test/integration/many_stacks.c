/*
 * many_stacks.c - a program whose heap has 12,000 stacks, some 25 deep, of 256 functions: as large
 * as profiles of real services are.
 *
 * Prints where it serves, and ends with its standard input.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <prof/http.h>
#include <prof/prof.h>

enum { STACKS = 12000, FUNCTIONS = 256, DEPTH = 20, MOST = 4096 };

static void *call(uint64_t path, int depth);

/* As they stand: clang-format does not come to an end with them. */
/* clang-format off */

/* Each is a function of its own, and none ends in a jump. */
#define FUNCTION(n)                                                           \
    __attribute__((noinline)) static void *step_##n(uint64_t path, int depth) \
    {                                                                         \
        void *p = call(path, depth);                                          \
        __asm__ volatile("" : "+r"(p) : "i"(0x##n));                          \
        return p;                                                             \
    }
#define ROW(h)                                                        \
    FUNCTION(h##0) FUNCTION(h##1) FUNCTION(h##2) FUNCTION(h##3)       \
    FUNCTION(h##4) FUNCTION(h##5) FUNCTION(h##6) FUNCTION(h##7)       \
    FUNCTION(h##8) FUNCTION(h##9) FUNCTION(h##a) FUNCTION(h##b)       \
    FUNCTION(h##c) FUNCTION(h##d) FUNCTION(h##e) FUNCTION(h##f)
#define NAMES(h)                                                      \
    step_##h##0, step_##h##1, step_##h##2, step_##h##3, step_##h##4,  \
    step_##h##5, step_##h##6, step_##h##7, step_##h##8, step_##h##9,  \
    step_##h##a, step_##h##b, step_##h##c, step_##h##d, step_##h##e, step_##h##f

ROW(0) ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7)
ROW(8) ROW(9) ROW(a) ROW(b) ROW(c) ROW(d) ROW(e) ROW(f)

static void *(*const functions[FUNCTIONS])(uint64_t, int) = {
    NAMES(0), NAMES(1), NAMES(2), NAMES(3), NAMES(4), NAMES(5), NAMES(6), NAMES(7),
    NAMES(8), NAMES(9), NAMES(a), NAMES(b), NAMES(c), NAMES(d), NAMES(e), NAMES(f)
};
/* clang-format on */

static uint64_t next(uint64_t x)
{
    return x * 6364136223846793005u + 1442695040888963407u;
}

/* The first calls are the same for many stacks, as those of a real program are. */
static void *call(uint64_t path, int depth)
{
    if (depth == 0)
        return malloc(16 + path % MOST);
    unsigned choice = depth > DEPTH / 2 ? (unsigned)(path >> 60) % 3 : (unsigned)(path >> 56);
    return functions[(choice + (unsigned)depth * 11) % FUNCTIONS](next(path), depth - 1);
}

int main(void)
{
    static void *kept[STACKS];
    char bound[256];
    uint64_t seed = 1;

    if (prof_http_start("127.0.0.1:0") < 0 || prof_http_address(bound, sizeof(bound)) < 0) {
        fprintf(stderr, "cannot serve: %s\n", prof_last_error());
        return 1;
    }
    prof_set_heap_rate(1);
    for (int i = 0; i < STACKS; i++) {
        seed = next(seed);
        kept[i] = call(seed, DEPTH);
    }
    printf("serving on %s\n", bound);
    fflush(stdout);
    while (read(STDIN_FILENO, bound, sizeof(bound)) > 0)
        ;
    for (int i = 0; i < STACKS; i++)
        free(kept[i]);
    return 0;
}
