/*
 * symbolize_bench.c - how long names take, cold and warm, and what memory.
 *
 *     symbolize_bench FILE [ADDRESSES [SEED [ROUNDS]]]
 *
 * Random distinct addresses of FILE's code are looked up: once cold, then again ten times over;
 * then as many new ones ROUNDS times, as a collector asks that comes again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "proc.h"
#include "symbol/elf_file.h"
#include "symbol/symbolize.h"

static struct prof__module module;

static double lookup_ms(const struct prof__code_address *lookup, size_t n, size_t *ret_named)
{
    struct prof__arena a = { 0 };
    struct prof__symbols *s = prof__arena_array(&a, n, sizeof(*s));
    int64_t start = prof__monotonic_ns();

    /* Time enough also under callgrind, where work is counted. */
    if (!s ||
        prof__symbolize_until(&a, lookup, n, start + 3600 * INT64_C(1000000000), s, NULL) < 0) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    double ms = (double)(prof__monotonic_ns() - start) / 1e6;
    *ret_named = 0;
    for (size_t i = 0; i < n; i++)
        *ret_named += s[i].n && s[i].line[s[i].n - 1].function;
    prof__arena_free(&a);
    return ms;
}

int main(int argc, char **argv)
{
    size_t n = argc > 2 ? strtoul(argv[2], NULL, 0) : 1000, named;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    long rounds = argc > 4 ? strtol(argv[4], NULL, 0) : 0;
    char *file = argc > 1 ? realpath(argv[1], NULL) : NULL;
    struct prof__code_address *lookup = calloc(n, sizeof(*lookup));
    struct prof__arena a = { 0 };
    struct prof__elf e;

    if (!file || !lookup || prof__elf_open(&e, &a, file) < 0) {
        fprintf(stderr, "usage: symbolize_bench ELF-FILE [ADDRESSES [SEED [ROUNDS]]]\n");
        return 2;
    }
    const Elf64_Shdr *text = prof__elf_section(&e, ".text");
    if (!text || text->sh_size < n)
        return 2;
    module = (struct prof__module) { .limit = UINT64_MAX,
                                     .path = file,
                                     .file = file,
                                     .inode = e.inode,
                                     .build_id_size = e.build_id_size,
                                     .is_elf = true };
    memcpy(module.build_id, e.build_id, e.build_id_size);
    /* One in each of n equal parts: distinct. Then in no order. */
    for (size_t i = 0; i < n; i++) {
        uint64_t step = text->sh_size / n;

        lookup[i].module = &module;
        lookup[i].address = text->sh_addr + i * step + prof__random(&seed) % step;
    }
    for (size_t i = n; i > 1; i--) {
        size_t j = prof__random(&seed) % i;
        struct prof__code_address swap = lookup[j];

        lookup[j] = lookup[i - 1];
        lookup[i - 1] = swap;
    }

    long rss = proc_status("VmRSS:");
    double cold = lookup_ms(lookup, n, &named), warm = 0;
    long peak = proc_status("VmHWM:"), after = proc_status("VmRSS:");
    for (int i = 0; i < 10; i++)
        warm += lookup_ms(lookup, n, &named);
    printf(
        "%zu addresses, %zu named: cold %.1f ms, warm %.3f ms; RSS %+ld KiB at the peak, %+ld KiB "
        "after; cache %zu KiB\n",
        n, named, cold, warm / 10, peak - rss, after - rss, prof__symbolize_cached() / 1024);
    for (long i = 0; i < rounds; i++) {
        prof__symbolize_tend(true);
        for (size_t k = 0; k < n; k++)
            lookup[k].address = text->sh_addr + prof__random(&seed) % text->sh_size;
        cold = lookup_ms(lookup, n, &named);
        printf("other addresses, %zu named: %.1f ms, RSS %+ld KiB\n", named, cold,
               proc_status("VmRSS:") - rss);
    }
    if (rounds) {
        prof__symbolize_tend(false);
        printf("given back: RSS %+ld KiB\n", proc_status("VmRSS:") - rss);
    }
    prof__elf_close(&e);
    prof__arena_free(&a);
    return 0;
}
