/*
 * fuzz_symbolize.c - an executable or library whose bytes somebody else chose.
 */
#include "fuzz.h"
#include "symbol/symbolize.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOKUPS = 64 };

static void check_utf8(const char *s)
{
    for (; s && *s; s++)
        FUZZ_PROMISE((unsigned char)*s < 0xf8); /* no byte that UTF-8 never has */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    struct prof__code_address lookup[LOOKUPS];
    struct prof__symbols symbols[LOOKUPS];
    struct prof__arena arena = { 0 };
    char path[64];
    struct stat st;

    FUZZ_PROMISE(fd >= 0);
    if (write(fd, data, size) != (ssize_t)size || fstat(fd, &st) != 0) {
        close(fd);
        return 0;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    /* Each input is another file to the cache. */
    static uint64_t start = (uint64_t)1 << 32;
    start += 1 << 24;
    struct prof__module module = {
        .start = start,
        .limit = start + (1 << 20),
        .bias = start,
        .inode = st.st_ino,
        .path = path,
        .file = path,
        .is_elf = true,
    };
    for (uint64_t i = 0; i < LOOKUPS; i++)
        lookup[i] = (struct prof__code_address) { &module, start + 0x1000 + i * 23 };
    FUZZ_PROMISE(prof__symbolize(&arena, lookup, LOOKUPS, symbols) == 0);
    for (size_t i = 0; i < LOOKUPS; i++)
        for (size_t k = 0; k < symbols[i].n; k++) {
            check_utf8(symbols[i].line[k].function);
            check_utf8(symbols[i].line[k].file);
        }
    prof__arena_free(&arena);
    close(fd);
    return 0;
}
