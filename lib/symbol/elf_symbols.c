/*
 * elf_symbols.c - the symbol table read past the sorted addresses, a chunk at a time.
 *
 * Only a function whose size covers the address counts: with nothing but exported symbols to go
 * by, the nearest one below names whatever static function follows it, and a wrong name is worse
 * than none. Of several that cover, the one that starts last is meant, then the smaller. Aliases
 * have both in common: global goes before local before weak, then the first in the table.
 */
#include "symbol/elf_symbols.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    CHUNK = 2048,             /* symbols read at a time */
    NAME_MAX_BYTES = 1 << 14, /* longer names are cut; templates reach some KiB */
    SEGMENTS_MAX = 64,
    DYNAMIC_MAX = 256,
    LOADED_SYMBOLS_MAX = 1 << 22,
    VISITS_MAX = 1 << 26, /* symbols times addresses in them, which linkers make a few each */
};

/* Where bytes come from: a file, or memory of this process. */
struct source {
    const struct prof__elf *elf; /* NULL: memory */
    bool is_vdso;
};

/* A table of symbols and its strings, in terms of the source. */
struct table {
    uint64_t symbols, n;
    uint64_t strings, strings_size;
};

/* Memory that may go away under us: the kernel answers EFAULT where a load would crash. The vDSO
 * stays, so that it has names under a filter that forbids the call. */
static bool read_memory(bool is_vdso, uint64_t address, void *buf, size_t n)
{
    struct iovec to = { .iov_base = buf, .iov_len = n };
    struct iovec from = { .iov_base = (void *)(uintptr_t)address, .iov_len = n };

    if (is_vdso) {
        memcpy(buf, from.iov_base, n);
        return true;
    }
    return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)n;
}

static bool read_source(const struct source *s, uint64_t at, void *buf, size_t n)
{
    return s->elf ? prof__elf_read(s->elf, at, buf, n) : read_memory(s->is_vdso, at, buf, n);
}

static uint8_t rank_of(const Elf64_Sym *sym)
{
    switch (ELF64_ST_BIND(sym->st_info)) {
    case STB_GLOBAL:
    case STB_GNU_UNIQUE:
        return 3;
    case STB_LOCAL:
        return 2;
    default:
        return 1;
    }
}

static bool is_better(const Elf64_Sym *sym, const struct prof__query *q)
{
    if (q->symbol_rank == 0)
        return true;
    if (sym->st_value != q->symbol_start)
        return sym->st_value > q->symbol_start;
    if (sym->st_size != q->symbol_size)
        return sym->st_size < q->symbol_size;
    return rank_of(sym) > q->symbol_rank;
}

/* Returns how many addresses it covers. */
static size_t offer(const Elf64_Sym *sym, struct prof__query *q, size_t n)
{
    unsigned type = ELF64_ST_TYPE(sym->st_info);

    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || sym->st_shndx == SHN_UNDEF ||
        sym->st_size == 0 || sym->st_name == 0)
        return 0;
    size_t first = prof__query_from(q, n, sym->st_value), i = first;
    for (; i < n && q[i].address - sym->st_value < sym->st_size; i++) {
        if (!is_better(sym, &q[i]))
            continue;
        q[i].symbol_start = sym->st_value;
        q[i].symbol_size = sym->st_size;
        q[i].symbol_name = sym->st_name;
        q[i].symbol_rank = rank_of(sym);
    }
    return i - first;
}

static char *read_name(const struct source *s, const struct table *t, struct prof__arena *a,
                       uint32_t name)
{
    char buf[256];
    char *text = NULL;
    size_t length = 0;

    if (name >= t->strings_size)
        return NULL;
    uint64_t left = PROF_MIN(t->strings_size - name, (uint64_t)NAME_MAX_BYTES);
    while (left > 0) {
        size_t n = PROF_MIN(left, (uint64_t)sizeof(buf));

        if (!read_source(s, t->strings + name + length, buf, n))
            return NULL;
        size_t part = strnlen(buf, n);
        if (!text && part < n) /* by far the most */
            return part ? prof__arena_strndup(a, buf, part) : NULL;
        if (!text && !(text = prof__arena_alloc(a, left + 1)))
            return NULL;
        memcpy(text + length, buf, part);
        length += part;
        left -= n;
        if (part < n)
            break;
    }
    return text;
}

static int search(const struct source *s, const struct table *t, struct prof__arena *a,
                  struct prof__query *q, size_t n)
{
    Elf64_Sym *chunk = prof__arena_array(a, CHUNK, sizeof(*chunk));
    size_t visits = 0;

    if (!chunk)
        return -ENOMEM;
    for (uint64_t at = 0; at < t->n && visits < VISITS_MAX;) {
        size_t count = PROF_MIN((uint64_t)CHUNK, t->n - at);

        if (!read_source(s, t->symbols + at * sizeof(*chunk), chunk, count * sizeof(*chunk)))
            break; /* cut short: the names so far are right */
        for (size_t i = 0; i < count; i++)
            visits += offer(&chunk[i], q, n);
        at += count;
    }
    for (size_t i = 0; i < n; i++) {
        if (q[i].symbol_rank == 0)
            continue;
        if (i > 0 && q[i - 1].symbol && q[i - 1].symbol_name == q[i].symbol_name)
            q[i].symbol = q[i - 1].symbol;
        else
            q[i].symbol = read_name(s, t, a, q[i].symbol_name);
    }
    return 0;
}

