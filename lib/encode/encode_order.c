/*
 * encode_order.c - samples largest first.
 *
 * A merge sort of our own, because qsort() of glibc takes its scratch memory from malloc, and the
 * order of equal samples has to be the report's.
 */
#include "encode/encode_order.h"

#include <string.h>

size_t prof__report_default_value(const struct prof__report *r)
{
    for (size_t i = 0; r->default_type && i < r->n_values; i++) {
        if (strcmp(r->value_type[i].type, r->default_type) == 0)
            return i;
    }
    return r->n_values ? r->n_values - 1 : 0;
}

struct rank {
    uint64_t magnitude;
    uint32_t index;
};

static void merge(const struct rank *from, struct rank *to, size_t begin, size_t middle, size_t end)
{
    size_t left = begin, right = middle;

    for (size_t i = begin; i < end; i++) {
        bool take_left =
            left < middle && (right == end || from[left].magnitude >= from[right].magnitude);

        to[i] = take_left ? from[left++] : from[right++];
    }
}

const uint32_t *prof__report_order(const struct prof__report *r, struct prof__arena *a)
{
    size_t n = r->n_samples, value = prof__report_default_value(r);
    struct rank *from = prof__arena_array(a, n, sizeof(*from));
    struct rank *to = prof__arena_array(a, n, sizeof(*to));
    uint32_t *order = prof__arena_array(a, n, sizeof(*order));

    if (!from || !to || !order)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        int64_t v = r->sample[i].value[value];

        from[i].magnitude = v < 0 ? -(uint64_t)v : (uint64_t)v;
        from[i].index = (uint32_t)i;
    }
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t begin = 0; begin < n; begin += 2 * width)
            merge(from, to, begin, PROF_MIN(begin + width, n), PROF_MIN(begin + 2 * width, n));
        struct rank *sorted = to;
        to = from;
        from = sorted;
    }
    for (size_t i = 0; i < n; i++)
        order[i] = from[i].index;
    return order;
}
