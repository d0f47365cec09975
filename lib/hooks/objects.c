/*
 * objects.c - reading an object's dynamic section, and writing one word of it.
 *
 * A library's word for malloc() is either in pages that stay writable, or in those that the linker
 * makes read-only as the last thing it does to an object (RELRO). In the first a store is all. In
 * the second the kernel is asked whether that has happened: if not, the linker is at work on the
 * object in another thread and would write after us, or protect the page before us, so it is left
 * for later; if so, nobody else changes it any more, and the pages are opened and closed again.
 */
#include "hooks/objects.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/relocation.h"

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

bool prof__object_has(const struct dl_phdr_info *info, uintptr_t address)
{
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];

        if (p->p_type == PT_LOAD && address - (info->dlpi_addr + p->p_vaddr) < p->p_memsz)
            return true;
    }
    return false;
}

/* glibc puts addresses into the dynamic section where it can write to it; a value below the object
 * is still an offset. */
static const void *pointer(const struct prof__object *o, const ElfW(Dyn) * d)
{
    uintptr_t p = d->d_un.d_ptr;

    return (const void *)(p < o->base ? o->base + p : p);
}

static void read_dynamic(struct prof__object *o, const ElfW(Dyn) * d)
{
    bool calls_have_addends = true;

    for (; d->d_tag != DT_NULL; d++)
        switch (d->d_tag) {
        case DT_SYMTAB:
            o->symbols = pointer(o, d);
            break;
        case DT_STRTAB:
            o->strings = pointer(o, d);
            break;
        case DT_STRSZ:
            o->strings_size = d->d_un.d_val;
            break;
        case DT_GNU_HASH:
            o->gnu_hash = pointer(o, d);
            break;
        case DT_HASH:
            o->hash = pointer(o, d);
            break;
        case DT_RELA:
            o->relocation[0] = pointer(o, d);
            break;
        case DT_RELASZ:
            o->n_relocations[0] = d->d_un.d_val / sizeof(ElfW(Rela));
            break;
        case DT_JMPREL:
            o->relocation[1] = pointer(o, d);
            break;
        case DT_PLTRELSZ:
            o->n_relocations[1] = d->d_un.d_val / sizeof(ElfW(Rela));
            break;
        case DT_PLTREL:
            calls_have_addends = d->d_un.d_val == DT_RELA;
            break;
        case DT_RPATH:
            o->has_rpath = true;
            break;
        default:
            break;
        }
    if (!o->relocation[0])
        o->n_relocations[0] = 0;
    if (!o->relocation[1] || !calls_have_addends)
        o->n_relocations[1] = 0;
}

bool prof__object_read(const struct dl_phdr_info *info, struct prof__object *ret)
{
    const ElfW(Dyn) *dynamic = NULL;
    uintptr_t page = page_size();

    *ret = (struct prof__object) {
        .path = info->dlpi_name ? info->dlpi_name : "",
        .base = info->dlpi_addr,
        .phdr = info->dlpi_phdr,
        .n_phdr = info->dlpi_phnum,
    };
    for (size_t i = 0; i < ret->n_phdr; i++) {
        const ElfW(Phdr) *p = &ret->phdr[i];
        uintptr_t start = ret->base + p->p_vaddr;

        if (p->p_type == PT_DYNAMIC) {
            dynamic = (const ElfW(Dyn) *)start;
        } else if (p->p_type == PT_GNU_RELRO) { /* rounded as the linker does */
            ret->relro = start & ~(page - 1);
            ret->relro_end = (start + p->p_memsz) & ~(page - 1);
        }
    }
    if (dynamic)
        read_dynamic(ret, dynamic);
    return ret->symbols && ret->strings;
}

/* --- what it exports -------------------------------------------------------------------------- */

static const char *name_of(const struct prof__object *o, const ElfW(Sym) * s)
{
    return s->st_name < o->strings_size ? o->strings + s->st_name : "";
}

