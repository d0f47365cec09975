/*
 * dwarf_split.c - what the linker never saw: the .dwo file beside the object file, or the package
 * (.dwp) that dwp(1) makes of them all.
 *
 *   skeleton in the program -> its number, a name, a folder -> NAME.dwo
 *                                 \-> index of PROGRAM.dwp -> parts of the package's sections
 *
 * A .dwo may have been compiled anew since, or be another's of the same name: only one with the
 * skeleton's number counts. Only absolute paths are tried, as in elf_find.c.
 *
 * Source: DWARF 5, 7.3; of version 4 GNU's wiki, DebugFission and DebugFissionDWP.
 */
#include "symbol/dwarf_split.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "symbol/deadline.h"
#include "symbol/dwarf_codes.h"

bool prof__dwarf_is_skeleton(const struct prof__dwarf_unit *u, const struct prof__dwarf_entry *own)
{
    return u->type == DW_UT_skeleton || prof__dwarf_has(own, PROF__AT_DWO_NAME);
}

/* --- the package ----------------------------------------------------------------------------- */

struct index_head {
    uint32_t version; /* 2, or 5 in its lower half */
    uint32_t n_columns, n_units, n_slots;
};

enum { COLUMNS_MAX = 16 };

static uint32_t word_at(const struct prof__dwarf_part *p, uint64_t at)
{
    uint32_t word = 0;

    if (at + sizeof(word) <= p->size)
        memcpy(&word, p->data + at, sizeof(word));
    return word;
}

/* The row of a unit in the index, counted from 1; 0: it has none. */
static uint32_t index_row(const struct prof__dwarf_part *p, const struct index_head *h, uint64_t id)
{
    uint64_t mask = h->n_slots - 1, at = id & mask, step = (id >> 32 & mask) | 1;

    for (uint32_t i = 0; i < h->n_slots && !prof__late(); i++, at = (at + step) & mask) {
        uint64_t have = 0, slot = sizeof(*h) + at * 8;
        uint32_t row = word_at(p, sizeof(*h) + (uint64_t)h->n_slots * 8 + at * 4);

        if (row == 0 || slot + sizeof(have) > p->size)
            return 0;
        memcpy(&have, p->data + slot, sizeof(have));
        if (have == id)
            return row <= h->n_units ? row : 0;
    }
    return 0;
}

/* Where the parts of a unit start in the package's sections, by column. */
static bool index_find(const struct prof__dwarf_image *im, uint64_t id,
                       uint64_t ret_start[DW_SECT_RNGLISTS + 1])
{
    const struct prof__dwarf_part *p = &im->part[PROF__DWARF_CU_INDEX];
    struct index_head h;

    if (p->size < sizeof(h))
        return false;
    memcpy(&h, p->data, sizeof(h));
    if ((h.version & 0xffff) != 2 && (h.version & 0xffff) != 5)
        return false;
    if (h.n_columns > COLUMNS_MAX || h.n_slots == 0 || h.n_slots & (h.n_slots - 1) ||
        h.n_slots > p->size / 12)
        return false;
    uint32_t row = index_row(p, &h, id);
    if (row == 0)
        return false;
    uint64_t columns = sizeof(h) + (uint64_t)h.n_slots * 12;
    uint64_t starts = columns + (uint64_t)h.n_columns * 4 * row; /* the columns' names are row 0 */
    memset(ret_start, 0, (DW_SECT_RNGLISTS + 1) * sizeof(*ret_start));
    for (uint32_t i = 0; i < h.n_columns; i++) {
        uint32_t column = word_at(p, columns + i * 4);

        if (column <= DW_SECT_RNGLISTS)
            ret_start[column] = word_at(p, starts + i * 4);
    }
    return true;
}

static int open_package(struct prof__dwarf_split *s)
{
    char real[PATH_MAX];
    struct prof__elf e;

    s->looked_for_package = true;
    s->package.fd = -1;
    if (!s->file || s->file[0] != '/')
        return -ENOENT;
    const char *path =
        prof__arena_printf(s->arena, "%s.dwp", realpath(s->file, real) ? real : s->file);
    if (!path)
        return -ENOMEM;
    int r = prof__elf_open(&e, s->arena, path);
    if (r == 0)
        r = prof__dwarf_image_open(&s->package_image, s->arena, &e, true);
    if (r < 0) {
        prof__elf_close(&e);
        return r;
    }
    s->package = e;
    s->package_image.elf = &s->package;
    return 0;
}

