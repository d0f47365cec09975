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
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <unistd.h>

#include "base/path.h"
#include "image/foreign.h"
#include "symbol/elf_file.h"

enum {
    PAGE = PROF__IMAGE_PAGE,
    SEGMENTS_MAX = 1 << 20,
    NOTES_MAX = 256 << 20,
    THREADS_MAX = 1 << 20,
};

#define HEAP_GAP ((uint64_t)1 << 30) /* from the program's data to its heap, at most: brk(2) */
#define NO_FILE  UINT32_MAX

struct segment {
    uint64_t start, size, offset, in_file; /* in_file: bytes of it that are there */
    uint64_t file_offset;
    uint32_t file, flags;
};

struct mapped {
    const char *path, *open; /* as the core has it; as it is opened here */
    uint64_t head;           /* where its first page is mapped; 0: nowhere */
    uint64_t size;
    int fd;
    bool tried, sized;
    const char *why; /* it cannot be had */
};

/* A line of NT_FILE. */
struct range {
    uint64_t start, end, offset;
    uint32_t file;
};

struct core {
    int fd;
    uint64_t size, absent_bytes;
    struct prof__arena arena;
    const char *exe, *sysroot;
    struct segment *segment; /* by rising address */
    size_t n_segments;
    struct mapped *file;
    size_t n_files;
    struct range *range;
    size_t n_ranges;
    const char **missing;
    size_t n_missing;
    uint64_t stack_at, vdso_at;
    struct prof__core_about about;
    char command[32], arguments[96];
    /* The view's: */
    struct prof__image_map *map;
    struct prof__image_thread *thread;
    size_t n_threads;
};

/* --- reading --------------------------------------------------------------------------------- */

static size_t read_fd(int fd, uint64_t at, void *to, size_t n)
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
static struct segment *first_from(const struct core *c, uint64_t address)
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

static const struct segment *segment_of(const struct core *c, uint64_t address)
{
    const struct segment *s = first_from(c, address);

    return s < c->segment + c->n_segments && s->start <= address ? s : NULL;
}

