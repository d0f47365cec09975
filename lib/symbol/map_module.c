/*
 * map_module.c - what is mapped that the dynamic linker does not list, told by its file.
 */
#include "symbol/map_module.h"

#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/memory.h"
#include "symbol/elf_file.h"

#define PAGE ((uint64_t)4096)

/* Where in memory it can be told apart by: a build id is in the first page. */
static void probe_id(const struct prof__elf *e, struct prof__module *m)
{
    char page[PAGE];

    for (size_t i = 0; i < e->n_segments && !m->id_at; i++) {
        uint64_t start = m->bias + e->segment[i].p_vaddr;
        const char *id = NULL;

        if (e->segment[i].p_type != PT_LOAD || e->segment[i].p_offset != 0 ||
            prof__memory_get(start, page, sizeof(page)) < 0)
            continue;
        if (m->build_id_size >= sizeof(m->id))
            id = memmem(page, sizeof(page), m->build_id, m->build_id_size);
        size_t at = id ? (size_t)(id - page) : offsetof(Elf64_Ehdr, e_shoff);
        m->id_at = start + at;
        memcpy(&m->id, page + at, sizeof(m->id));
    }
}

int prof__map_module(struct prof__arena *a, const struct prof__map *map,
                     struct prof__module *ret_module)
{
    struct prof__module m = { .start = map->start,
                              .limit = map->limit,
                              .offset = map->offset,
                              .inode = map->inode,
                              .path = map->path,
                              .file = map->path };
    struct prof__elf e = { .fd = -1 };
    int r = -ENOENT;

    if (strcmp(map->path, "[vdso]") == 0) {
        m.bias = map->start;
        m.is_elf = true;
    } else if (map->path[0] == '/' && map->inode) {
        r = prof__elf_open(&e, a, map->path);
    }
    for (size_t i = 0; r == 0 && e.inode == map->inode && i < e.n_segments; i++) {
        const Elf64_Phdr *p = &e.segment[i];

        uint64_t from = p->p_offset & ~((uint64_t)prof__page_size() - 1);

        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || m.offset < from ||
            m.offset >= p->p_offset + p->p_filesz)
            continue;
        m.bias = m.start - (p->p_vaddr - p->p_offset + m.offset);
        m.is_elf = true;
        m.build_id_size = e.build_id_size;
        memcpy(m.build_id, e.build_id, e.build_id_size);
        probe_id(&e, &m);
        break;
    }
    prof__elf_close(&e);
    *ret_module = m;
    return r == -ENOMEM ? r : 0;
}
