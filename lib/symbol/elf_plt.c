/*
 * elf_plt.c - names for the stubs through which calls reach other objects.
 *
 * Nothing lists the stubs, and linkers lay them out in several ways: with and without a first one
 * that is special, in one section or two, in the order of their relocations or not. But each jumps
 * through a slot of its own, and the relocation that fills the slot names the function:
 *
 *   address -> stub -> jmp *slot(%rip) -> relocation of that slot -> symbol
 */
#include "symbol/deadline.h"
#include "symbol/elf_symbols.h"

#include <errno.h>
#include <string.h>

enum {
    STUB_MAX = 32, /* bytes */
    CHUNK = 512,   /* relocations read at a time */
    NAME_MAX_BYTES = 1024,
    RELOCATIONS_MAX = 1 << 22,
};

/* The slot that a stub's bytes jump through: after what marks it as a target of jumps, if that is
 * there, it is an indirect jump relative to the next instruction. 0: it is no stub. */
static uint64_t slot_of(const uint8_t *code, size_t n, uint64_t address)
{
    for (size_t i = 0; i + 6 <= n && i <= 16; i++) {
        int32_t offset;

        if (code[i] != 0xff || code[i + 1] != 0x25)
            continue;
        memcpy(&offset, code + i + 2, sizeof(offset));
        return address + i + 6 + (uint64_t)(int64_t)offset;
    }
    return 0;
}

/* The section of stubs that holds `address`, or NULL. */
static const Elf64_Shdr *stubs_at(const struct prof__elf *e, uint64_t address)
{
    for (size_t i = 0; i < e->n_sections; i++) {
        const Elf64_Shdr *s = &e->section[i];

        if (s->sh_type == SHT_PROGBITS && address >= s->sh_addr &&
            address - s->sh_addr < s->sh_size && s->sh_name < e->names_size &&
            (strncmp(e->names + s->sh_name, ".plt", 4) == 0 ||
             strcmp(e->names + s->sh_name, ".iplt") == 0))
            return s;
    }
    return NULL;
}

/* A stub that is asked for. */
struct stub {
    struct prof__query *query;
    uint64_t slot;
};

static uint64_t slot_at(const struct prof__elf *e, const struct prof__query *q)
{
    const Elf64_Shdr *s = stubs_at(e, q->address);
    uint8_t code[STUB_MAX];

    if (!s)
        return 0;
    /* Some linkers give the size of a stub as 0 or of all of them; they have 16 bytes, or 8. */
    uint64_t size = s->sh_entsize == 8 ? 8 : 16;
    uint64_t at = (q->address - s->sh_addr) / size * size;
    uint64_t n = PROF_MIN(size, s->sh_size - at);

    return prof__elf_read(e, s->sh_offset + at, code, n) ? slot_of(code, n, s->sh_addr + at) : 0;
}

static const char *name_at(const struct prof__elf *e, struct prof__arena *a,
                           const Elf64_Shdr *relocations, uint64_t info)
{
    const Elf64_Shdr *symbols = &e->section[relocations->sh_link];
    uint64_t index = ELF64_R_SYM(info);
    char name[NAME_MAX_BYTES];
    Elf64_Sym sym;

    if (relocations->sh_link >= e->n_sections || symbols->sh_link >= e->n_sections || index == 0 ||
        index >= symbols->sh_size / sizeof(sym) ||
        !prof__elf_read(e, symbols->sh_offset + index * sizeof(sym), &sym, sizeof(sym)))
        return NULL;
    const Elf64_Shdr *strings = &e->section[symbols->sh_link];
    if (sym.st_name == 0 || sym.st_name >= strings->sh_size)
        return NULL;
    size_t n = PROF_MIN(sizeof(name) - 1, strings->sh_size - sym.st_name);
    if (!prof__elf_read(e, strings->sh_offset + sym.st_name, name, n))
        return NULL;
    name[n] = '\0';
    return *name ? prof__arena_printf(a, "%s@plt", name) : NULL;
}

static int search(const struct prof__elf *e, struct prof__arena *a, const Elf64_Shdr *s,
                  struct stub *stub, size_t n)
{
    Elf64_Rela *chunk = prof__arena_array(a, CHUNK, sizeof(*chunk));
    uint64_t all = PROF_MIN(s->sh_size / sizeof(*chunk), (uint64_t)RELOCATIONS_MAX);

    if (!chunk)
        return -ENOMEM;
    for (uint64_t at = 0; at < all;) {
        size_t count = PROF_MIN((uint64_t)CHUNK, all - at);

        if (!prof__elf_read(e, s->sh_offset + at * sizeof(*chunk), chunk, count * sizeof(*chunk)))
            break;
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < n; k++)
                if (stub[k].slot && stub[k].slot == chunk[i].r_offset) {
                    stub[k].query->symbol = name_at(e, a, s, chunk[i].r_info);
                    stub[k].slot = 0; /* the first is the one, named or not */
                }
        if (prof__late_after(count))
            return 0;
        at += count;
    }
    return 0;
}

int prof__elf_plt_symbols(const struct prof__elf *e, struct prof__arena *a, struct prof__query *q,
                          size_t n)
{
    static const char *const section[] = { ".rela.plt", ".rela.dyn" };
    struct stub stub[256];
    size_t n_stubs = 0;

    for (size_t i = 0; i < n && n_stubs < ARRAY_LEN(stub); i++) {
        uint64_t slot = q[i].symbol ? 0 : slot_at(e, &q[i]);

        if (slot)
            stub[n_stubs++] = (struct stub) { &q[i], slot };
    }
    for (size_t i = 0; i < ARRAY_LEN(section) && n_stubs; i++) {
        const Elf64_Shdr *s = prof__elf_section(e, section[i]);
        int r = s && s->sh_entsize == sizeof(Elf64_Rela) ? search(e, a, s, stub, n_stubs) : 0;

        if (r < 0)
            return r;
    }
    return 0;
}