int prof__elf_symbols(const struct prof__elf *e, struct prof__arena *a, struct prof__query *q,
                      size_t n)
{
    const Elf64_Shdr *symbols = prof__elf_section(e, ".symtab");
    struct source source = { .elf = e };

    if (!symbols)
        symbols = prof__elf_section(e, ".dynsym");
    if (!symbols || symbols->sh_link >= e->n_sections || symbols->sh_entsize != sizeof(Elf64_Sym) ||
        symbols->sh_flags & SHF_COMPRESSED)
        return -ENOENT;
    const Elf64_Shdr *strings = &e->section[symbols->sh_link];
    struct table table = { .symbols = symbols->sh_offset,
                           .n = symbols->sh_size / sizeof(Elf64_Sym),
                           .strings = strings->sh_offset,
                           .strings_size = strings->sh_size };

    if (strings->sh_type != SHT_STRTAB)
        return -ENOENT;
    return search(&source, &table, a, q, n);
}

/* --- from memory ----------------------------------------------------------------------------- */

/* DT_GNU_HASH does not say how many symbols there are: they end with the chain of the highest
 * bucket, whose last entry has its lowest bit set. */
static uint64_t gnu_hash_count(const struct source *s, uint64_t hash)
{
    struct {
        uint32_t n_buckets, first, n_bloom, shift;
    } h;
    uint32_t last = 0, word;

    if (!read_source(s, hash, &h, sizeof(h)) || h.n_buckets > LOADED_SYMBOLS_MAX ||
        h.n_bloom > LOADED_SYMBOLS_MAX)
        return 0;
    uint64_t buckets = hash + sizeof(h) + (uint64_t)h.n_bloom * 8;
    uint64_t chains = buckets + (uint64_t)h.n_buckets * 4;

    for (uint32_t i = 0; i < h.n_buckets;) {
        uint32_t part[256];
        uint32_t n = PROF_MIN(h.n_buckets - i, (uint32_t)ARRAY_LEN(part));

        if (!read_source(s, buckets + (uint64_t)i * 4, part, n * sizeof(part[0])))
            return 0;
        for (uint32_t j = 0; j < n; j++)
            last = PROF_MAX(last, part[j]);
        i += n;
    }
    if (last < h.first)
        return h.first;
    do {
        if (last - h.first > LOADED_SYMBOLS_MAX ||
            !read_source(s, chains + (uint64_t)(last - h.first) * 4, &word, sizeof(word)))
            return 0;
        last++;
    } while (!(word & 1));
    return last;
}

static bool find_dynamic(const struct source *s, uint64_t bias, uint64_t *ret_dynamic)
{
    Elf64_Ehdr h;
    Elf64_Phdr p;

    if (!read_source(s, bias, &h, sizeof(h)) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 ||
        h.e_phentsize != sizeof(p))
        return false;
    for (unsigned i = 0; i < PROF_MIN(h.e_phnum, SEGMENTS_MAX); i++) {
        if (!read_source(s, bias + h.e_phoff + i * sizeof(p), &p, sizeof(p)))
            return false;
        if (p.p_type == PT_DYNAMIC) {
            *ret_dynamic = bias + p.p_vaddr;
            return true;
        }
    }
    return false;
}

int prof__loaded_symbols(uint64_t bias, struct prof__arena *a, struct prof__query *q, size_t n)
{
    struct source source = { .is_vdso = bias && bias == getauxval(AT_SYSINFO_EHDR) };
    struct table table = { 0 };
    uint64_t dynamic, hash = 0, gnu_hash = 0;

    if (!find_dynamic(&source, bias, &dynamic))
        return -ENOENT;
    for (size_t i = 0; i < DYNAMIC_MAX; i++) {
        Elf64_Dyn d;

        if (!read_source(&source, dynamic + i * sizeof(d), &d, sizeof(d)) || d.d_tag == DT_NULL)
            break;
        /* The loader has turned these into addresses, but not where the section is read-only. */
        uint64_t address = d.d_un.d_ptr < bias ? d.d_un.d_ptr + bias : d.d_un.d_ptr;

        if (d.d_tag == DT_SYMTAB)
            table.symbols = address;
        else if (d.d_tag == DT_STRTAB)
            table.strings = address;
        else if (d.d_tag == DT_STRSZ)
            table.strings_size = d.d_un.d_val;
        else if (d.d_tag == DT_HASH)
            hash = address;
        else if (d.d_tag == DT_GNU_HASH)
            gnu_hash = address;
    }
    uint32_t chains[2] = { 0 }; /* of DT_HASH: buckets, and symbols */
    if (hash && read_source(&source, hash, chains, sizeof(chains)))
        table.n = chains[1];
    else if (gnu_hash)
        table.n = gnu_hash_count(&source, gnu_hash);
    if (!table.symbols || !table.strings || table.n == 0 || table.n > LOADED_SYMBOLS_MAX)
        return -ENOENT;
    return search(&source, &table, a, q, n);
}
