/*
 * dwarf_image.c - what stands between those who read DWARF and the file.
 *
 * Only the sections that names and inlining need, one behind the other in one mapping:
 *
 *   .debug_info | 0 | .debug_abbrev | 0 | ... each section followed by a page of zeros
 *
 * The large ones take address space only; pages are read when prof__dwarf_image_need() says that
 * they are about to be looked at. Zeros behind each section end the string that a damaged one ends
 * in. Nothing is mapped from the file, for a file that shrinks would be a SIGBUS. What had to be
 * unpacked may be kept for the next who asks (dwarf_kept.c).
 */
#include "symbol/dwarf_image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "symbol/dwarf_kept.h"

#define PAGE ((uint64_t)4096)

/* Bytes: all sections together; those read whole; one that is compressed. */
#define IMAGE_MAX      ((uint64_t)16 << 30)
#define WHOLE_MAX      ((uint64_t)256 << 20)
#define COMPRESSED_MAX ((uint64_t)256 << 20)

static const struct {
    const char *name;
    bool by_need; /* else read whole */
    bool is_index;
} parts[PROF__DWARF_SECTIONS] = {
    [PROF__DWARF_INFO] = { ".debug_info", true },
    [PROF__DWARF_ABBREV] = { ".debug_abbrev", false },
    [PROF__DWARF_LINE] = { ".debug_line", true },
    [PROF__DWARF_LINE_STR] = { ".debug_line_str", true },
    [PROF__DWARF_STR] = { ".debug_str", true },
    [PROF__DWARF_RANGES] = { ".debug_ranges", false },
    [PROF__DWARF_RNGLISTS] = { ".debug_rnglists", false },
    [PROF__DWARF_ADDR] = { ".debug_addr", false },
    [PROF__DWARF_STR_OFFSETS] = { ".debug_str_offsets", false },
    [PROF__DWARF_CU_INDEX] = { ".debug_cu_index", false, true },
};

static uint64_t pages(uint64_t size)
{
    return (size + PAGE - 1) / PAGE * PAGE;
}

/* Of a section and the zeros behind it: what is dropped must not share a page with another. */
static uint64_t room_of(uint64_t size)
{
    uint64_t page = prof__page_size();

    return (size + page - 1) / page * page + page;
}

static const Elf64_Shdr *find_section(const struct prof__elf *e, size_t i, bool split)
{
    char name[32];

    snprintf(name, sizeof(name), "%s%s", parts[i].name, split && !parts[i].is_index ? ".dwo" : "");
    return prof__elf_section(e, name);
}

/* `has_all`: what is not read by need is there already. */
static int load(struct prof__dwarf_image *im, struct prof__arena *a, size_t i,
                enum prof__packing packing, bool has_all)
{
    struct prof__dwarf_part *p = &im->part[i];

    if (packing != PROF__PLAIN)
        return has_all ? 0 : prof__elf_section_inflate(im->elf, a, p->header, p->data, p->size);
    if (!parts[i].by_need)
        return has_all || prof__elf_read(im->elf, p->header->sh_offset, p->data, p->size) ? 0
                                                                                          : -EINVAL;
    p->loaded = prof__arena_alloc(a, pages(p->size) / PAGE / 8 + 1);
    if (!p->loaded)
        return -ENOMEM;
    return 0;
}

