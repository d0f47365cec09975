/*
 * symbol_fixture.h - modules and addresses of files that are not loaded.
 */
#ifndef TEST_SYMBOL_FIXTURE_H
#define TEST_SYMBOL_FIXTURE_H

#include <string.h>

#include "check.h"
#include "symbol/elf_file.h"
#include "symbol/modules.h"

/* A module as if `path` were loaded at 0, with the identity of the file `like`. */
static inline struct prof__module module_of(const char *path, const char *like)
{
    struct prof__module m = { .limit = UINT64_MAX, .path = path, .file = path, .is_elf = true };
    struct prof__arena a = { 0 };
    struct prof__elf e;

    CHECK(prof__elf_open(&e, &a, like) == 0, "%s", like);
    m.inode = e.inode;
    m.build_id_size = e.build_id_size;
    memcpy(m.build_id, e.build_id, e.build_id_size);
    prof__elf_close(&e);
    prof__arena_free(&a);
    return m;
}

/* Where in its file a function of the sample starts. */
static inline uint64_t address_in(const char *path, const char *symbol)
{
    struct prof__arena a = { 0 };
    struct prof__elf e;
    uint64_t address = 0;

    CHECK(prof__elf_open(&e, &a, path) == 0, "%s", path);
    const Elf64_Shdr *table = prof__elf_section(&e, ".dynsym");
    const Elf64_Shdr *strings = &e.section[table->sh_link];
    for (uint64_t i = 0; i < table->sh_size / sizeof(Elf64_Sym); i++) {
        char name[64] = "";
        Elf64_Sym sym;

        prof__elf_read(&e, table->sh_offset + i * sizeof(sym), &sym, sizeof(sym));
        prof__elf_read(&e, strings->sh_offset + sym.st_name, name,
                       PROF_MIN(sizeof(name) - 1, strings->sh_size - sym.st_name));
        if (strcmp(name, symbol) == 0)
            address = sym.st_value;
    }
    CHECK(address, "%s has no %s", path, symbol);
    prof__elf_close(&e);
    prof__arena_free(&a);
    return address;
}

#endif
