/*
 * symbolize_tool.c - `addr2line -i -f` with libprof's symbolizer, for symbolize.py to compare.
 *
 *     symbolize_tool [-n | -s] FILE < addresses     addresses in the file, in hexadecimal, one a
 * line
 *
 * An empty line asks for answers at once. With -n notes follow the answers; with -s functions have
 * their short names. For each: "0xADDRESS",
 * then two lines a frame, FUNCTION and FILE:LINE, innermost first.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "symbol/elf_file.h"
#include "symbol/symbolize.h"

enum { ADDRESSES_MAX = 100000 };

static uint64_t address[ADDRESSES_MAX];
static struct prof__code_address lookup[ADDRESSES_MAX];
static struct prof__symbols symbols[ADDRESSES_MAX];

/* As if FILE were loaded at 0. */
static int open_module(const char *file, struct prof__arena *a, struct prof__module *m)
{
    struct prof__elf e;
    int r = prof__elf_open(&e, a, file);

    if (r == 0) {
        *m = (struct prof__module) { .limit = UINT64_MAX,
                                     .path = file,
                                     .file = file,
                                     .inode = e.inode,
                                     .build_id_size = e.build_id_size,
                                     .is_elf = true };
        memcpy(m->build_id, e.build_id, e.build_id_size);
    }
    prof__elf_close(&e);
    return r;
}

/* Addresses up to an empty line or the end; false: there are no more. */
static bool read_addresses(const struct prof__module *m, size_t *ret_n)
{
    char line[64];
    size_t n = 0;

    while (n < ADDRESSES_MAX && fgets(line, sizeof(line), stdin)) {
        if (line[0] == '\n') {
            *ret_n = n;
            return true;
        }
        address[n] = strtoull(line, NULL, 16);
        lookup[n] = (struct prof__code_address) { .module = m, .address = address[n] };
        n++;
    }
    *ret_n = n;
    return n > 0;
}

static void print(size_t n, bool is_short)
{
    for (size_t i = 0; i < n; i++) {
        const struct prof__line *line = symbols[i].line;

        printf("0x%016" PRIx64 "\n", address[i]);
        for (size_t j = 0; j < symbols[i].n; j++) {
            const char *name = is_short ? line[j].name : line[j].function;

            printf("%s\n%s:", name ? name : "??", line[j].file ? line[j].file : "??");
            if (line[j].line)
                printf("%u\n", line[j].line);
            else
                printf("?\n");
        }
        if (symbols[i].n == 0)
            printf("??\n??:?\n");
    }
}

int main(int argc, char **argv)
{
    struct prof__arena a = { 0 };
    struct prof__symbol_notes notes;
    struct prof__module m;
    bool with_notes = argc == 3 && strcmp(argv[1], "-n") == 0;
    bool is_short = argc == 3 && strcmp(argv[1], "-s") == 0;
    size_t n;
    char *file = argc == 2 + (with_notes || is_short) ? realpath(argv[argc - 1], NULL) : NULL;

    if (!file || open_module(file, &a, &m) < 0) {
        fprintf(stderr, "usage: symbolize_tool [-n | -s] ELF-FILE < addresses\n");
        return 2;
    }
    while (read_addresses(&m, &n)) {
        struct prof__arena answers = { 0 };

        if (prof__symbolize_until(&answers, lookup, n, 0, symbols, &notes) < 0) {
            fprintf(stderr, "out of memory\n");
            return 1;
        }
        print(n, is_short);
        for (size_t i = 0; i < notes.n && with_notes; i++) {
            if (notes.note[i].unread)
                printf("unread: %s\n", notes.note[i].unread);
            if (notes.note[i].wanted)
                printf("wanted: %s\n", notes.note[i].wanted);
        }
        if (!feof(stdin))
            printf("\n");
        fflush(stdout);
        prof__arena_free(&answers);
    }
    prof__arena_free(&a);
    free(file);
    return 0;
}
