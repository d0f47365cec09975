/*
 * data_symbols.c - objects in a symbol table.
 *
 * Read once, and only what places need: names are read for the few that are shown.
 */
#include "symbol/data_symbols.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/utf8.h"
#include "symbol/elf_file.h"

enum { CHUNK = 512, SYMBOLS_MAX = 1 << 21, NAME_SHOWN = 255 };

static const Elf64_Shdr *table_of(const struct prof__elf *e)
{
    const Elf64_Shdr *s = prof__elf_section(e, ".symtab");

    return s ? s : prof__elf_section(e, ".dynsym");
}

static bool is_variable(const Elf64_Sym *s)
{
    return ELF64_ST_TYPE(s->st_info) == STT_OBJECT && s->st_size > 0 && s->st_shndx != SHN_UNDEF &&
           s->st_shndx != SHN_ABS;
}

static bool comes_before(const struct prof__data_symbol *a, const struct prof__data_symbol *b)
{
    return a->start != b->start ? a->start < b->start : a->size > b->size;
}

static void sort(struct prof__data_symbol *s, size_t n)
{
    for (size_t gap = n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
        for (size_t i = gap; i < n; i++) {
            struct prof__data_symbol one = s[i];
            size_t k = i;

            for (; k >= gap && comes_before(&one, &s[k - gap]); k -= gap)
                s[k] = s[k - gap];
            s[k] = one;
        }
}

/* Count them, or with `out` take them. */
static size_t read_symbols(const struct prof__elf *e, const Elf64_Shdr *table,
                           struct prof__data_symbol *out, size_t room)
{
    Elf64_Sym chunk[CHUNK];
    size_t total = PROF_MIN(table->sh_size / sizeof(*chunk), (size_t)SYMBOLS_MAX), found = 0;

    for (size_t at = 0; at < total; at += CHUNK) {
        size_t n = PROF_MIN((size_t)CHUNK, total - at);

        if (!prof__elf_read(e, table->sh_offset + at * sizeof(*chunk), chunk, n * sizeof(*chunk)))
            break;
        for (size_t i = 0; i < n; i++) {
            if (!is_variable(&chunk[i]) || (out && found == room))
                continue;
            if (out)
                out[found] = (struct prof__data_symbol) { chunk[i].st_value, chunk[i].st_size,
                                                          chunk[i].st_name };
            found++;
        }
    }
    return found;
}

int prof__data_symbols_load(const char *path, struct prof__arena *a, struct prof__data_symbol **ret,
                            size_t *ret_n)
{
    struct prof__arena work = { 0 };
    struct prof__elf e;
    int r = prof__elf_open(&e, &work, path);
    const Elf64_Shdr *table = r == 0 ? table_of(&e) : NULL;

    *ret = NULL;
    *ret_n = 0;
    if (table) {
        size_t n = read_symbols(&e, table, NULL, 0);

        *ret = prof__arena_array(a, n + 1, sizeof(**ret));
        if (*ret)
            *ret_n = read_symbols(&e, table, *ret, n);
        r = *ret ? 0 : -ENOMEM;
        sort(*ret, *ret_n);
    }
    prof__elf_close(&e);
    prof__arena_free(&work);
    return r == -ENOMEM ? r : 0;
}

const struct prof__data_symbol *prof__data_symbol_find(const struct prof__data_symbol *symbol,
                                                       size_t n, uint64_t address)
{
    size_t low = 0, high = n;

    while (low < high) { /* the first that starts above */
        size_t middle = (low + high) / 2;

        if (symbol[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    /* A variable may lie inside of another one's aliases: look a little further back. */
    for (size_t i = low, tries = 0; i-- > 0 && tries < 4; tries++)
        if (address - symbol[i].start < symbol[i].size)
            return &symbol[i];
    return NULL;
}

const char *prof__data_symbol_name(const char *path, struct prof__arena *a,
                                   const struct prof__data_symbol *symbol)
{
    struct prof__arena work = { 0 };
    struct prof__elf e;
    char name[NAME_SHOWN + 1] = "";
    const Elf64_Shdr *table = prof__elf_open(&e, &work, path) == 0 ? table_of(&e) : NULL;

    if (table && table->sh_link < e.n_sections) {
        const Elf64_Shdr *strings = &e.section[table->sh_link];
        uint64_t left = symbol->name < strings->sh_size ? strings->sh_size - symbol->name : 0;
        size_t n = PROF_MIN(left, (uint64_t)NAME_SHOWN);

        if (!prof__elf_read(&e, strings->sh_offset + symbol->name, name, n))
            name[0] = '\0';
    }
    prof__elf_close(&e);
    prof__arena_free(&work);
    return name[0] ? prof__arena_strdup(a, name) : NULL;
}
