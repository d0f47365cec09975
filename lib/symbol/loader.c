/*
 * loader.c - dl_iterate_phdr(), copied out.
 *
 * Program headers and notes are read within the callback: while it runs the linker unmaps nothing.
 * Works in a static program too, where the list is the program and the vDSO.
 *
 * The kernel's list, with the files' headers, says nearly as much and needs no lock; but it takes
 * a read of /proc and of every file, and knows nothing of files that are gone.
 */
#include "symbol/loader.h"

#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/memory.h"
#include "symbol/elf_file.h"

#define PAGE ((uint64_t)4096)

struct copying {
    struct prof__arena *arena;
    struct prof__loader_list *list;
    size_t room;
    size_t n_objects;
    int error;
};

static void state_of(const struct dl_phdr_info *info, size_t size, struct prof__loader_state *s)
{
    if (size >= offsetof(struct dl_phdr_info, dlpi_subs) + sizeof(info->dlpi_subs)) {
        s->added = info->dlpi_adds;
        s->removed = info->dlpi_subs;
    }
}

static int first_only(struct dl_phdr_info *info, size_t size, void *state)
{
    state_of(info, size, state);
    return 1;
}

void prof__loader_state(struct prof__loader_state *ret_state)
{
    memset(ret_state, 0, sizeof(*ret_state));
    dl_iterate_phdr(first_only, ret_state);
}

/* [p_vaddr, p_vaddr + p_filesz) of a note is in a readable loaded segment. */
static bool is_mapped(const struct dl_phdr_info *info, const Elf64_Phdr *note)
{
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const Elf64_Phdr *p = &info->dlpi_phdr[i];

        if (p->p_type == PT_LOAD && p->p_flags & PF_R && note->p_vaddr >= p->p_vaddr &&
            note->p_filesz <= p->p_filesz &&
            note->p_vaddr - p->p_vaddr <= p->p_filesz - note->p_filesz)
            return true;
    }
    return false;
}

static void read_build_id(const struct dl_phdr_info *info, struct prof__module *m)
{
    for (unsigned i = 0; i < info->dlpi_phnum && m->build_id_size == 0; i++) {
        const Elf64_Phdr *p = &info->dlpi_phdr[i];

        if (p->p_type == PT_NOTE && is_mapped(info, p))
            m->build_id_size = prof__elf_note_build_id((const char *)(info->dlpi_addr + p->p_vaddr),
                                                       p->p_filesz, p->p_align, m->build_id);
    }
}

/* Eight bytes by which to know the object again: of its build id, or where its file's sections
 * begin, which is rarely the same for two. */
static void read_id(const struct dl_phdr_info *info, struct prof__module *m)
{
    const void *at = NULL;

    for (unsigned i = 0; i < info->dlpi_phnum && !at; i++) {
        const Elf64_Phdr *p = &info->dlpi_phdr[i];
        const char *start = (const char *)(info->dlpi_addr + p->p_vaddr);

        if (m->build_id_size >= sizeof(m->id) && p->p_type == PT_NOTE && is_mapped(info, p))
            at = memmem(start, p->p_filesz, m->build_id, m->build_id_size);
        else if (m->build_id_size < sizeof(m->id) && p->p_type == PT_LOAD && p->p_offset == 0 &&
                 p->p_flags & PF_R && p->p_filesz >= sizeof(Elf64_Ehdr))
            at = start + offsetof(Elf64_Ehdr, e_shoff);
    }
    if (at)
        memcpy(&m->id, at, sizeof(m->id));
    m->id_at = (uintptr_t)at;
}

static int append(struct copying *c, const struct prof__module *m)
{
    struct prof__loader_list *l = c->list;

    if (l->n == c->room) {
        size_t room = c->room ? c->room * 2 : 64;
        struct prof__module *module = prof__arena_array(c->arena, room, sizeof(*module));

        if (!module)
            return -ENOMEM;
        if (l->n)
            memcpy(module, l->module, l->n * sizeof(*module));
        l->module = module;
        c->room = room;
    }
    l->module[l->n++] = *m;
    return 0;
}

static int copy_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct copying *c = arg;
    uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
    struct prof__module m = { .bias = info->dlpi_addr, .is_elf = true };

    if (c->n_objects == 0)
        state_of(info, size, &c->list->state);
    m.is_main = c->n_objects++ == 0;
    read_build_id(info, &m);
    read_id(info, &m);
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const Elf64_Phdr *p = &info->dlpi_phdr[i];

        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || p->p_memsz == 0)
            continue;
        m.start = (info->dlpi_addr + p->p_vaddr) & ~(PAGE - 1);
        m.limit = (info->dlpi_addr + p->p_vaddr + p->p_memsz + PAGE - 1) & ~(PAGE - 1);
        m.offset = p->p_offset & ~(PAGE - 1);
        if (!m.file) {
            bool is_vdso = vdso >= m.start && vdso < m.limit;

            m.file = prof__arena_strdup(c->arena, is_vdso           ? "[vdso]"
                                                  : info->dlpi_name ? info->dlpi_name
                                                                    : "");
        }
        c->error = m.file ? append(c, &m) : -ENOMEM;
        if (c->error < 0)
            return 1;
    }
    return 0;
}

int prof__loader_list(struct prof__arena *a, struct prof__loader_list *ret_list)
{
    struct copying c = { .arena = a, .list = ret_list };

    memset(ret_list, 0, sizeof(*ret_list));
    dl_iterate_phdr(copy_object, &c);
    return c.error;
}
