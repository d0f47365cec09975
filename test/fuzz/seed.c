/*
 * seed.c - a small library with symbols, inlined functions and line tables, for fuzz_symbolize.
 */
#include <stddef.h>

static inline int twice(int x)
{
    return x + x;
}

static int walk(const int *values, size_t n)
{
    int sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += twice(values[i]) ^ (int)i;
    return sum;
}

int seed_entry(const int *values, size_t n)
{
    return n > 2 ? walk(values, n) : twice((int)n);
}
