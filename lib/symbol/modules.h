/*
 * modules.h - the objects whose code is or was loaded, with their build ids.
 *
 * A stack keeps bare addresses. Which object was meant follows from the address and the era that it
 * is marked with (eras.h): each object has one, and no two that were at one place have the same.
 */
#ifndef PROF_SYMBOL_MODULES_H
#define PROF_SYMBOL_MODULES_H

#include "base/arena.h"
#include "base/compiler.h"

enum { PROF__BUILD_ID_MAX = 64 };

/* One executable mapping of one object. */
struct prof__module {
    uint64_t start, limit; /* page-aligned addresses, [start, limit) */
    uint64_t offset;       /* of `start` in the file */
    uint64_t bias;         /* run-time address - address in the ELF file */
    uint64_t inode;        /* of the file, as /proc/self/maps has it; 0: unknown or none */
    const char *path;      /* as mapped, without " (deleted)"; "[vdso]", "[anon]". Valid UTF-8 */
    const char *file;      /* the same in the kernel's bytes, to open it by */
    const char *root; /* folder that the names in it are below, of another process; NULL: "/" */
    const char *name; /* then the name of `file` there */
    uint8_t build_id[PROF__BUILD_ID_MAX];
    uint8_t build_id_size; /* 0: none */
    bool is_main;          /* the program itself: readable as /proc/self/exe */
    bool deleted;          /* its file is gone or replaced */
    bool is_elf;           /* bias is known */
    bool gone;             /* loaded no longer */
    uint32_t era;          /* that addresses in it are marked with */
    uint64_t id_at, id;    /* 8 bytes of its memory by which to know it; id_at 0: none */
};

/* All of them, those no longer mapped included; the program first, then by address. */
struct prof__modules {
    const struct prof__module *module;
    size_t n;
    uint64_t longest; /* limit - start of the largest; 0: not known */
};

/* What is loaded now, put together with what was. Memory from `a`. -ENOMEM. Without /proc the
 * dynamic linker's list has to do. */
int prof__modules_load(struct prof__arena *a, struct prof__modules *ret);

/* The module of an address of a stack, or NULL. */
const struct prof__module *prof__modules_find(const struct prof__modules *m, uint64_t marked);

/* The module that is at an address now, or NULL. */
const struct prof__module *prof__modules_find_loaded(const struct prof__modules *m,
                                                     uint64_t address);

/* Around a dlclose(): keep what is about to go. */
void prof__modules_before_unload(void);
void prof__modules_after_unload(void);

#endif
