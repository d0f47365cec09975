/*
 * symbolize_sample.c - a library to damage: functions in functions, loops, tables of ranges.
 */
#include <string.h>

int sample_total;

struct sample_node {
    struct sample_node *next;
    int weight;
};

static inline int sample_mix(int a, int b)
{
    for (int i = 0; i < b; i++)
        a = a * 31 + (a >> i % 7);
    return a;
}

static inline int sample_weigh(const struct sample_node *n, int depth)
{
    int sum = 0;

    for (; n; n = n->next)
        sum += n->weight > depth ? sample_mix(n->weight, depth) : -depth;
    return sum;
}

int sample_walk(const struct sample_node *n, const char *text);
int sample_walk(const struct sample_node *n, const char *text)
{
    int sum = sample_weigh(n, (int)strlen(text));

    if (sum & 1)
        sum = sample_mix(sum, 9) + sample_weigh(n->next, sum & 3);
    sample_total += sum;
    return sum;
}

int sample_enter(int depth);
int sample_enter(int depth)
{
    struct sample_node a = { NULL, depth }, b = { &a, depth * 3 };

    if (depth > 100)
        return sample_walk(&b, "deep") + sample_enter(depth - 1);
    switch (depth % 5) {
    case 0:
        return sample_mix(depth, 3);
    case 1:
        return sample_walk(&a, "one");
    default:
        return sample_weigh(&b, depth) ^ sample_mix(depth, 2);
    }
}
