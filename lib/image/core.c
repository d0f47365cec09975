/*
 * core.c - the image of a process that has ended, from its core file: elf(5), core(5).
 *
 *   PT_LOAD    a mapping, with as much of it as was written: that may be none (the program's code),
 *              the first page (an object's headers), or all
 *   PT_NOTE    NT_PRSTATUS registers, one for each thread, the one that was hit first; NT_FILE
 * which file a mapping was of; NT_AUXV where the stack and the vDSO are; NT_PRPSINFO the name
 *
 * What is not in the file is read from the mapped file itself, if that is still the one: by the
 * build id in the object's first page, where the core has it. A core that was cut short has holes
 * at its end; they are like memory that was never there, and counted.
 *
 * Nothing in here is believed before it was compared with the size of the file.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <prof/prof.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/core_parts.h"
#include "symbol/elf_file.h"

enum {
    PAGE = PROF__IMAGE_PAGE,
    SEGMENTS_MAX = 1 << 20,
    NOTES_MAX = 256 << 20,
};

/* --- reading --------------------------------------------------------------------------------- */

size_t prof__core_pread(int fd, uint64_t at, void *to, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r = pread(fd, (char *)to + done, n - done, (off_t)(at + done));

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        done += (size_t)r;
    }
    return done;
}

/* The first that ends behind `address`. */
struct prof__core_segment *prof__core_first_from(const struct prof__core *c, uint64_t address)
{
    size_t low = 0, high = c->n_segments;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (c->segment[middle].start + c->segment[middle].size <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return &c->segment[low];
}

static const struct prof__core_segment *segment_of(const struct prof__core *c, uint64_t address)
{
    const struct prof__core_segment *s = prof__core_first_from(c, address);

    return s < c->segment + c->n_segments && s->start <= address ? s : NULL;
}

/* Does the file have the build id that was in memory? Nothing is known if the core has not. */
static bool is_same_file(struct prof__image *image, const struct prof__core_file *f,
                         const char *path)
{
    struct prof__arena a = { 0 };
    struct prof__elf e;
    uint8_t id[PROF__BUILD_ID_MAX];
    const struct prof__core *c = image->backend;
    const struct prof__core_segment *s = f->head ? segment_of(c, f->head) : NULL;
    bool same = true;

    if (!s || s->in_file < PAGE)
        return true;
    uint8_t size = prof__image_build_id(image, f->head, id);
    int r = prof__elf_open(&e, &a, path);
    if (r == 0 && size)
        same = e.build_id_size == size && memcmp(e.build_id, id, size) == 0;
    prof__elf_close(&e);
    prof__arena_free(&a);
    return same;
}

/* The mapped file, opened; -1: it cannot be had. */
static int file_of(struct prof__image *image, struct prof__core_file *f)
{
    struct prof__core *c = image->backend;
    struct stat st;

    if (f->tried)
        return f->fd;
    f->tried = true;
    int fd = open(f->open, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        f->why = strerror(errno);
    else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        f->why = "is no regular file";
    else if (!is_same_file(image, f, f->open))
        f->why = "has another build id: it was replaced since";
    else
        return f->fd = fd;
    if (fd >= 0)
        close(fd);
    const char *line = prof__arena_printf(&c->arena, "%s: %s", f->open, f->why);
    if (line)
        c->missing[c->n_missing++] = line;
    return -1;
}

/* What the core has, and behind it what the file has, as far as one call goes. */
static size_t read_segment(struct prof__image *image, const struct prof__core_segment *s,
                           uint64_t at, void *to, size_t n)
{
    struct prof__core *c = image->backend;

    if (at < s->in_file)
        return prof__core_pread(c->fd, s->offset + at, to, PROF_MIN((uint64_t)n, s->in_file - at));
    if (s->file == PROF__CORE_NO_FILE)
        return 0;
    int fd = file_of(image, &c->file[s->file]);
    return fd < 0 ? 0 : prof__core_pread(fd, s->file_offset + at, to, n);
}

static size_t core_read(struct prof__image *image, uint64_t from, void *to, size_t n)
{
    size_t done = 0;

    while (done < n) {
        const struct prof__core_segment *s = segment_of(image->backend, from + done);
        uint64_t at = s ? from + done - s->start : 0;
        size_t got = s ? read_segment(image, s, at, (char *)to + done,
                                      PROF_MIN((uint64_t)(n - done), s->size - at))
                       : 0;
        if (got == 0)
            break;
        done += got;
    }
    return done;
}

static void presence(struct prof__image *image, uint64_t from, size_t n, uint8_t *ret_state)
{
    struct prof__core *c = image->backend;

    for (size_t i = 0; i < n; i++) {
        uint64_t at = from + i * PAGE;
        const struct prof__core_segment *s = segment_of(c, at);
        bool there = s && (at - s->start < s->in_file || (s->file != PROF__CORE_NO_FILE &&
                                                          file_of(image, &c->file[s->file]) >= 0));

        ret_state[i] = there ? PROF__PAGE_PRESENT : PROF__PAGE_ABSENT;
    }
}

/* --- opening --------------------------------------------------------------------------------- */

static int no_core(const char *path, const char *why)
{
    return prof_set_last_error(-ENOEXEC, "%s is no core file: %s", path, why);
}

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_386:
        return "32-bit x86";
    case EM_AARCH64:
        return "arm64";
    case EM_ARM:
        return "32-bit arm";
    case EM_PPC64:
        return "ppc64";
    case EM_S390:
        return "s390x";
    case EM_RISCV:
        return "riscv";
    default:
        return "another";
    }
}