static const ElfW(Sym) * find_by_gnu_hash(const struct prof__object *o, const char *name)
{
    uint32_t n_buckets = o->gnu_hash[0], first = o->gnu_hash[1], bloom_words = o->gnu_hash[2],
             shift = o->gnu_hash[3], h = 5381;
    const ElfW(Addr) *bloom = (const ElfW(Addr) *)(o->gnu_hash + 4);
    const uint32_t *buckets = (const uint32_t *)(bloom + bloom_words);
    const uint32_t *chains = buckets + n_buckets;
    enum { BITS = 8 * sizeof(ElfW(Addr)) };

    for (const char *c = name; *c; c++)
        h = h * 33 + (unsigned char)*c;
    if (!n_buckets || !bloom_words)
        return NULL;
    ElfW(Addr) word = bloom[h / BITS % bloom_words];
    if (!(word >> h % BITS & word >> (h >> shift) % BITS & 1))
        return NULL;
    for (uint32_t i = buckets[h % n_buckets]; i >= first && i; i++) {
        uint32_t have = chains[i - first];

        if ((have | 1) == (h | 1) && strcmp(name_of(o, &o->symbols[i]), name) == 0)
            return &o->symbols[i];
        if (have & 1)
            break;
    }
    return NULL;
}

static const ElfW(Sym) * find_by_hash(const struct prof__object *o, const char *name)
{
    uint32_t n_buckets = o->hash[0], n = o->hash[1], h = 0, steps = 0;

    for (const char *c = name; *c; c++) {
        h = (h << 4) + (unsigned char)*c;
        h = (h ^ (h >> 24 & 0xf0)) & 0x0fffffff;
    }
    if (!n_buckets)
        return NULL;
    for (uint32_t i = o->hash[2 + h % n_buckets]; i && i < n && steps < n; steps++) {
        if (strcmp(name_of(o, &o->symbols[i]), name) == 0)
            return &o->symbols[i];
        i = o->hash[2 + n_buckets + i];
    }
    return NULL;
}

uintptr_t prof__object_exports(const struct prof__object *o, const char *name, bool *ret_elsewhere)
{
    const ElfW(Sym) *s = o->gnu_hash ? find_by_gnu_hash(o, name)
                         : o->hash   ? find_by_hash(o, name)
                                     : NULL;

    if (!s || !s->st_value || ELF64_ST_BIND(s->st_info) == STB_LOCAL)
        return 0;
    if (ret_elsewhere)
        *ret_elsewhere = s->st_shndx == SHN_UNDEF;
    return o->base + s->st_value;
}

/* --- the words -------------------------------------------------------------------------------- */

void prof__object_slots(const struct prof__object *o, const struct dl_phdr_info *info,
                        void (*each)(const struct prof__object_slot *slot, void *arg), void *arg)
{
    for (unsigned t = 0; t < 2; t++)
        for (size_t i = 0; i < o->n_relocations[t]; i++) {
            const ElfW(Rela) *r = &o->relocation[t][i];
            uint32_t symbol = ELF64_R_SYM(r->r_info);

            if (!symbol || r->r_addend ||
                !prof__relocation_is_address((uint32_t)ELF64_R_TYPE(r->r_info)))
                continue;
            struct prof__object_slot slot = {
                .name = name_of(o, &o->symbols[symbol]),
                .word = (_Atomic(void *) *)(o->base + r->r_offset),
            };
            if ((uintptr_t)slot.word % sizeof(void *))
                continue; /* in a packed struct: not stored to at once */
            slot.value = atomic_load_explicit(slot.word, memory_order_relaxed);
            slot.unbound = t == 1 && prof__object_has(info, (uintptr_t)slot.value) &&
                           (uintptr_t)slot.value != o->base + o->symbols[symbol].st_value;
            each(&slot, arg);
        }
}

/* Can this word be written to? Asked of the kernel, which adds nothing to it and wakes nobody. */
static bool is_writable(void *word)
{
    int saved = errno;
    static int none;
    bool writable = syscall(SYS_futex, &none, FUTEX_WAKE_OP_PRIVATE, 0, NULL, word,
                            FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0)) >= 0;

    errno = saved;
    return writable;
}

int prof__object_slot_set(const struct prof__object *o, const struct prof__object_slot *slot,
                          void *value)
{
    uintptr_t at = (uintptr_t)slot->word;
    bool relro = at >= o->relro && at < o->relro_end, writable = is_writable((void *)at);

    if (relro == writable)
        return writable ? -EAGAIN : -EACCES; /* protected by somebody else */
    if (relro && mprotect((void *)o->relro, o->relro_end - o->relro, PROT_READ | PROT_WRITE) < 0)
        return -errno;
    /* Release: who calls through it finds the hooks ready, as they have been since main(). */
    atomic_store_explicit(slot->word, value, memory_order_release);
    if (relro && mprotect((void *)o->relro, o->relro_end - o->relro, PROT_READ) < 0)
        return -errno;
    return 0;
}
