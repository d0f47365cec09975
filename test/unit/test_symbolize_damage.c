/*
 * test_symbolize_damage.c - damaged files give fewer names, never a crash, and soon.
 *
 *     test_symbolize_damage ELF-FILE...
 *
 * Each file is cut short, and bits, words and runs of it are changed, mostly within headers and the
 * sections that names come from; the seed is fixed. Then all of its code is looked up.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "check.h"
#include "symbol/symbolize.h"

enum { VARIANTS = 1500, LOOKUPS = 400, SLOWEST_MS = 8000 };

struct file {
    unsigned char *bytes;
    size_t size;
    uint64_t text, text_size;
};

static uint64_t seed = 20240607;

static uint64_t below(uint64_t n)
{
    return n ? prof__random(&seed) % n : 0;
}

static const Elf64_Shdr *sections(const struct file *f, size_t *ret_n)
{
    const Elf64_Ehdr *h = (const void *)f->bytes;

    *ret_n = h->e_shnum;
    return (const void *)(f->bytes + h->e_shoff);
}

static bool read_file(const char *path, struct file *f)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n;

    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    f->size = (size_t)st.st_size;
    f->bytes = malloc(f->size);
    bool ok = f->bytes && read(fd, f->bytes, f->size) == (ssize_t)f->size;
    close(fd);
    if (!ok)
        return false;
    const Elf64_Shdr *s = sections(f, &n);
    for (size_t i = 0; i < n; i++)
        if (s[i].sh_flags & SHF_EXECINSTR && s[i].sh_size > f->text_size) {
            f->text = s[i].sh_addr;
            f->text_size = s[i].sh_size;
        }
    return f->text_size > 0;
}

/* A place worth damaging. */
static void choose(const struct file *f, uint64_t *ret_at, uint64_t *ret_size)
{
    size_t n;
    const Elf64_Shdr *s = sections(f, &n);
    uint64_t kind = below(8);

    if (kind == 0) { /* file header and program headers */
        *ret_at = 0;
        *ret_size = 512;
    } else if (kind == 1) {
        *ret_at = (uint64_t)((const unsigned char *)s - f->bytes);
        *ret_size = n * sizeof(*s);
    } else {
        const Elf64_Shdr *one;

        do
            one = &s[below(n)];
        while (one->sh_type == SHT_NOBITS || one->sh_flags & SHF_ALLOC || one->sh_size == 0);
        *ret_at = one->sh_offset;
        /* Starts of sections hold headers, on which all else hangs. */
        *ret_size = below(2) ? one->sh_size : PROF_MIN(one->sh_size, 64u);
    }
}

static void damage(const struct file *f, unsigned char *copy)
{
    for (uint64_t times = 1 + below(6); times > 0; times--) {
        uint64_t at, size, n = 1 + below(64);

        choose(f, &at, &size);
        at += below(size);
        n = PROF_MIN(n, f->size - at);
        switch (below(5)) {
        case 0:
            copy[at] ^= (unsigned char)(1u << below(8));
            break;
        case 1:
            copy[at] = (unsigned char)below(256);
            break;
        case 2: /* huge numbers, and LEB128 without an end */
            memset(copy + at, below(2) ? 0xff : 0x80, PROF_MIN(n, 9));
            break;
        case 3:
            memset(copy + at, 0, n);
            break;
        default: /* a piece of the file in the wrong place */
            memcpy(copy + at, f->bytes + below(f->size - n), n);
        }
    }
}

/* Every function and file must be a string that can be read. Returns how many are named. */
static size_t read_results(const struct prof__symbols *s, size_t n)
{
    size_t length = 0, named = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < s[i].n; j++) {
            length += s[i].line[j].function ? strlen(s[i].line[j].function) : 0;
            length += s[i].line[j].file ? strlen(s[i].line[j].file) : 0;
            named += s[i].line[j].function != NULL;
        }
    CHECK(length < n * 128 * 32768, "%zu bytes of names", length);
    return named;
}

/* Look up all of the code in a file with these contents. */
static size_t look_up(const struct file *f, const unsigned char *bytes, size_t size, double *ret_ms)
{
    struct prof__arena a = { 0 };
    struct prof__code_address lookup[LOOKUPS];
    struct prof__symbols symbols[LOOKUPS];
    struct prof__module m = { .limit = UINT64_MAX, .is_elf = true };
    struct stat st;
    char path[64];
    int fd = memfd_create("damaged", MFD_CLOEXEC);

    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || fstat(fd, &st) < 0)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    m.path = m.file = path;
    m.inode = st.st_ino;
    for (size_t i = 0; i < LOOKUPS; i++)
        lookup[i] = (struct prof__code_address) { &m, f->text + f->text_size * i / LOOKUPS };
    int64_t start = prof__monotonic_ns();
    int r = prof__symbolize(&a, lookup, LOOKUPS, symbols);
    *ret_ms = (double)(prof__monotonic_ns() - start) / 1e6;
    close(fd);
    CHECK(r == 0, "error %d", r);
    size_t named = read_results(symbols, LOOKUPS);
    prof__arena_free(&a);
    return named;
}

static void test_damaged_files_give_fewer_names(const char *path)
{
    struct file f = { 0 };
    size_t unharmed = 0;
    double ms, slowest = 0;

    if (!read_file(path, &f)) {
        CHECK(false, "cannot use %s", path);
        return;
    }
    size_t whole = look_up(&f, f.bytes, f.size, &ms);
    CHECK(whole > LOOKUPS / 2, "%s: %zu frames named", path, whole);

    unsigned char *copy = malloc(f.size);
    for (int i = 0; copy && i < VARIANTS; i++) {
        size_t size = i % 5 ? f.size : below(f.size);

        memcpy(copy, f.bytes, f.size);
        if (i % 5)
            damage(&f, copy);
        unharmed += look_up(&f, copy, size, &ms) >= whole;
        slowest = PROF_MAX(slowest, ms);
    }
    CHECK(slowest < SLOWEST_MS, "%s: the slowest took %.0f ms", path, slowest);
    /* Else the damage was not to what is read. */
    CHECK(unharmed < VARIANTS * 3 / 4, "%s: %zu of %d gave all names", path, unharmed, VARIANTS);
    free(copy);
    free(f.bytes);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        test_damaged_files_give_fewer_names(argv[i]);
    return check_report();
}
