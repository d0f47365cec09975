/*
 * objects.c - what both images from outside share: which objects are mapped, by their headers in
 * the image's memory, and what operations they have in common.
 *
 * The first page of an object, with its ELF header, program headers and as a rule its build id, is
 * mapped where its first segment is; cores have it too (bit 4 of coredump_filter, core(5)).
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/utf8.h"
#include "image/foreign.h"
#include "symbol/elf_file.h"
#include "symbol/symbolize.h"

enum { SEGMENTS_MAX = 64, NOTES_MAX = 4096 };

struct object {
    uint64_t start, bias;
    size_t n;
    Elf64_Phdr segment[SEGMENTS_MAX];
};

static bool read_object(struct prof__image *image, uint64_t start, struct object *ret)
{
    Elf64_Ehdr h;

    if (prof__image_read(image, start, &h, sizeof(h)) != sizeof(h) || !prof__elf_is_ours(&h) ||
        h.e_phentsize != sizeof(Elf64_Phdr) || h.e_phnum == 0 || h.e_phnum > SEGMENTS_MAX)
        return false;
    size_t size = h.e_phnum * sizeof(Elf64_Phdr);
    if (prof__image_read(image, start + h.e_phoff, ret->segment, size) != size)
        return false;
    ret->start = ret->bias = start;
    ret->n = h.e_phnum;
    for (size_t i = 0; i < ret->n; i++)
        if (ret->segment[i].p_type == PT_LOAD && ret->segment[i].p_offset == 0) {
            ret->bias = start - ret->segment[i].p_vaddr;
            break;
        }
    return true;
}

static uint8_t object_build_id(struct prof__image *image, const struct object *o,
                               uint8_t ret_id[PROF__BUILD_ID_MAX])
{
    char notes[NOTES_MAX] __attribute__((aligned(8)));
    uint8_t size = 0;

    for (size_t i = 0; i < o->n && size == 0; i++) {
        const Elf64_Phdr *p = &o->segment[i];
        size_t n = PROF_MIN((size_t)p->p_filesz, sizeof(notes));

        if (p->p_type == PT_NOTE && prof__image_read(image, o->bias + p->p_vaddr, notes, n) == n)
            size = prof__elf_note_build_id(notes, n, p->p_align, ret_id);
    }
    return size;
}

uint8_t prof__image_build_id(struct prof__image *image, uint64_t start,
                             uint8_t ret_id[PROF__BUILD_ID_MAX])
{
    struct object o;

    return read_object(image, start, &o) ? object_build_id(image, &o, ret_id) : 0;
}

/* "/usr/lib/libx.so (deleted)" is opened by nothing. */
static const char *without_suffix(struct prof__arena *a, const char *name, bool *ret_deleted)
{
    static const char suffix[] = " (deleted)";
    size_t n = strlen(name), cut = n - PROF_MIN(n, sizeof(suffix) - 1);

    *ret_deleted = cut && strcmp(name + cut, suffix) == 0;
    return *ret_deleted ? prof__arena_strndup(a, name, cut) : name;
}

static int add_module(struct prof__image *image, struct prof__arena *a, const struct object *o,
                      const struct prof__image_map *m, struct prof__module *ret)
{
    const char *path = without_suffix(a, m->name, &ret->deleted);

    if (!path)
        return -ENOMEM;
    ret->start = m->start;
    ret->limit = m->end;
    ret->offset = m->offset;
    ret->inode = m->inode;
    if (o) {
        ret->bias = o->bias;
        ret->is_elf = true;
        ret->build_id_size = object_build_id(image, o, ret->build_id);
    }
    ret->path = path[0] ? prof__utf8_clean(a, path) : "[anon]";
    ret->file = path[0] == '/' ? prof__image_path(image, a, path) : ret->path;
    if (image->root[0]) {
        ret->root = prof__arena_strdup(a, image->root);
        ret->name = prof__arena_strdup(a, prof__image_name(image, path));
        if (!ret->root || !ret->name)
            return -ENOMEM;
    }
    return ret->path && ret->file ? 0 : -ENOMEM;
}

int prof__image_modules(struct prof__image *image, struct prof__arena *a, struct prof__modules *ret)
{
    struct prof__module *module = prof__arena_array(a, image->n_maps + 1, sizeof(*module));
    struct object o;
    const char *of = NULL; /* the file that `o` is of */
    size_t n = 0;
    int r = 0;

    if (!module)
        return -ENOMEM;
    for (size_t i = 0; i < image->n_maps && r == 0; i++) {
        const struct prof__image_map *m = &image->map[i];

        if (m->offset == 0 && m->readable && (!m->anonymous || strcmp(m->name, "[vdso]") == 0))
            of = read_object(image, m->start, &o) ? m->name : NULL;
        if (m->executable)
            r = add_module(image, a, of && strcmp(of, m->name) == 0 ? &o : NULL, m, &module[n++]);
    }
    for (size_t i = 0; i < n; i++)
        ret->longest = PROF_MAX(ret->longest, module[i].limit - module[i].start);
    ret->module = module;
    ret->n = n;
    return r;
}

int prof__image_given_blocks(struct prof__image *image,
                             int (*each)(const struct prof__image_block *block, void *arg),
                             void *arg)
{
    int r = 0;

    for (size_t i = 0; i < image->n_given && r == 0; i++)
        r = each(&image->given[i], arg);
    return r;
}

uint32_t prof__image_last_birth(struct prof__image *image)
{
    uint32_t last = 0;

    for (size_t i = 0; i < image->n_given; i++)
        last = PROF_MAX(last, image->given[i].birth_s);
    return last;
}

const char *prof__image_function(struct prof__image *image, struct prof__arena *a, uint64_t pc)
{
    struct prof__modules modules = { 0 };
    struct prof__symbols symbols;
    struct prof__code_address address = { NULL, pc };

    if (prof__image_modules(image, a, &modules) < 0)
        return NULL;
    address.module = prof__modules_find_loaded(&modules, pc);
    if (prof__symbolize(a, &address, 1, &symbols) < 0 || symbols.n == 0)
        return NULL;
    return symbols.line[symbols.n - 1].name;
}

void prof__image_take_registers(struct prof__image_thread *t, const struct user_regs_struct *r)
{
    const uint64_t word[] = { r->rbx, r->rbp, r->r12, r->r13, r->r14, r->r15, r->r11, r->r10,
                              r->r9,  r->r8,  r->rax, r->rcx, r->rdx, r->rsi, r->rdi };

    static_assert(ARRAY_LEN(word) <= PROF__IMAGE_REGISTERS, "room for all");
    t->sp = r->rsp;
    t->pc = r->rip;
    t->thread_pointer = r->fs_base;
    t->n_regs = ARRAY_LEN(word);
    memcpy(t->reg, word, sizeof(word));
    memcpy(t->kept, word, sizeof(t->kept));
    t->has_kept = true;
}