int prof__dwarf_image_open(struct prof__dwarf_image *im, struct prof__arena *a,
                           const struct prof__elf *e, bool split)
{
    uint64_t total = 0, whole = 0, at = 0;
    enum prof__packing packing[PROF__DWARF_SECTIONS] = { PROF__PLAIN };
    bool is_packed;
    int r = 0;

    memset(im, 0, sizeof(*im));
    im->elf = e;
    for (size_t i = 0; i < PROF__DWARF_SECTIONS; i++) {
        struct prof__dwarf_part *p = &im->part[i];
        const Elf64_Shdr *s = find_section(e, i, split);
        uint64_t size;

        if (!s || prof__elf_section_size(e, s, &size, &packing[i]) < 0 || size == 0)
            continue;
        if (packing[i] != PROF__PLAIN && size > COMPRESSED_MAX)
            return -EFBIG;
        p->header = s;
        p->size = size;
        total += room_of(size);
        if (packing[i] != PROF__PLAIN || !parts[i].by_need)
            whole += size;
        if (total > IMAGE_MAX || whole > WHOLE_MAX)
            return -EFBIG;
    }
    if (im->part[PROF__DWARF_INFO].size == 0 || im->part[PROF__DWARF_ABBREV].size == 0)
        return -ENOENT;
    is_packed = packing[PROF__DWARF_INFO] != PROF__PLAIN; /* it is by far the most of it */
    char *kept = is_packed ? prof__dwarf_kept_take(e, split, total) : NULL;
    im->base = kept ? kept : prof__pages_map(total);
    if (!im->base)
        return -ENOMEM;
    im->size = total;
    for (size_t i = 0; i < PROF__DWARF_SECTIONS; i++) {
        struct prof__dwarf_part *p = &im->part[i];

        if (p->size == 0)
            continue;
        p->data = im->base + at;
        at += room_of(p->size);
        r = load(im, a, i, packing[i], kept != NULL);
        if (r < 0) {
            prof__dwarf_image_close(im);
            return r == -ENOMEM || r == -ETIME ? r : -ENOENT;
        }
    }
    im->split = split;
    im->is_to_keep = is_packed;
    return 0;
}

void prof__dwarf_image_close(struct prof__dwarf_image *im)
{
    if (im->is_to_keep) {
        prof__dwarf_image_drop(
            im); /* cheap to read again, and the arena has what says which it is */
        if (prof__dwarf_kept_give(im->elf, im->split, im->base, im->size))
            im->base = NULL;
    }
    prof__pages_unmap(im->base, im->size);
    im->base = NULL;
    im->is_to_keep = false;
}

static bool is_loaded(const struct prof__dwarf_part *p, uint64_t page)
{
    return p->loaded[page / 8] >> page % 8 & 1;
}

void prof__dwarf_image_need(struct prof__dwarf_image *im, enum prof__dwarf_section section,
                            uint64_t offset, uint64_t n)
{
    struct prof__dwarf_part *p = &im->part[section];

    if (!p->loaded || offset >= p->size || n == 0)
        return;
    uint64_t end = pages(offset + PROF_MIN(n, p->size - offset)) / PAGE;
    for (uint64_t page = offset / PAGE; page < end;) {
        uint64_t first = page;

        while (page < end && !is_loaded(p, page)) {
            p->loaded[page / 8] |= (uint8_t)(1 << page % 8);
            page++;
        }
        if (page == first) {
            page++;
            continue;
        }
        uint64_t size = PROF_MIN(page * PAGE, p->size) - first * PAGE;
        /* Cut short meanwhile: the rest reads as zeros. */
        prof__elf_read(im->elf, p->header->sh_offset + first * PAGE, p->data + first * PAGE, size);
        im->loaded_bytes += size;
    }
}

void prof__dwarf_image_drop(struct prof__dwarf_image *im)
{
    for (size_t i = 0; i < PROF__DWARF_SECTIONS; i++) {
        struct prof__dwarf_part *p = &im->part[i];

        if (!p->loaded)
            continue;
        madvise(p->data, pages(p->size), MADV_DONTNEED);
        memset(p->loaded, 0, pages(p->size) / PAGE / 8 + 1);
    }
    im->loaded_bytes = 0;
}

const char *prof__dwarf_image_string(struct prof__dwarf_image *im, enum prof__dwarf_section section,
                                     uint64_t offset)
{
    struct prof__dwarf_part *p = &im->part[section];

    if (offset >= p->size)
        return NULL;
    for (uint64_t at = offset; at < p->size;) {
        uint64_t next = PROF_MIN((at / PAGE + 1) * PAGE, p->size);

        prof__dwarf_image_need(im, section, at, next - at);
        if (memchr(p->data + at, 0, next - at))
            break;
        at = next;
    }
    return p->data + offset; /* unterminated: the zeros behind the section end it */
}
