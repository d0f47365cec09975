/*
 * elf_symbols.c - the symbol table read past the sorted addresses, a chunk at a time.
 *
 * A function whose size covers the address counts: with nothing but exported symbols to go by, the
 * nearest one below names whatever static function follows it, and a wrong name is worse than none.
 * Of several that cover, the one that starts last is meant, then the smaller. Hand-written
 * assembler often leaves sizes out; where all symbols are there, such a one lasts until the next of
 * its section.
 *
 * Aliases have both start and size in common. Of them the name that people call is shown: `malloc`
 * rather than `__libc_malloc` or `__GI___libc_malloc`, `fopen` rather than `fopen64`.
 */
#include "symbol/elf_symbols.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/uio.h>
#include <unistd.h>

#include "symbol/deadline.h"

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

/* What stands between a name and those who call it: the reserved prefixes, more with each. The
 * vDSO's are the better ones: libc calls them from functions of the short names. */
static unsigned strangeness(const char *name)
{
    if (strncmp(name, "__vdso_", 7) == 0)
        return 0;
    if (strncmp(name, "__GI_", 5) == 0)
        return 4;
    if (strncmp(name, "_IO_", 4) == 0 || strncmp(name, "__", 2) == 0)
        return 3;
    /* Mangled names start so too, and are as good as any. */
    return name[0] == '_' && name[1] != 'Z' && name[1] != 'R' && name[1] != 'D' ? 2 : 1;
}

bool prof__symbol_is_plainer(const char *a, const char *b)
{
    return strangeness(a) < strangeness(b);
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

/* The text without a version: .symtab has some as "memcpy@@GLIBC_2.14". */
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
        if (!text && !(text = prof__arena_alloc(a, part < n ? part + 1 : left + 1)))
            return NULL;
        memcpy(text + length, buf, part);
        length += part;
        left -= n;
        if (part < n)
            break;
    }
    char *version = length ? memchr(text + 1, '@', length - 1) : NULL;
    if (version)
        *version = '\0';
    return length ? text : NULL;
}

/* --- one table past the queries -------------------------------------------------------------- */

/* A symbol without a size, and of all others what ends it. */
struct mark {
    uint64_t start;
    uint32_t name;
    uint16_t section;
    bool is_open; /* it has no size */
};

/* One pass. */
struct search {
    const struct source *source;
    const struct table *table;
    struct prof__arena *arena;
    struct prof__query *query;
    size_t n;
    struct mark
        *mark; /* by query: the last that starts before it and after the one before; or NULL */
    struct {   /* two aliases and which is nicer: the next query will ask the same */
        uint32_t name, other;
        bool answer;
    } compared;
};

static bool is_nicer_name(const char *a, const char *b)
{
    unsigned x = strangeness(a), y = strangeness(b);

    return x != y ? x < y : strlen(a) < strlen(b);
}

static bool is_nicer(struct search *s, uint32_t name, uint32_t other)
{
    if (s->compared.name != name || s->compared.other != other) {
        const char *a = read_name(s->source, s->table, s->arena, name);
        const char *b = read_name(s->source, s->table, s->arena, other);

        s->compared.name = name;
        s->compared.other = other;
        s->compared.answer = a && b && is_nicer_name(a, b);
    }
    return s->compared.answer;
}

static bool is_better(struct search *s, const Elf64_Sym *sym, const struct prof__query *q)
{
    if (q->symbol_rank == 0)
        return true;
    if (sym->st_value != q->symbol_start)
        return sym->st_value > q->symbol_start;
    if (sym->st_size != q->symbol_size)
        return sym->st_size < q->symbol_size;
    if (q->symbol || sym->st_name == q->symbol_name) /* of an earlier table, or listed twice */
        return false;
    if (is_nicer(s, sym->st_name, q->symbol_name))
        return true;
    return rank_of(sym) > q->symbol_rank && !is_nicer(s, q->symbol_name, sym->st_name);
}

