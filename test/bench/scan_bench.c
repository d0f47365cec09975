/*
 * scan_bench.c - how fast a scan is: by references, and along glibc's heap.
 *
 *   scan_bench refs MIB TARGETS [worst]
 *   scan_bench walk MIB
 *
 * refs: memory with pointers into TARGETS blocks of 4 KiB; GB/s of processor time of one pass.
 * walk: lists, trees and tables of small blocks; us a chunk.
 *
 * `worst`: the blocks cover three quarters of the memory, and a quarter of all words point into it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/random.h"
#include "image/image.h"
#include "scan/flood.h"
#include "scan/pass.h"

static uint64_t rng = 1;
static struct prof__image_block *blocks;
static size_t n_blocks;

static int each_block(struct prof__image *image,
                      int (*each)(const struct prof__image_block *block, void *arg), void *arg)
{
    (void)image;
    for (size_t i = 0; i < n_blocks; i++) {
        int r = each(&blocks[i], arg);

        if (r)
            return r;
    }
    return 0;
}

static int64_t cpu_ns(void)
{
    return prof__clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* The image of this process, with blocks of our own. */
static void open_image(struct prof__image *image)
{
    static struct prof__image_ops ops;

    if (prof__image_self(image, (uintptr_t)__builtin_frame_address(0)) < 0)
        abort();
    ops = *image->ops;
    ops.blocks = each_block;
    image->ops = &ops;
}

static void make_blocks(size_t n)
{
    /* Pages of our own: they name blocks and must not be looked at. */
    blocks = prof__pages_map((n + 1) * sizeof(*blocks));
    if (!blocks)
        abort();
}

static int bench_refs(size_t mib, size_t targets, bool worst)
{
    size_t bytes = mib << 20, words = bytes / 8;
    uint64_t *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t step = bytes / targets & ~(size_t)15;
    double share = worst ? 0.25 : 0.02;

    if (memory == MAP_FAILED)
        abort();
    make_blocks(targets);
    for (size_t i = 0; i < targets; i++)
        blocks[n_blocks++] = (struct prof__image_block) { .address = (uintptr_t)memory + i * step,
                                                          .size = 4096,
                                                          .row = 1 };
    for (size_t i = 0; i < words; i++) {
        double u = prof__random_unit(&rng);

        memory[i] = u < share         ? (uintptr_t)memory + prof__random(&rng) % bytes
                    : u < share + 0.1 ? 0x7fff00000000 + prof__random(&rng) % 4096
                    : u < share + 0.4 ? prof__random(&rng) % 1000
                    : u < share + 0.6 ? 0
                                      : prof__random(&rng);
    }
    for (int round = 0; round < 5; round++) {
        struct prof__arena a = { 0 };
        struct prof__image image;
        struct prof__targets t;
        struct prof__plan plan;
        struct prof__pace pace = { 0 };
        struct prof__sweep s = { .image = &image, .pace = &pace };
        struct prof__pass_count count = { 0 };

        open_image(&image);
        s.buf = prof__arena_alloc(&a, PROF__SWEEP_BYTES);
        prof__pace_start(&pace);
        int64_t start = cpu_ns();
        if (prof__image_refresh(&image) < 0 ||
            prof__targets_take(&t, &image, &a, 0, UINT32_MAX, false) < 0 ||
            prof__plan_begin(&plan, &image, &a) < 0 || prof__plan_finish(&plan, NULL, 0) < 0 ||
            prof__refs_pass(&t, &plan, &s, &a, &count, NULL, false, false) < 0)
            abort();
        double ns = (double)(cpu_ns() - start);
        printf("refs %zu MiB, %zu targets%s: %.2f GB/s of processor time, %.3f s a pass\n", mib,
               t.n, worst ? ", worst case" : "", (double)s.read_bytes / ns, ns / 1e9);
        prof__arena_free(&a);
        prof__image_close(&image);
    }
    return 0;
}

struct node {
    struct node *next, *left, *right;
    uint64_t value[5];
};

static struct node *roots[64];

static int bench_walk(size_t mib)
{
    size_t n = (mib << 20) / 80;

    make_blocks(n / 1000 + 1);
    for (size_t i = 0; i < n; i++) {
        struct node *node = malloc(i % 16 ? sizeof(*node) : 200 + prof__random(&rng) % 600);
        struct node **root = &roots[prof__random(&rng) % 64];

        if (!node)
            abort();
        memset(node, 0, sizeof(*node));
        node->next = *root;
        /* Now and then deep into what is there already, as a program's lists are. */
        if (*root && i % 7 == 0) {
            node->left = (*root)->next;
            node->right = roots[prof__random(&rng) % 64];
        }
        *root = node;
        if (i % 1000 == 0)
            blocks[n_blocks++] = (struct prof__image_block) { .address = (uintptr_t)node,
                                                              .size = sizeof(*node),
                                                              .row = 1 };
    }
    for (int round = 0; round < 5; round++) {
        struct prof__arena a = { 0 };
        struct prof__image image;
        struct prof__targets t;
        struct prof__plan plan;
        struct prof__heap heap;
        struct prof__pace pace = { 0 };
        struct prof__sweep s = { .image = &image, .pace = &pace };
        struct prof__pass_count count = { 0 };

        open_image(&image);
        s.buf = prof__arena_alloc(&a, PROF__SWEEP_BYTES);
        prof__pace_start(&pace);
        size_t own = prof__pages_total();
        int64_t start = cpu_ns();
        if (prof__image_refresh(&image) < 0 ||
            prof__targets_take(&t, &image, &a, 0, UINT32_MAX, false) < 0 ||
            prof__plan_begin(&plan, &image, &a) < 0 ||
            prof__heap_walk(&heap, &plan, &t, &s, &a) < 0)
            abort();
        double walked = (double)(cpu_ns() - start);
        if (prof__plan_finish(&plan, NULL, 0) < 0 ||
            prof__flood(&heap, &t, &plan, &s, &a, &count, NULL, true) < 0)
            abort();
        double ns = (double)(cpu_ns() - start);
        size_t reached = 0;
        for (size_t i = 0; i < t.n; i++)
            reached += t.target[i].state & PROF__TARGET_REACHED;
        printf("walk %zu MiB, %zu chunks%s%s: %.3f us a chunk (headers %.3f), %.2f s, %zu of %zu "
               "reached, %.1f MiB mapped for it\n",
               mib, heap.chunks, heap.why ? ": " : "", heap.why ? heap.why : "",
               ns / 1e3 / (double)heap.chunks, walked / 1e3 / (double)heap.chunks, ns / 1e9,
               reached, t.n, (double)(prof__pages_total() - own) / (1 << 20));
        prof__arena_free(&a);
        prof__image_close(&image);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 4 && strcmp(argv[1], "refs") == 0)
        return bench_refs(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10), argc > 4);
    if (argc >= 3 && strcmp(argv[1], "walk") == 0)
        return bench_walk(strtoul(argv[2], NULL, 10));
    fprintf(stderr, "usage: %s refs MIB TARGETS [worst] | walk MIB\n", argv[0]);
    return 2;
}
