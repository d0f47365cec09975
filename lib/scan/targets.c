/*
 * targets.c - taking them, and looking who is still there.
 */
#include "scan/targets.h"

#include <errno.h>
#include <stdlib.h>

struct taking {
    struct prof__targets *t;
    size_t room;
    uint32_t since_s, birth_s;
    bool fed;
};

static bool is_wanted(struct taking *k, const struct prof__image_block *b)
{
    if (b->fed != k->fed || b->row == 0)
        return false;
    if (b->birth_s > k->birth_s) {
        k->t->young++;
        return false;
    }
    return b->birth_s >= k->since_s && b->address != 0 && b->address < PROF__ADDRESS_MASK - b->size;
}

static int count_block(const struct prof__image_block *b, void *arg)
{
    (void)b;
    ++*(size_t *)arg;
    return 0;
}

static int add_block(const struct prof__image_block *b, void *arg)
{
    struct taking *k = arg;

    if (k->t->n < k->room && is_wanted(k, b)) {
        struct prof__target *t = &k->t->target[k->t->n++];

        *t = (struct prof__target) { .block = *b };
        if (t->block.size == 0)
            t->block.size = 1;
    }
    return 0;
}

/* Heap sort: no memory, no recursion, no bad case. */
static void sift(struct prof__target *t, size_t from, size_t n)
{
    struct prof__target one = t[from];
    size_t child;

    while ((child = from * 2 + 1) < n) {
        if (child + 1 < n && t[child + 1].block.address > t[child].block.address)
            child++;
        if (t[child].block.address <= one.block.address)
            break;
        t[from] = t[child];
        from = child;
    }
    t[from] = one;
}

static void sort(struct prof__target *t, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(t, i, n);
    for (size_t i = n; i-- > 1;) {
        struct prof__target one = t[0];

        t[0] = t[i];
        t[i] = one;
        sift(t, 0, i);
    }
}

int prof__targets_take(struct prof__targets *t, struct prof__image *image, struct prof__arena *a,
                       uint32_t since_s, uint32_t birth_s, bool fed)
{
    struct taking k = { .t = t, .since_s = since_s, .birth_s = birth_s, .fed = fed };
    size_t kept = 0;

    *t = (struct prof__targets) { 0 };
    image->ops->blocks(image, count_block, &k.room);
    t->target = prof__arena_array(a, k.room + 1, sizeof(*t->target));
    t->start = prof__arena_array(a, k.room + 1, sizeof(*t->start));
    t->end = prof__arena_array(a, k.room + 1, sizeof(*t->end));
    if (!t->target || !t->start || !t->end)
        return -ENOMEM;
    image->ops->blocks(image, add_block, &k);
    sort(t->target, t->n);
    for (size_t i = 0; i < t->n; i++) {
        const struct prof__image_block *b = &t->target[i].block;
        struct prof__image_block *last = kept ? &t->target[kept - 1].block : NULL;

        if (last && last->address + last->size > b->address) {
            /* The size of a large block is an upper bound: cut it. Of two at the same address, one
             * is gone since. */
            if (last->address == b->address) {
                t->overlapping++;
                continue;
            }
            t->end[kept - 1] = b->address;
            last->size = b->address - last->address;
        }
        t->target[kept] = t->target[i];
        t->start[kept] = b->address;
        t->end[kept++] = b->address + b->size;
    }
    t->n = kept;
    return prof__ranges_build(&t->ranges, a, t->start, t->end, t->n);
}

static int see_again(const struct prof__image_block *b, void *arg)
{
    struct prof__targets *t = arg;
    uint32_t i = b->address < PROF__ADDRESS_MASK ? prof__ranges_find(&t->ranges, b->address)
                                                 : PROF__NO_RANGE;

    if (i != PROF__NO_RANGE) {
        struct prof__target *k = &t->target[i];

        if (k->block.address == b->address && k->block.birth_s == b->birth_s &&
            k->block.row == b->row && k->block.fed == b->fed)
            k->live = true;
    }
    return 0;
}

void prof__targets_look_again(struct prof__targets *t, struct prof__image *image)
{
    for (size_t i = 0; i < t->n; i++)
        t->target[i].live = false;
    if (t->n)
        image->ops->blocks(image, see_again, t);
}
