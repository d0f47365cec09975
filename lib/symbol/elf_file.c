/*
 * elf_file.c - just enough of ELF, from a file that nobody vouches for.
 *
 * Files are read, never mapped: another process may truncate one at any moment, and touching a
 * mapped page past the new end is a SIGBUS in the host program. A short read is only a missing
 * name. It also keeps memory to what was asked for, of files that can be gigabytes.
 *
 * libelf is not used for this: it reads a section whole, decompresses without a bound, and hands
 * out memory from malloc. Every offset from the file is checked here before it is used.
 */
#include "symbol/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/relocation.h"
#include "symbol/elf_unpack.h"

enum {
    SECTIONS_MAX = 1 << 16,
    SEGMENTS_MAX = 4096,
    NAMES_MAX = 1 << 24,
    NOTES_MAX = 1 << 16,
    NOTE_TABLES_MAX = 64, /* that are looked at for a build id */
};

_Atomic uint64_t prof__elf_troubles;

/* Not that the file is missing, forbidden or none at all, which are answers. */
static int trouble(int error)
{
    if (error != -ENOENT && error != -ENOTDIR && error != -EACCES && error != -EPERM &&
        error != -ELOOP && error != -ENAMETOOLONG)
        atomic_fetch_add_explicit(&prof__elf_troubles, 1, memory_order_relaxed);
    return error;
}