static int find_in_package(struct prof__dwarf_half *h, struct prof__dwarf_split *s, uint64_t id)
{
    uint64_t start[DW_SECT_RNGLISTS + 1];
    int r = s->looked_for_package ? 0 : open_package(s);

    if (r == -ENOMEM)
        return r;
    if (s->package.fd < 0 || !index_find(&s->package_image, id, start))
        return -ENOENT;
    r = prof__dwarf_unit_at(&s->package_image, start[DW_SECT_INFO], &h->unit);
    if (r < 0)
        return -ENOENT;
    h->unit.abbrevs_at += start[DW_SECT_ABBREV];
    h->unit.str_offsets_part = start[DW_SECT_STR_OFFSETS];
    h->unit.rnglists_part = h->unit.version >= 5 ? start[DW_SECT_RNGLISTS] : 0;
    return 0;
}

/* --- one file -------------------------------------------------------------------------------- */

/* The unit of that number among those of an image. */
static int find_unit(struct prof__dwarf_half *h, const struct prof__dwarf_unit *skeleton)
{
    struct prof__dwarf_unit u;

    for (uint64_t at = 0; !prof__late() && prof__dwarf_unit_at(&h->debug.image, at, &u) == 0;
         at += u.size) {
        struct prof__dwarf_entry own;

        if (u.version >= 5 && u.type != DW_UT_split_compile)
            continue;
        h->unit = u;
        if (u.version < 5 && prof__dwarf_unit_read_own(&u, &own) < 0)
            continue;
        if (u.id == skeleton->id)
            return 0;
    }
    return -ENOENT;
}

static int open_file(struct prof__dwarf_half *h, struct prof__arena *work, const char *path,
                     const struct prof__dwarf_unit *skeleton)
{
    int r = prof__elf_open(&h->elf, work, path);

    if (r == 0)
        r = prof__dwarf_image_open(&h->debug.image, work, &h->elf, true);
    if (r == 0)
        r = find_unit(h, skeleton);
    if (r == 0)
        return 0;
    prof__dwarf_image_close(&h->debug.image);
    prof__elf_close(&h->elf);
    return r == -ENOMEM ? r : -ENOENT;
}

/* The places where a .dwo of that name may be: where the compiler put it, or beside the program. */
static int find_file(struct prof__dwarf_half *h, struct prof__dwarf_split *s,
                     struct prof__arena *work, const struct prof__dwarf_unit *skeleton,
                     const char *name, const char *folder)
{
    const char *base = strrchr(name, '/'), *path[2] = { name };
    const char *slash = s->file && s->file[0] == '/' ? strrchr(s->file, '/') : NULL;
    int r = -ENOENT;

    if (name[0] != '/')
        path[0] =
            folder && folder[0] == '/' ? prof__arena_printf(work, "%s/%s", folder, name) : NULL;
    if (slash)
        path[1] = prof__arena_printf(work, "%.*s/%s", (int)(slash - s->file), s->file,
                                     base ? base + 1 : name);
    for (size_t i = 0; i < ARRAY_LEN(path) && r == -ENOENT; i++)
        if (path[i])
            r = open_file(h, work, path[i], skeleton);
    if (r == -ENOENT && s->n_missing++ == 0)
        s->missing = prof__arena_strdup(s->arena, path[0] ? path[0] : name);
    return r;
}

int prof__dwarf_half_open(struct prof__dwarf_half *h, struct prof__dwarf_split *s,
                          struct prof__arena *work, const struct prof__dwarf_unit *skeleton,
                          const struct prof__dwarf_entry *own)
{
    memset(h, 0, sizeof(*h));
    h->elf.fd = -1;
    const char *name = prof__dwarf_string(skeleton, NULL, own, PROF__AT_DWO_NAME);
    const char *folder = prof__dwarf_string(skeleton, NULL, own, PROF__AT_COMP_DIR);
    int r = skeleton->id ? find_in_package(h, s, skeleton->id) : -ENOENT;

    if (r == -ENOENT && name && *name)
        r = find_file(h, s, work, skeleton, name, folder);
    if (r < 0)
        return r;
    h->unit.home = s->home;
    h->unit.addr_base = skeleton->addr_base;
    h->unit.ranges_base = skeleton->ranges_base;
    h->unit.low = skeleton->low;
    r = prof__dwarf_unit_load(&h->unit, work);
    if (r == 0)
        r = prof__dwarf_unit_read_own(&h->unit, &h->own);
    return r == -ENOMEM ? r : r < 0 ? -ENOENT : 0;
}

void prof__dwarf_half_close(struct prof__dwarf_half *h)
{
    prof__dwarf_image_close(&h->debug.image);
    prof__elf_close(&h->elf);
}

void prof__dwarf_split_close(struct prof__dwarf_split *s)
{
    if (!s->looked_for_package)
        return;
    prof__dwarf_image_close(&s->package_image);
    prof__elf_close(&s->package);
}
