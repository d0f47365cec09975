/*
 * core_maps.c - mappings from the segments of a core file, joined with the files that they were of,
 * and named as the kernel had named them.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/core_parts.h"

enum { PAGE = PROF__IMAGE_PAGE };

#define HEAP_GAP ((uint64_t)1 << 30) /* from the program's data to its heap, at most: brk(2) */

static int by_start(const void *a, const void *b)
{
    const struct prof__core_segment *x = a, *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

static void add_segment(struct prof__core *c, const Elf64_Phdr *p)
{
    uint64_t there = p->p_offset < c->size ? PROF_MIN(p->p_filesz, c->size - p->p_offset) : 0;

    if (p->p_memsz == 0 || p->p_vaddr % PAGE != 0 || p->p_vaddr + p->p_memsz < p->p_vaddr ||
        p->p_vaddr >> 47 != 0)
        return;
    c->absent_bytes += p->p_filesz - there;
    c->segment[c->n_segments++] = (struct prof__core_segment) {
        .start = p->p_vaddr,
        .size = p->p_memsz,
        .offset = p->p_offset,
        .in_file = PROF_MIN(there, p->p_memsz),
        .file = PROF__CORE_NO_FILE,
        .flags = p->p_flags,
    };
}

/* Of two that overlap, as only a damaged file has them, the first counts. */
static void drop_overlaps(struct prof__core *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->n_segments; i++)
        if (kept == 0 ||
            c->segment[kept - 1].start + c->segment[kept - 1].size <= c->segment[i].start)
            c->segment[kept++] = c->segment[i];
    c->n_segments = kept;
}

static void sort_segments(struct prof__core *c)
{
    qsort(c->segment, c->n_segments, sizeof(*c->segment), by_start);
    drop_overlaps(c);
}

int prof__core_take_segments(struct prof__core *c, const Elf64_Phdr *p, size_t n)
{
    c->segment = prof__arena_array(&c->arena, n, sizeof(*c->segment));
    if (!c->segment)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (p[i].p_type == PT_LOAD)
            add_segment(c, &p[i]);
    sort_segments(c);
    return 0;
}

static void add_gap(struct prof__core *c, const struct prof__core_range *r, uint64_t start,
                    uint64_t end, size_t room)
{
    if (start < end && c->n_segments < room && start % PAGE == 0 && end >> 47 == 0)
        c->segment[c->n_segments++] = (struct prof__core_segment) {
            .start = start,
            .size = end - start,
            .file_offset = r->offset + (start - r->start),
            .file = r->file,
            .flags = PF_R | PF_X,
        };
}

/* Which segments are of a file, and what else is mapped of one: gdb leaves out what was not written
 * to. */
int prof__core_join_files(struct prof__core *c)
{
    size_t n = c->n_segments, room = n + 2 * c->n_ranges + n;
    struct prof__core_segment *all = prof__arena_array(&c->arena, room + 1, sizeof(*all));

    if (!all)
        return -ENOMEM;
    if (n)
        memcpy(all, c->segment, n * sizeof(*all));
    c->segment = all;
    for (size_t i = 0; i < c->n_ranges; i++) {
        const struct prof__core_range *r = &c->range[i];
        size_t more = c->n_segments;
        uint64_t at = r->start;

        c->n_segments = n; /* those that are sorted */
        struct prof__core_segment *s = prof__core_first_from(c, r->start);
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
    sort_segments(c);
    c->map = prof__arena_array(&c->arena, c->n_segments + 1, sizeof(*c->map));
    return c->map ? 0 : -ENOMEM;
}

/* What the kernel had called [heap]: it follows the program's data, after a gap of any size; right
 * behind it there is .bss, and the heap too where addresses are not random. */
static struct prof__image_map *heap_of(struct prof__core *c)
{
    struct prof__image_map *beside = NULL;
    uint32_t program = PROF__CORE_NO_FILE;
    uint64_t end = 0;

    for (size_t i = 0; i < c->n_segments; i++) {
        struct prof__core_segment *s = &c->segment[i];
        struct prof__image_map *m = &c->map[i];

        if (program == PROF__CORE_NO_FILE)
            program = s->file;
        if (s->file != PROF__CORE_NO_FILE && s->file != program)
            break;
        if (s->file != PROF__CORE_NO_FILE)
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
static bool is_guard(struct prof__core *c, const struct prof__core_segment *s)
{
    static const char zero[PAGE];
    char page[PAGE];

    return s->flags == PF_R && s->file == PROF__CORE_NO_FILE && s->in_file == s->size &&
           s->size >= PAGE && prof__core_pread(c->fd, s->offset, page, PAGE) == PAGE &&
           memcmp(page, zero, PAGE) == 0 &&
           prof__core_pread(c->fd, s->offset + s->size - PAGE, page, PAGE) == PAGE &&
           memcmp(page, zero, PAGE) == 0;
}

/* How much of a segment there is to be read: of the core, and of the file behind it. What a damaged
 * header says beyond that, and what was reserved and never used, nobody has to look through. */
static uint64_t bytes_there(struct prof__core *c, const struct prof__core_segment *s)
{
    struct prof__core_file *f = s->file != PROF__CORE_NO_FILE ? &c->file[s->file] : NULL;
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

void prof__core_name_maps(struct prof__core *c)
{
    for (size_t i = 0; i < c->n_segments; i++) {
        struct prof__core_segment *s = &c->segment[i];
        struct prof__image_map *m = &c->map[i];

        uint64_t there = bytes_there(c, s);

        m->readable = s->flags & PF_R && there > 0 && !is_guard(c, s);
        m->writable = s->flags & PF_W;
        m->executable = s->flags & PF_X;
        m->start = s->start;
        m->end = s->start + (there ? PROF_MIN(there, s->size) : s->size);
        m->name = s->file != PROF__CORE_NO_FILE ? c->file[s->file].path : "";
        m->offset = s->file_offset;
        m->anonymous = s->file == PROF__CORE_NO_FILE;
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
