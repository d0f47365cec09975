/*
 * objects.h - what the dynamic linker knows of a loaded object: whose functions it calls, and the
 * words through which it does.
 *
 * All of it is for the callback of a dl_iterate_phdr(), while which nothing is unmapped. It reads
 * what the linker itself goes by, writes one word when asked to, and takes no memory. Context:
 * normal, where the program itself has just been in the linker.
 */
#ifndef PROF_HOOKS_OBJECTS_H
#define PROF_HOOKS_OBJECTS_H

#include <elf.h>
#include <link.h>

#include "base/compiler.h"

struct prof__object {
    const char *path; /* as the linker has it; "" for the program */
    uintptr_t base;
    const ElfW(Phdr) * phdr;
    size_t n_phdr;
    const ElfW(Sym) * symbols;
    const char *strings;
    size_t strings_size;
    const uint32_t *gnu_hash;
    const uint32_t *hash;
    const ElfW(Rela) * relocation[2]; /* of data, and of calls */
    size_t n_relocations[2];
    uintptr_t relro, relro_end; /* whole pages; the linker has them read-only when it is done */
    bool has_rpath;
};

/* False: there is nothing dynamic in it. */
bool prof__object_read(const struct dl_phdr_info *info, struct prof__object *ret);

/* Is this address in one of its segments? */
bool prof__object_has(const struct dl_phdr_info *info, uintptr_t address);

/* The address that it exports under this name, or 0. That of a function of another object too, if
 * a program without PIC has given that one an address in itself; then *ret_elsewhere is set. */
uintptr_t prof__object_exports(const struct prof__object *o, const char *name, bool *ret_elsewhere);

/* A word for the address of another symbol. */
struct prof__object_slot {
    const char *name; /* of the symbol */
    _Atomic(void *) *word;
    void *value;
    bool unbound; /* leads back into the object itself, which will ask the linker when called */
};

/* Call `each` for every such word. */
void prof__object_slots(const struct prof__object *o, const struct dl_phdr_info *info,
                        void (*each)(const struct prof__object_slot *slot, void *arg), void *arg);

/*
 * Store into a slot. Where the object has it read-only, its pages are made writable for that
 * moment. Returns 0; -EAGAIN: the linker is not done with the object; or why its pages cannot be
 * changed.
 */
int prof__object_slot_set(const struct prof__object *o, const struct prof__object_slot *slot,
                          void *value);

#endif