static int check_header(const char *path, const Elf64_Ehdr *h, size_t n)
{
    if (n < sizeof(*h) || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
        return no_core(path, n >= 4 && memcmp(h->e_ident, "MDMP", 4) == 0
                                 ? "it is a minidump, which has stacks only"
                             : n >= 4 && h->e_ident[0] == 0x28 && h->e_ident[1] == 0xb5
                                 ? "it is compressed: zstd -d it first"
                             : n >= 4 && h->e_ident[0] == 0x1f && h->e_ident[1] == 0x8b
                                 ? "it is compressed: gunzip it first"
                             : n >= 4 && memcmp(h->e_ident, "\x04\x22\x4d\x18", 4) == 0
                                 ? "it is compressed: lz4 -d it first"
                                 : "it does not begin as ELF files do");
    if (h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_ident[EI_CLASS] != ELFCLASS64 ||
        h->e_machine != EM_X86_64) {
        unsigned machine = h->e_ident[EI_DATA] == ELFDATA2MSB
                               ? (unsigned)(uint16_t)(h->e_machine << 8 | h->e_machine >> 8)
                               : h->e_machine;

        return prof_set_last_error(-ENOTSUP,
                                   "%s is of a program for %s processors: this profctl reads "
                                   "x86-64",
                                   path, machine_name(machine));
    }
    if (h->e_type != ET_CORE)
        return no_core(path, h->e_type == ET_EXEC || h->e_type == ET_DYN ? "it is a program"
                                                                         : "it is an ELF file of "
                                                                           "another kind");
    if (h->e_phentsize != sizeof(Elf64_Phdr))
        return no_core(path, "its program headers have a size that they never have");
    return 0;
}

/* Also where there are more than fit into e_phnum: elf(5), PN_XNUM. */
static uint64_t count_headers(const struct prof__core *c, const Elf64_Ehdr *h)
{
    Elf64_Shdr first;

    if (h->e_phnum != PN_XNUM)
        return h->e_phnum;
    return prof__core_pread(c->fd, h->e_shoff, &first, sizeof(first)) == sizeof(first)
               ? first.sh_info
               : 0;
}

static int read_headers(struct prof__core *c, const char *path)
{
    Elf64_Ehdr h;
    struct prof__arena work = { 0 };
    int r = check_header(path, &h, prof__core_pread(c->fd, 0, &h, sizeof(h)));
    size_t room = 0;

    if (r < 0)
        return r;
    uint64_t n = count_headers(c, &h);
    if (n == 0 || n > SEGMENTS_MAX || h.e_phoff > c->size ||
        n * sizeof(Elf64_Phdr) > c->size - h.e_phoff)
        return no_core(path, "it is cut short before the list of its mappings ends");
    Elf64_Phdr *p = prof__arena_array(&work, n, sizeof(*p));
    if (!p)
        r = -ENOMEM;
    else if (prof__core_pread(c->fd, h.e_phoff, p, n * sizeof(*p)) != n * sizeof(*p))
        r = no_core(path, "it cannot be read");
    if (r == 0)
        r = prof__core_take_segments(c, p, n);
    for (size_t i = 0; i < n && r == 0; i++) {
        uint64_t there = p[i].p_offset < c->size ? c->size - p[i].p_offset : 0;
        size_t size = PROF_MIN(PROF_MIN(p[i].p_filesz, there), (uint64_t)NOTES_MAX);

        if (p[i].p_type != PT_NOTE || size == 0)
            continue;
        c->absent_bytes += p[i].p_filesz - PROF_MIN(p[i].p_filesz, there);
        char *notes = prof__arena_alloc(&work, size);
        r = notes ? prof__core_take_notes(
                        c, notes, prof__core_pread(c->fd, p[i].p_offset, notes, size), &room)
                  : -ENOMEM;
    }
    if (r == 0)
        r = prof__core_join_files(c);
    prof__arena_free(&work);
    return r;
}

/* --- operations ------------------------------------------------------------------------------ */

static int refresh(struct prof__image *image)
{
    struct prof__core *c = image->backend;

    prof__arena_free(&image->arena);
    image->thread = prof__arena_array(&image->arena, c->n_threads + 1, sizeof(*image->thread));
    if (!image->thread)
        return -ENOMEM;
    if (c->n_threads)
        memcpy(image->thread, c->thread, c->n_threads * sizeof(*image->thread));
    for (size_t i = 0; i < c->n_threads; i++) /* that of no other is in a core */
        if (image->thread[i].tid == c->about.pid)
            snprintf(image->thread[i].name, sizeof(image->thread[i].name), "%s", c->command);
    image->n_threads = c->n_threads;
    image->map = c->map;
    image->n_maps = c->n_segments;
    image->absent_bytes = c->absent_bytes;
    return 0;
}

/* Nothing has come since. */
static int look_again(struct prof__image *image, struct prof__image *ret)
{
    (void)image;
    *ret = (struct prof__image) { 0 };
    return 0;
}

static uint64_t headroom(struct prof__image *image)
{
    (void)image;
    return UINT64_MAX;
}

static void core_close(struct prof__image *image)
{
    struct prof__core *c = image->backend;

    for (size_t i = 0; i < c->n_files; i++)
        if (c->file[i].fd >= 0)
            close(c->file[i].fd);
    if (c->fd >= 0)
        close(c->fd);
    prof__arena_free(&c->arena);
    free(c);
}

static const struct prof__image_ops ops = {
    .refresh = refresh,
    .read = core_read,
    .presence = presence,
    .look_again = look_again,
    .blocks = prof__image_given_blocks,
    .now_s = prof__image_last_birth,
    .function = prof__image_function,
    .headroom = headroom,
    .close = core_close,
};

/* The program's own file is that with the lowest mapping of code, and is `exe` instead. */
static void replace_program(struct prof__image *image)
{
    struct prof__core *c = image->backend;

    for (size_t i = 0; c->exe && i < c->n_segments; i++)
        if (c->segment[i].file != PROF__CORE_NO_FILE && c->segment[i].flags & PF_X) {
            struct prof__core_file *f = &c->file[c->segment[i].file];

            f->open = c->exe;
            image->program = f->path;
            image->program_file = c->exe;
            return;
        }
}

int prof__image_core(struct prof__image *ret, const char *path, const char *exe,
                     const char *sysroot)
{
    struct prof__core *c = calloc(1, sizeof(*c));
    struct stat st;
    int r = 0;

    *ret = (struct prof__image) { 0 };
    if (!c)
        return -ENOMEM;
    c->exe = exe;
    c->sysroot = sysroot;
    c->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *ret = (struct prof__image) { .ops = &ops, .backend = c, .root = sysroot };
    if (c->fd < 0 || fstat(c->fd, &st) < 0)
        r = prof_set_last_error(-errno, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        r = no_core(path, "it is no regular file");
    if (r == 0) {
        c->size = (uint64_t)st.st_size;
        r = read_headers(c, path);
    }
    if (r == 0) {
        replace_program(ret);
        prof__core_name_maps(c);
        c->about.command = c->command;
        c->about.arguments = c->arguments;
        c->about.segments = c->n_segments;
        c->about.threads = c->n_threads;
        c->about.file_bytes = c->size;
        c->about.absent_bytes = c->absent_bytes;
    } else {
        prof__image_close(ret);
    }
    return r;
}

void prof__image_core_about(const struct prof__image *image, struct prof__core_about *ret)
{
    *ret = ((const struct prof__core *)image->backend)->about;
}

size_t prof__image_core_missing(const struct prof__image *image, const char *const **ret)
{
    const struct prof__core *c = image->backend;

    *ret = c->missing;
    return c->n_missing;
}