/* Returns how many addresses it covers. */
static size_t offer(struct search *s, const Elf64_Sym *sym)
{
    struct prof__query *q = s->query;
    size_t first = prof__query_from(q, s->n, sym->st_value), i = first;

    for (; i < s->n && q[i].address - sym->st_value < sym->st_size; i++) {
        if (!is_better(s, sym, &q[i]))
            continue;
        q[i].symbol_start = sym->st_value;
        q[i].symbol_size = sym->st_size;
        q[i].symbol_name = sym->st_name;
        q[i].symbol_rank = rank_of(sym);
        q[i].symbol = NULL;
    }
    return i - first;
}

/* Leave it with the first query behind it. */
static void put_mark(struct search *s, const Elf64_Sym *sym)
{
    size_t i = prof__query_from(s->query, s->n, sym->st_value);
    struct mark mark = { sym->st_value, sym->st_name, sym->st_shndx, sym->st_size == 0 };

    /* Of several at one place, one with a size is better known. */
    if (i < s->n && (!s->mark[i].name || mark.start > s->mark[i].start ||
                     (mark.start == s->mark[i].start && s->mark[i].is_open && !mark.is_open)))
        s->mark[i] = mark;
}

/* A label that tools made, not people. */
static bool is_label(const char *name)
{
    return name[0] == '$' || (name[0] == '.' && name[1] == 'L');
}

/* The queries that no function covers, by the marks before them. */
static void use_marks(struct search *s)
{
    const struct prof__elf *e = s->source->elf;
    struct mark last = { 0 };
    const char *name = NULL;
    uint32_t name_of = 0;

    for (size_t i = 0; i < s->n; i++) {
        struct prof__query *q = &s->query[i];

        if (s->mark[i].name)
            last = s->mark[i];
        if (q->symbol_rank || !last.name || !last.is_open)
            continue;
        const Elf64_Shdr *section = &e->section[last.section];
        if (q->address < section->sh_addr || q->address - section->sh_addr >= section->sh_size)
            continue;
        if (name_of != last.name) {
            name = read_name(s->source, s->table, s->arena, last.name);
            name = name && is_label(name) ? NULL : name;
            name_of = last.name;
        }
        q->symbol = name;
        q->symbol_start = last.start;
    }
}

static bool is_code(const struct prof__elf *e, uint16_t section)
{
    return section < e->n_sections && e->section[section].sh_flags & SHF_EXECINSTR;
}

static void look_at(struct search *s, const Elf64_Sym *sym, size_t *visits)
{
    unsigned type = ELF64_ST_TYPE(sym->st_info);

    if (sym->st_shndx == SHN_UNDEF || sym->st_name == 0)
        return;
    if ((type == STT_FUNC || type == STT_GNU_IFUNC) && sym->st_size)
        *visits += offer(s, sym);
    if (s->mark && (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE) &&
        is_code(s->source->elf, sym->st_shndx))
        put_mark(s, sym);
}

/* With `is_complete`, the table has all symbols there are, so that one ends where the next begins.
 */
static int search(const struct source *source, const struct table *t, struct prof__arena *a,
                  struct prof__query *q, size_t n, bool is_complete)
{
    struct search s = { .source = source, .table = t, .arena = a, .query = q, .n = n };
    Elf64_Sym *chunk = prof__arena_array(a, CHUNK, sizeof(*chunk));
    size_t visits = 0;

