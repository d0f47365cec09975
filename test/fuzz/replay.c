/*
 * replay.c - a fuzz target as a test: every file of the corpus, whole, cut short and damaged.
 *
 *   replay VARIANTS FILE...
 *
 * The damage comes from a fixed seed, so a failure can be had again. A crash is the failure.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 20260101;

static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % n;
}

/* Some bytes changed, a stretch copied elsewhere, or the end cut off. */
static size_t damage(uint8_t *data, size_t size)
{
    static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, '%', '+', ':', '&', '=', '-', '9' };

    switch (random_below(4)) {
    case 0:
        return random_below((uint32_t)size + 1);
    case 1: {
        size_t from = random_below((uint32_t)size), to = random_below((uint32_t)size);
        size_t n = random_below(64) + 1;

        n = n > size - from ? size - from : n;
        n = n > size - to ? size - to : n;
        memmove(data + to, data + from, n);
        return size;
    }
    default:
        for (uint32_t i = random_below(8) + 1; i > 0; i--)
            data[random_below((uint32_t)size)] =
                random_below(2) ? odd[random_below(sizeof(odd))] : (uint8_t)random_below(256);
        return size;
    }
}

/* In a block of its very size, so that a sanitizer sees one byte too far. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int replay(const char *path, long variants)
{
    FILE *f = fopen(path, "rb");
    long size;

    if (!f || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0) {
        printf("cannot read %s\n", path);
        if (f)
            fclose(f);
        return -1;
    }
    rewind(f);
    uint8_t *data = malloc((size_t)size + 1), *variant = malloc((size_t)size + 1);
    size_t got = fread(data, 1, (size_t)size, f);
    fclose(f);

    feed(data, got);
    for (long i = 0; got > 0 && i < variants; i++) {
        memcpy(variant, data, got);
        size_t n = got;
        for (uint32_t k = random_below(3); k < 3 && n > 0; k++)
            n = damage(variant, n);
        feed(variant, n);
    }
    free(data);
    free(variant);
    return 0;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0;

    if (argc < 3) {
        fprintf(stderr, "usage: replay VARIANTS FILE...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (replay(argv[i], atol(argv[1])) == 0)
            passed++;
        else
            failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