/* Does the file have the build id that was in memory? Nothing is known if the core has not. */
static bool is_same_file(struct prof__image *image, const struct mapped *f, const char *path)
{
    struct prof__arena a = { 0 };
    struct prof__elf e;
    uint8_t id[PROF__BUILD_ID_MAX];
    const struct core *c = image->backend;
    const struct segment *s = f->head ? segment_of(c, f->head) : NULL;
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
static int file_of(struct prof__image *image, struct mapped *f)
{
    struct core *c = image->backend;
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
static size_t read_segment(struct prof__image *image, const struct segment *s, uint64_t at,
                           void *to, size_t n)
{
    struct core *c = image->backend;

    if (at < s->in_file)
        return read_fd(c->fd, s->offset + at, to, PROF_MIN((uint64_t)n, s->in_file - at));
    if (s->file == NO_FILE)
        return 0;
    int fd = file_of(image, &c->file[s->file]);
    return fd < 0 ? 0 : read_fd(fd, s->file_offset + at, to, n);
}

static size_t core_read(struct prof__image *image, uint64_t from, void *to, size_t n)
{
    size_t done = 0;

    while (done < n) {
        const struct segment *s = segment_of(image->backend, from + done);
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
    struct core *c = image->backend;

    for (size_t i = 0; i < n; i++) {
        uint64_t at = from + i * PAGE;
        const struct segment *s = segment_of(c, at);
        bool there = s && (at - s->start < s->in_file ||
                           (s->file != NO_FILE && file_of(image, &c->file[s->file]) >= 0));

        ret_state[i] = there ? PROF__PAGE_PRESENT : PROF__PAGE_ABSENT;
    }
}

/* --- notes ----------------------------------------------------------------------------------- */

static void take_thread(struct core *c, size_t *room, const char *desc, size_t size)
{
    struct elf_prstatus status;
    struct user_regs_struct r;

    static_assert(sizeof(r) == sizeof(status.pr_reg), "the same registers");
    if (size < sizeof(status) || c->n_threads == THREADS_MAX)
        return;
    memcpy(&status, desc, sizeof(status));
    memcpy(&r, status.pr_reg, sizeof(r));
    if (c->n_threads == *room) {
        size_t more = *room ? *room * 2 : 64;
        struct prof__image_thread *t = prof__arena_array(&c->arena, more, sizeof(*t));

        if (!t)
            return;
        if (c->n_threads)
            memcpy(t, c->thread, c->n_threads * sizeof(*t));
        c->thread = t;
        *room = more;
    }
    if (c->n_threads == 0)
        c->about.signal = status.pr_cursig;
    struct prof__image_thread *t = &c->thread[c->n_threads++];
    const uint64_t word[] = { r.rbx, r.rbp, r.r12, r.r13, r.r14, r.r15, r.r11, r.r10,
                              r.r9,  r.r8,  r.rax, r.rcx, r.rdx, r.rsi, r.rdi };
    *t = (struct prof__image_thread) {
        .tid = status.pr_pid,
        .own_tid = status.pr_pid,
        .sp = r.rsp,
        .pc = r.rip,
        .thread_pointer = r.fs_base,
        .n_regs = ARRAY_LEN(word),
        .has_kept = true,
        .system_call = (int64_t)r.orig_rax < 0 ? -1 : (int)r.orig_rax,
        .argument = { r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9 },
    };
    memcpy(t->reg, word, sizeof(word));
    memcpy(t->kept, word, sizeof(t->kept));
}

static uint64_t word_at(const char *at)
{
    uint64_t w;

    memcpy(&w, at, sizeof(w));
    return w;
}

/* NT_AUXV: pairs of words. */
static void take_auxv(struct core *c, const char *desc, size_t size)
{
    for (size_t i = 0; i + 16 <= size; i += 16) {
        uint64_t key = word_at(desc + i), value = word_at(desc + i + 8);

        if (key == AT_RANDOM)
            c->stack_at = value;
        else if (key == AT_SYSINFO_EHDR)
            c->vdso_at = value;
    }
}

static void take_info(struct core *c, const char *desc, size_t size)
{
    struct elf_prpsinfo info;

    if (size < sizeof(info))
        return;
    memcpy(&info, desc, sizeof(info));
    c->about.pid = info.pr_pid;
    snprintf(c->command, sizeof(c->command), "%.*s", (int)sizeof(info.pr_fname), info.pr_fname);
    snprintf(c->arguments, sizeof(c->arguments), "%.*s", (int)sizeof(info.pr_psargs),
             info.pr_psargs);
}

static uint32_t add_file(struct core *c, const char *path, size_t *room)
{
    if (c->n_files && strcmp(c->file[c->n_files - 1].path, path) == 0)
        return (uint32_t)c->n_files - 1;
    if (c->n_files == *room)
        return NO_FILE;
    struct mapped *f = &c->file[c->n_files];
    *f = (struct mapped) { .path = prof__arena_strdup(&c->arena, path), .fd = -1 };
    f->open = c->sysroot[0] ? prof__arena_printf(&c->arena, "%s%s", c->sysroot, path) : f->path;
    if (!f->path || !f->open)
        return NO_FILE;
    return (uint32_t)c->n_files++;
}

/* NT_FILE: how many, the size of a page, then start, end, offset in pages of each, then names. */
static int take_files(struct core *c, const char *desc, size_t size)
{
    if (size < 16 || c->n_files)
        return 0;
    uint64_t n = word_at(desc), page = word_at(desc + 8);
    if (n > (size - 16) / 24)
        n = (size - 16) / 24;
    const char *name = desc + 16 + n * 24, *end = desc + size;
    size_t room = (size_t)n;
    c->file = prof__arena_array(&c->arena, n + 1, sizeof(*c->file));
    c->missing = prof__arena_array(&c->arena, n + 1, sizeof(*c->missing));
    c->range = prof__arena_array(&c->arena, n + 1, sizeof(*c->range));
    if (!c->file || !c->missing || !c->range)
        return -ENOMEM;
    for (uint64_t i = 0; i < n && name < end; i++) {
        const char *entry = desc + 16 + i * 24, *stop = memchr(name, '\0', (size_t)(end - name));
        uint64_t start = word_at(entry), limit = word_at(entry + 8), at = word_at(entry + 16);

        if (!stop)
            break;
        uint32_t file = add_file(c, name, &room);
        name = stop + 1;
        if (file == NO_FILE || limit <= start)
            continue;
        if (at == 0 && !c->file[file].head)
            c->file[file].head = start;
        c->range[c->n_ranges++] = (struct range) { start, limit, at * page, file };
    }
    return 0;
}

static int take_notes(struct core *c, const char *notes, size_t size, size_t *room)
{
    int r = 0;

    for (size_t at = 0; size - at >= sizeof(Elf64_Nhdr) && r == 0;) {
        Elf64_Nhdr h;

        memcpy(&h, notes + at, sizeof(h));
        at += sizeof(h);
        size_t name = ((size_t)h.n_namesz + 3) & ~(size_t)3;
        size_t desc = ((size_t)h.n_descsz + 3) & ~(size_t)3;
        if (name > size - at || h.n_descsz > size - at - name)
            break;
        const char *d = notes + at + name;
        if (h.n_namesz == 5 && memcmp(notes + at, "CORE", 5) == 0)
            switch (h.n_type) {
            case NT_FILE:
                r = take_files(c, d, h.n_descsz);
                break;
            case NT_PRSTATUS:
                take_thread(c, room, d, h.n_descsz);
                break;
            case NT_AUXV:
                take_auxv(c, d, h.n_descsz);
                break;
            case NT_PRPSINFO:
                take_info(c, d, h.n_descsz);
                break;
            }
        at += name + PROF_MIN(desc, size - at - name);
    }
    return r;
}

/* --- segments -------------------------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

static bool add_segment(struct core *c, const Elf64_Phdr *p)
{
    uint64_t there = p->p_offset < c->size ? PROF_MIN(p->p_filesz, c->size - p->p_offset) : 0;

    if (p->p_memsz == 0 || p->p_vaddr % PAGE != 0 || p->p_vaddr + p->p_memsz < p->p_vaddr ||
        p->p_vaddr >> 47 != 0)
        return false;
    c->absent_bytes += p->p_filesz - there;
    c->segment[c->n_segments++] = (struct segment) {
        .start = p->p_vaddr,
        .size = p->p_memsz,
        .offset = p->p_offset,
        .in_file = PROF_MIN(there, p->p_memsz),
        .file = NO_FILE,
        .flags = p->p_flags,
    };
    return true;
}

/* Of two that overlap, as only a damaged file has them, the first counts. */
static void drop_overlaps(struct core *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->n_segments; i++)
        if (kept == 0 ||
            c->segment[kept - 1].start + c->segment[kept - 1].size <= c->segment[i].start)
            c->segment[kept++] = c->segment[i];
    c->n_segments = kept;
}

static void add_gap(struct core *c, const struct range *r, uint64_t start, uint64_t end,
                    size_t room)
{
    if (start < end && c->n_segments < room && start % PAGE == 0 && end >> 47 == 0)
        c->segment[c->n_segments++] = (struct segment) {
            .start = start,
            .size = end - start,
            .file_offset = r->offset + (start - r->start),
            .file = r->file,
            .flags = PF_R | PF_X,
        };
}

/* Which segments are of a file, and what else is mapped of one: gdb leaves out what was not written
 * to. */
static int join_files(struct core *c)
{
    size_t n = c->n_segments, room = n + 2 * c->n_ranges + n;
    struct segment *all = prof__arena_array(&c->arena, room + 1, sizeof(*all));

    if (!all)
        return -ENOMEM;
    if (n)
        memcpy(all, c->segment, n * sizeof(*all));
    c->segment = all;
    for (size_t i = 0; i < c->n_ranges; i++) {
        const struct range *r = &c->range[i];
        size_t more = c->n_segments;
        uint64_t at = r->start;

        c->n_segments = n; /* those that are sorted */
        struct segment *s = first_from(c, r->start);
        c->n_segments = more;
        for (; s < all + n && s->start < r->end; s++) {
            if (s->start >= r->start) {
                s->file = r->file;
                s->file_offset = r->offset + (s->start - r->start);
            }
            add_gap(c, r, at, s->start, room);
            at = PROF_MAX(at, s->start + s->size);
        }
        add_gap(c, r, at, r->end, room);
    }
    qsort(c->segment, c->n_segments, sizeof(*c->segment), by_start);
    drop_overlaps(c);
    c->map = prof__arena_array(&c->arena, c->n_segments + 1, sizeof(*c->map));
    return c->map ? 0 : -ENOMEM;
}

/* What the kernel had called [heap]: it follows the program's data, after a gap of any size; right
 * behind it there is .bss, and the heap too where addresses are not random. */
static struct prof__image_map *heap_of(struct core *c)
{
    struct prof__image_map *beside = NULL;
    uint32_t program = NO_FILE;
    uint64_t end = 0;

    for (size_t i = 0; i < c->n_segments; i++) {
        struct segment *s = &c->segment[i];
        struct prof__image_map *m = &c->map[i];

        if (program == NO_FILE)
            program = s->file;
        if (s->file != NO_FILE && s->file != program)
            break;
        if (s->file != NO_FILE)
            end = s->start + s->size;
        else if (end && m->writable && m->name[0] == '\0' && m->start - end < HEAP_GAP) {
            if (m->start > end)
                return m;
            beside = m;
        }
    }
    return beside;
}

/* What may not be read, in gdb's cores, may; and is zero. */
static bool is_guard(struct core *c, const struct segment *s)
{
    static const char zero[PAGE];
    char page[PAGE];

    return s->flags == PF_R && s->file == NO_FILE && s->in_file == s->size && s->size >= PAGE &&
           read_fd(c->fd, s->offset, page, PAGE) == PAGE && memcmp(page, zero, PAGE) == 0 &&
           read_fd(c->fd, s->offset + s->size - PAGE, page, PAGE) == PAGE &&
           memcmp(page, zero, PAGE) == 0;
}

/* How much of a segment there is to be read: of the core, and of the file behind it. What a damaged
 * header says beyond that, and what was reserved and never used, nobody has to look through. */
static uint64_t bytes_there(struct core *c, const struct segment *s)
{
    struct mapped *f = s->file != NO_FILE ? &c->file[s->file] : NULL;
    uint64_t there = s->in_file;
    struct stat st;

    if (f && !f->sized) {
        f->sized = true;
        f->size = stat(f->open, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    }
    if (f && f->size > s->file_offset)
        there = PROF_MAX(there, PROF_MIN(s->size, f->size - s->file_offset));
    return (there + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static void name_maps(struct core *c)
{
    for (size_t i = 0; i < c->n_segments; i++) {
        struct segment *s = &c->segment[i];
        struct prof__image_map *m = &c->map[i];

        uint64_t there = bytes_there(c, s);

        m->readable = s->flags & PF_R && there > 0 && !is_guard(c, s);
        m->writable = s->flags & PF_W;
        m->executable = s->flags & PF_X;
        m->start = s->start;
        m->end = s->start + (there ? PROF_MIN(there, s->size) : s->size);
        m->name = s->file != NO_FILE ? c->file[s->file].path : "";
        m->offset = s->file_offset;
        m->anonymous = s->file == NO_FILE;
        if (c->stack_at >= m->start && c->stack_at < m->end)
            m->name = "[stack]";
        if (c->vdso_at == m->start && c->vdso_at)
            m->name = "[vdso]";
        m->untouchable = m->name[0] == '/' && strncmp(m->name, "/dev/", 5) == 0 && s->in_file == 0;
    }
    struct prof__image_map *heap = heap_of(c);
    for (; heap && heap < c->map + c->n_segments && heap->writable && heap->anonymous &&
           heap->name[0] == '\0';
         heap++) {
        heap->name = "[heap]";
        if (heap + 1 == c->map + c->n_segments || heap[1].start != heap->end)
            break;
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
static uint64_t count_headers(const struct core *c, const Elf64_Ehdr *h)
{
    Elf64_Shdr first;

    if (h->e_phnum != PN_XNUM)
        return h->e_phnum;
    return read_fd(c->fd, h->e_shoff, &first, sizeof(first)) == sizeof(first) ? first.sh_info : 0;
}

static int read_headers(struct core *c, const char *path)
{
    Elf64_Ehdr h;
    struct prof__arena work = { 0 };
    int r = check_header(path, &h, read_fd(c->fd, 0, &h, sizeof(h)));
    size_t room = 0;

    if (r < 0)
        return r;
    uint64_t n = count_headers(c, &h);
    if (n == 0 || n > SEGMENTS_MAX || h.e_phoff > c->size ||
        n * sizeof(Elf64_Phdr) > c->size - h.e_phoff)
        return no_core(path, "it is cut short before the list of its mappings ends");
    Elf64_Phdr *p = prof__arena_array(&work, n, sizeof(*p));
    c->segment = prof__arena_array(&c->arena, n, sizeof(*c->segment));
    if (!p || !c->segment)
        r = -ENOMEM;
    else if (read_fd(c->fd, h.e_phoff, p, n * sizeof(*p)) != n * sizeof(*p))
        r = no_core(path, "it cannot be read");
    for (size_t i = 0; i < n && r == 0; i++)
        if (p[i].p_type == PT_LOAD)
            add_segment(c, &p[i]);
    if (r == 0) {
        qsort(c->segment, c->n_segments, sizeof(*c->segment), by_start);
        drop_overlaps(c);
    }
    for (size_t i = 0; i < n && r == 0; i++) {
        uint64_t there = p[i].p_offset < c->size ? c->size - p[i].p_offset : 0;
        size_t size = PROF_MIN(PROF_MIN(p[i].p_filesz, there), (uint64_t)NOTES_MAX);

        if (p[i].p_type != PT_NOTE || size == 0)
            continue;
        c->absent_bytes += p[i].p_filesz - PROF_MIN(p[i].p_filesz, there);
        char *notes = prof__arena_alloc(&work, size);
        r = notes ? take_notes(c, notes, read_fd(c->fd, p[i].p_offset, notes, size), &room)
                  : -ENOMEM;
    }
    if (r == 0)
        r = join_files(c);
    prof__arena_free(&work);
    return r;
}

/* --- operations ------------------------------------------------------------------------------ */

static int refresh(struct prof__image *image)
{
    struct core *c = image->backend;

    prof__arena_free(&image->arena);
    image->thread = prof__arena_array(&image->arena, c->n_threads + 1, sizeof(*image->thread));
    if (!image->thread)
        return -ENOMEM;
    if (c->n_threads)
        memcpy(image->thread, c->thread, c->n_threads * sizeof(*image->thread));
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
    struct core *c = image->backend;

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
    .now_s = prof__image_no_clock,
    .function = prof__image_function,
    .headroom = headroom,
    .close = core_close,
};

/* The program's own file is that with the lowest mapping of code, and is `exe` instead. */
static void replace_program(struct prof__image *image)
{
    struct core *c = image->backend;

    for (size_t i = 0; c->exe && i < c->n_segments; i++)
        if (c->segment[i].file != NO_FILE && c->segment[i].flags & PF_X) {
            struct mapped *f = &c->file[c->segment[i].file];

            f->open = c->exe;
            image->program = f->path;
            image->program_file = c->exe;
            return;
        }
}

int prof__image_core(struct prof__image *ret, const char *path, const char *exe,
                     const char *sysroot)
{
    struct core *c = calloc(1, sizeof(*c));
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
        name_maps(c);
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
    *ret = ((const struct core *)image->backend)->about;
}

size_t prof__image_core_missing(const struct prof__image *image, const char *const **ret)
{
    const struct core *c = image->backend;

    *ret = c->missing;
    return c->n_missing;
}