    if (is_complete)
        s.mark = prof__arena_array(a, n, sizeof(*s.mark));
    if (!chunk || (is_complete && !s.mark))
        return -ENOMEM;
    for (uint64_t at = 0; at < t->n && visits < VISITS_MAX && !prof__late_now();) {
        size_t count = PROF_MIN((uint64_t)CHUNK, t->n - at);

        if (!read_source(source, t->symbols + at * sizeof(*chunk), chunk, count * sizeof(*chunk)))
            break; /* cut short: the names so far are right */
        for (size_t i = 0; i < count; i++) {
            size_t before = visits;

            look_at(&s, &chunk[i], &visits);
            if (prof__late_after(visits - before + 1))
                break;
        }
        at += count;
    }
    for (size_t i = 0; i < n; i++) {
        if (q[i].symbol_rank == 0 || q[i].symbol || prof__late())
            continue;
        if (i > 0 && q[i - 1].symbol && q[i - 1].symbol_start == q[i].symbol_start &&
            q[i - 1].symbol_name == q[i].symbol_name)
            q[i].symbol = q[i - 1].symbol;
        else
            q[i].symbol = read_name(source, t, a, q[i].symbol_name);
    }
    if (s.mark && !prof__late()) /* else the next one may be missing */
        use_marks(&s);
    return 0;
}

static int search_section(const struct prof__elf *e, struct prof__arena *a, const char *name,
                          struct prof__query *q, size_t n, bool is_complete)
{
    const Elf64_Shdr *symbols = prof__elf_section(e, name);
    struct source source = { .elf = e };

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
    return search(&source, &table, a, q, n, is_complete);
}

int prof__elf_symbols(const struct prof__elf *e, struct prof__arena *a, struct prof__query *q,
                      size_t n)
{
    int r = search_section(e, a, ".symtab", q, n, true);

    return r == -ENOENT ? search_section(e, a, ".dynsym", q, n, false) : r;
}

int prof__elf_more_symbols(const struct prof__elf *e, struct prof__arena *a, struct prof__query *q,
                           size_t n)
{
    return search_section(e, a, ".symtab", q, n, false);
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
        if (prof__late() || last - h.first > LOADED_SYMBOLS_MAX ||
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

    if (!read_source(s, bias, &h, sizeof(h)) || !prof__elf_is_ours(&h) ||
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

/* The dynamic symbols of what is loaded at `bias`, and the tables that find them by name; 0: none.
 */
static bool find_loaded(const struct source *s, uint64_t bias, struct table *ret,
                        uint64_t *ret_hash, uint64_t *ret_gnu_hash)
{
    uint64_t dynamic;

    if (!find_dynamic(s, bias, &dynamic))
        return false;
    for (size_t i = 0; i < DYNAMIC_MAX; i++) {
        Elf64_Dyn d;

        if (!read_source(s, dynamic + i * sizeof(d), &d, sizeof(d)) || d.d_tag == DT_NULL)
            break;
        /* The loader has turned these into addresses, but not where the section is read-only. */
        uint64_t address = d.d_un.d_ptr < bias ? d.d_un.d_ptr + bias : d.d_un.d_ptr;

        if (d.d_tag == DT_SYMTAB)
            ret->symbols = address;
        else if (d.d_tag == DT_STRTAB)
            ret->strings = address;
        else if (d.d_tag == DT_STRSZ)
            ret->strings_size = d.d_un.d_val;
        else if (d.d_tag == DT_HASH)
            *ret_hash = address;
        else if (d.d_tag == DT_GNU_HASH)
            *ret_gnu_hash = address;
    }
    return ret->symbols && ret->strings;
}

int prof__loaded_symbols(uint64_t bias, struct prof__arena *a, struct prof__query *q, size_t n)
{
    struct source source = { .is_vdso = bias && bias == getauxval(AT_SYSINFO_EHDR) };
    struct table table = { 0 };
    uint64_t hash = 0, gnu_hash = 0;

    if (!find_loaded(&source, bias, &table, &hash, &gnu_hash))
        return -ENOENT;
    uint32_t chains[2] = { 0 }; /* of DT_HASH: buckets, and symbols */
    if (hash && read_source(&source, hash, chains, sizeof(chains)))
        table.n = chains[1];
    else if (gnu_hash)
        table.n = gnu_hash_count(&source, gnu_hash);
    if (table.n == 0 || table.n > LOADED_SYMBOLS_MAX)
        return -ENOENT;
    return search(&source, &table, a, q, n, false);
}