bool prof__elf_read(const struct prof__elf *e, uint64_t offset, void *buf, size_t n)
{
    char *to = buf;

    if (offset > INT64_MAX)
        return false;
    if (e->memory) {
        if (offset > e->size || n > e->size - offset)
            return false;
        memcpy(buf, e->memory + offset, n);
        return true;
    }
    while (n > 0) {
        ssize_t got = pread(e->fd, to, PROF_MIN(n, (size_t)1 << 30), (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            trouble(-errno);
        if (got <= 0)
            return false;
        to += got;
        offset += (size_t)got;
        n -= (size_t)got;
    }
    return true;
}

/* [offset, offset + size) lies in the file. */
static bool inside(const struct prof__elf *e, uint64_t offset, uint64_t size)
{
    return size <= e->size && offset <= e->size - size;
}

/* n items of `size` bytes from the file, into the arena. */
static int read_table(const struct prof__elf *e, struct prof__arena *a, uint64_t offset, size_t n,
                      size_t size, const void **ret_table)
{
    if (!inside(e, offset, (uint64_t)n * size))
        return -ENOEXEC;
    void *table = prof__arena_array(a, n, size);
    if (!table)
        return -ENOMEM;
    if (!prof__elf_read(e, offset, table, n * size))
        return -ENOEXEC;
    *ret_table = table;
    return 0;
}

uint8_t prof__elf_note_build_id(const char *notes, size_t size, uint64_t align,
                                uint8_t ret_id[PROF__BUILD_ID_MAX])
{
    uint64_t mask = align == 8 ? 7 : 3;

    for (size_t at = 0; size - at >= sizeof(Elf64_Nhdr);) {
        Elf64_Nhdr note;

        memcpy(&note, notes + at, sizeof(note));
        uint64_t name = at + sizeof(note);
        uint64_t desc = (name + note.n_namesz + mask) & ~mask;
        uint64_t next = (desc + note.n_descsz + mask) & ~mask;

        if (desc + note.n_descsz > size)
            return 0;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof("GNU") &&
            memcmp(notes + name, "GNU", sizeof("GNU")) == 0 && note.n_descsz > 0 &&
            note.n_descsz <= PROF__BUILD_ID_MAX) {
            memcpy(ret_id, notes + desc, note.n_descsz);
            return (uint8_t)note.n_descsz;
        }
        if (next > size)
            return 0;
        at = next;
    }
    return 0;
}

static bool note_at(struct prof__elf *e, struct prof__arena *a, uint64_t offset, uint64_t size,
                    uint64_t align)
{
    const void *notes;

    if (size > NOTES_MAX || read_table(e, a, offset, size, 1, &notes) < 0)
        return false;
    e->build_id_size = prof__elf_note_build_id(notes, size, align, e->build_id);
    return e->build_id_size != 0;
}

/* Sections first: in a separate debug file the segments are those of the program it was made
 * from, with offsets that mean nothing. */
static void read_build_id(struct prof__elf *e, struct prof__arena *a)
{
    size_t looked_at = 0;

    for (size_t i = 0; i < e->n_sections; i++) {
        const Elf64_Shdr *s = &e->section[i];

        if (s->sh_type == SHT_NOTE && looked_at++ < NOTE_TABLES_MAX &&
            note_at(e, a, s->sh_offset, s->sh_size, s->sh_addralign))
            return;
    }
    for (size_t i = 0; i < e->n_segments; i++) {
        const Elf64_Phdr *p = &e->segment[i];

        if (p->p_type == PT_NOTE && looked_at++ < NOTE_TABLES_MAX &&
            note_at(e, a, p->p_offset, p->p_filesz, p->p_align))
            return;
    }
}

/* A file without sections is one without names, not an error. */
static int read_sections(struct prof__elf *e, struct prof__arena *a, const Elf64_Ehdr *h)
{
    uint64_t n = h->e_shnum, names = h->e_shstrndx;
    const void *table;

    if (h->e_shoff == 0 || h->e_shentsize != sizeof(Elf64_Shdr))
        return 0;
    if (n == 0 || names == SHN_XINDEX) { /* too many for the header: they are in section 0 */
        int r = read_table(e, a, h->e_shoff, 1, sizeof(Elf64_Shdr), &table);

        if (r < 0)
            return r == -ENOMEM ? r : 0;
        const Elf64_Shdr *zero = table;
        n = n ? n : zero->sh_size;
        names = names == SHN_XINDEX ? zero->sh_link : names;
    }
    if (n == 0 || n > SECTIONS_MAX)
        return 0;
    int r = read_table(e, a, h->e_shoff, n, sizeof(Elf64_Shdr), &table);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    e->section = table;
    e->n_sections = n;

    if (names >= n || e->section[names].sh_type == SHT_NOBITS ||
        e->section[names].sh_size > NAMES_MAX ||
        !inside(e, e->section[names].sh_offset, e->section[names].sh_size))
        return 0;
    size_t size = e->section[names].sh_size;
    char *text = prof__arena_alloc(a, size + 1); /* zeroed: ends in NUL */
    if (!text)
        return -ENOMEM;
    if (prof__elf_read(e, e->section[names].sh_offset, text, size)) {
        e->names = text;
        e->names_size = size;
    }
    return 0;
}

bool prof__elf_is_ours(const Elf64_Ehdr *h)
{
    return memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 && h->e_ident[EI_CLASS] == ELFCLASS64 &&
           h->e_ident[EI_DATA] == ELFDATA2LSB && h->e_machine == PROF__ELF_MACHINE;
}

/* Of a file whose bytes can be read: the tables. */
static int read_tables(struct prof__elf *e, struct prof__arena *a)
{
    Elf64_Ehdr h;

    if (!prof__elf_read(e, 0, &h, sizeof(h)) || !prof__elf_is_ours(&h))
        return -ENOEXEC;
    if (h.e_phnum && h.e_phnum <= SEGMENTS_MAX && h.e_phentsize == sizeof(Elf64_Phdr)) {
        const void *table;
        int r = read_table(e, a, h.e_phoff, h.e_phnum, sizeof(Elf64_Phdr), &table);

        if (r == -ENOMEM)
            return r;
        if (r == 0) {
            e->segment = table;
            e->n_segments = h.e_phnum;
        }
    }
    int r = read_sections(e, a, &h);
    if (r < 0)
        return r;
    read_build_id(e, a);
    return 0;
}

int prof__elf_open(struct prof__elf *e, struct prof__arena *a, const char *path)
{
    struct stat st;

    memset(e, 0, sizeof(*e));
    e->fd = -1;
    if (stat(path, &st) < 0) /* to open a device may do something */
        return trouble(-errno);
    if (!S_ISREG(st.st_mode))
        return -ENOEXEC;
    e->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (e->fd < 0)
        return trouble(-errno);
    if (fstat(e->fd, &st) < 0)
        return trouble(-errno);
    if (!S_ISREG(st.st_mode))
        return -ENOEXEC;
    e->size = (uint64_t)st.st_size;
    e->device = st.st_dev;
    e->inode = st.st_ino;
    e->changed_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
    e->path = prof__arena_strdup(a, path);
    return e->path ? read_tables(e, a) : -ENOMEM;
}

int prof__elf_open_embedded(struct prof__elf *ret_elf, struct prof__arena *a,
                            const struct prof__elf *e)
{
    struct prof__elf inner = { .fd = -1 };
    int r =
        prof__elf_unpack(e, a, prof__elf_section(e, ".gnu_debugdata"), &inner.memory, &inner.size);

    if (r == 0)
        r = read_tables(&inner, a);
    *ret_elf = inner;
    return r;
}

void prof__elf_close(struct prof__elf *e)
{
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
}

static bool is_named(const struct prof__elf *e, const Elf64_Shdr *s, const char *name)
{
    const char *have = e->names + s->sh_name;

    if (strncmp(name, ".debug_", 7) == 0 && strncmp(have, ".zdebug_", 8) == 0)
        return strcmp(name + 7, have + 8) == 0;
    return strcmp(have, name) == 0;
}

const Elf64_Shdr *prof__elf_section(const struct prof__elf *e, const char *name)
{
    for (size_t i = 0; i < e->n_sections; i++) {
        const Elf64_Shdr *s = &e->section[i];

        if (s->sh_type != SHT_NOBITS && s->sh_name < e->names_size && s->sh_size > 0 &&
            is_named(e, s, name) && inside(e, s->sh_offset, s->sh_size))
            return s;
    }
    return NULL;
}
