/*
 * dwarf_lines.c - the line number program, run past the sorted addresses.
 *
 * dwarf_getsrclines() makes an array of all rows, 100 bytes each, and keeps it: 35 MiB for a unit
 * of sqlite's size, when a profile wants some hundred of its rows. Here the program is run once
 * and no row is kept. Versions 2 to 5; one operation an instruction, as on all that is not VLIW.
 */
#include "symbol/dwarf_lines.h"

#include <errno.h>

#include "symbol/deadline.h"
#include "symbol/dwarf_codes.h"
#include "symbol/dwarf_cursor.h"

struct prof__dwarf_file {
    const char *name;
    uint64_t dir;
    const char *path; /* put together on first use */
};

/* A description of directory or file entries in version 5. */
struct format {
    uint64_t content, form;
};

enum {
    FORMATS_MAX = 16,
    PATH_PART_MAX = 4096,
    TABLE_MAX = 1 << 29,  /* bytes of one unit's */
    VISITS_MAX = 1 << 26, /* rows times addresses in them, which compilers make about one each */
};

/* --- header ---------------------------------------------------------------------------------- */

/* One attribute of an entry: a string or a number. False: a form that has no place here. */
static bool read_form(struct prof__dwarf_lines *l, struct prof__cursor *r, uint64_t form,
                      const char **ret_text, uint64_t *ret_number)
{
    switch (form) {
    case DW_FORM_string:
        *ret_text = prof__read_string(r);
        return true;
    case DW_FORM_line_strp:
        *ret_text = prof__dwarf_image_string(l->image, PROF__DWARF_LINE_STR,
                                             prof__read_fixed(r, l->offset_size));
        return true;
    case DW_FORM_strp:
        *ret_text = prof__dwarf_image_string(l->image, PROF__DWARF_STR,
                                             prof__read_fixed(r, l->offset_size));
        return true;
    case DW_FORM_udata:
        *ret_number = prof__read_uleb(r);
        return true;
    case DW_FORM_data1:
        *ret_number = prof__read_fixed(r, 1);
        return true;
    case DW_FORM_data2:
        *ret_number = prof__read_fixed(r, 2);
        return true;
    case DW_FORM_data4:
        *ret_number = prof__read_fixed(r, 4);
        return true;
    case DW_FORM_data8:
        *ret_number = prof__read_fixed(r, 8);
        return true;
    case DW_FORM_data16: /* a checksum */
        prof__read_skip(r, 16);
        return true;
    case DW_FORM_block:
        prof__read_skip(r, prof__read_uleb(r));
        return true;
    default:
        return false;
    }
}

/* The format of entries and their count. */
static bool read_formats(struct prof__cursor *r, struct format *format, size_t *ret_n,
                         uint64_t *ret_entries)
{
    size_t n = prof__read_fixed(r, 1);

    if (n > FORMATS_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        format[i].content = prof__read_uleb(r);
        format[i].form = prof__read_uleb(r);
    }
    *ret_n = n;
    *ret_entries = prof__read_uleb(r);
    /* An entry has at least a byte. */
    return !r->bad && *ret_entries <= (n ? prof__read_left(r) : 0);
}

static bool read_entry(struct prof__dwarf_lines *l, struct prof__cursor *r,
                       const struct format *format, size_t n, struct prof__dwarf_file *ret_file)
{
    for (size_t i = 0; i < n; i++) {
        const char *text = NULL;
        uint64_t number = 0;

        if (!read_form(l, r, format[i].form, &text, &number))
            return false;
        if (format[i].content == DW_LNCT_path)
            ret_file->name = text;
        else if (format[i].content == DW_LNCT_directory_index)
            ret_file->dir = number;
    }
    return !r->bad;
}

static int read_files_5(struct prof__dwarf_lines *l, struct prof__cursor *r)
{
    struct format format[FORMATS_MAX];
    size_t n;
    uint64_t entries;

    if (!read_formats(r, format, &n, &entries))
        return -EINVAL;
    l->dir = prof__arena_array(l->arena, entries, sizeof(*l->dir));
    if (!l->dir)
        return -ENOMEM;
    for (; l->n_dirs < entries; l->n_dirs++) {
        struct prof__dwarf_file dir = { 0 };

        if (prof__late() || !read_entry(l, r, format, n, &dir))
            return -EINVAL;
        l->dir[l->n_dirs] = dir.name;
    }
    if (!read_formats(r, format, &n, &entries))
        return -EINVAL;
    l->file = prof__arena_array(l->arena, entries, sizeof(*l->file));
    if (!l->file)
        return -ENOMEM;
    for (; l->n_files < entries; l->n_files++)
        if (prof__late() || !read_entry(l, r, format, n, &l->file[l->n_files]))
            return -EINVAL;
    return 0;
}

/* Up to version 4: lists that end with an empty name, and numbers that start at 1, so that slot 0
 * stays empty. */
static int read_files_4(struct prof__dwarf_lines *l, struct prof__cursor *r)
{
    struct prof__cursor count = *r;
    size_t dirs = 1, files = 1;

    for (; *prof__read_string(&count); dirs++)
        ;
    for (; *prof__read_string(&count); files++)
        for (int i = 0; i < 3; i++)
            prof__read_uleb(&count);
    if (count.bad || prof__late_after(dirs + files))
        return -EINVAL;
    l->dir = prof__arena_array(l->arena, dirs, sizeof(*l->dir));
    l->file = prof__arena_array(l->arena, files, sizeof(*l->file));
    if (!l->dir || !l->file)
        return -ENOMEM;
    for (l->n_dirs = 1; l->n_dirs < dirs; l->n_dirs++)
        l->dir[l->n_dirs] = prof__read_string(r);
    prof__read_string(r);
    for (l->n_files = 1; l->n_files < files; l->n_files++) {
        l->file[l->n_files].name = prof__read_string(r);
        l->file[l->n_files].dir = prof__read_uleb(r);
        prof__read_uleb(r); /* time and length */
        prof__read_uleb(r);
    }
    return 0;
}

int prof__dwarf_lines_open(struct prof__dwarf_lines *l, struct prof__arena *a,
                           struct prof__arena *paths, struct prof__dwarf_image *im, uint64_t offset,
                           const char *comp_dir)
{
    const struct prof__dwarf_part *p = &im->part[PROF__DWARF_LINE];

    memset(l, 0, sizeof(*l));
    l->arena = a;
    l->paths = paths;
    l->image = im;
    l->comp_dir = comp_dir;
    if (offset >= p->size)
        return -EINVAL;
    prof__dwarf_image_need(im, PROF__DWARF_LINE, offset, 12);
    struct prof__cursor r = { (const uint8_t *)p->data + offset, (const uint8_t *)p->data + p->size,
                              false };
    uint64_t length = prof__read_length(&r, &l->offset_size);
    if (r.bad || length > prof__read_left(&r) || length > TABLE_MAX)
        return -EINVAL;
    r.end = r.at + length;
    prof__dwarf_image_need(im, PROF__DWARF_LINE, offset, 12 + length);

    l->version = (uint16_t)prof__read_fixed(&r, 2);
    if (l->version < 2 || l->version > 5)
        return -EINVAL;
    if (l->version >= 5)
        prof__read_skip(&r, 2); /* sizes of addresses and segment selectors */
    uint64_t header = prof__read_fixed(&r, l->offset_size);
    if (header > prof__read_left(&r))
        return -EINVAL;
    l->program = r.at + header;
    l->end = r.end;
    r.end = l->program;
    l->min_advance = (uint8_t)prof__read_fixed(&r, 1);
    if (l->version >= 4)
        prof__read_skip(&r, 1); /* operations an instruction */
    prof__read_skip(&r, 1);     /* whether rows start as statements */
    l->line_base = (int8_t)prof__read_fixed(&r, 1);
    l->line_range = (uint8_t)prof__read_fixed(&r, 1);
    l->opcode_base = (uint8_t)prof__read_fixed(&r, 1);
    l->operands = r.at;
    prof__read_skip(&r, l->opcode_base ? l->opcode_base - 1u : 0);
    if (r.bad || l->line_range == 0 || l->opcode_base == 0)
        return -EINVAL;
    return l->version >= 5 ? read_files_5(l, &r) : read_files_4(l, &r);
}

/* --- files ----------------------------------------------------------------------------------- */

static char *join(struct prof__arena *a, const char *dir, const char *name)
{
    size_t n_dir = strnlen(dir, PATH_PART_MAX), n_name = strnlen(name, PATH_PART_MAX);
    char *path = prof__arena_alloc(a, n_dir + n_name + 2);

    if (!path)
        return NULL;
    memcpy(path, dir, n_dir);
    if (n_dir == 0 || dir[n_dir - 1] != '/')
        path[n_dir++] = '/';
    memcpy(path + n_dir, name, n_name);
    return path;
}

/* Take the detours out: "build/../src/./a.c" is "src/a.c". Only the text is looked at, so what
 * links there are does not matter, on the machine it was compiled on. */
static void normalize(char *path)
{
    bool is_absolute = path[0] == '/';
    char *to = path + is_absolute, *start = to;
    const char *from = to;

    for (bool more = *from; more;) {
        size_t size = strcspn(from, "/");
        const char *next = from + size + 1;

        more = from[size] == '/' && *next;
        if (size == 0 || (size == 1 && from[0] == '.')) {
            /* here */
        } else if (size == 2 && from[0] == '.' && from[1] == '.' && to > start) {
            for (to--; to > start && to[-1] != '/'; to--) /* back behind the slash before */
                ;
        } else if (size == 2 && from[0] == '.' && from[1] == '.' && is_absolute) {
            /* the root's own */
        } else {
            memmove(to, from, size);
            to += size;
            *to++ = '/'; /* over what has been read, or the end */
            if (size == 2 && from[0] == '.' && from[1] == '.')
                start = to; /* of a relative path these stay */
        }
        from = next;
    }
    to -= to > path + is_absolute;
    *to = '\0';
}

const char *prof__dwarf_lines_file(struct prof__dwarf_lines *l, uint64_t file)
{
    if (file >= l->n_files || !l->file[file].name || !l->file[file].name[0])
        return NULL;
    struct prof__dwarf_file *f = &l->file[file];
    if (f->path)
        return f->path;
    const char *dir = f->dir < l->n_dirs ? l->dir[f->dir] : NULL;

    const char *path = f->name;
    if (path[0] != '/' && dir && dir[0])
        path = join(l->arena, dir, path);
    if (path && path[0] != '/' && l->comp_dir)
        path = join(l->arena, l->comp_dir, path);
    /* The image that names are in goes before the result does. */
    char *copy =
        path ? prof__arena_strndup(l->paths, path, strnlen(path, PATH_PART_MAX * 2)) : NULL;
    if (copy)
        normalize(copy);
    f->path = copy;
    return copy;
}

/* --- the program ----------------------------------------------------------------------------- */

struct run {
    struct prof__dwarf_pc *pc;
    size_t n;
    size_t next;  /* none before this lies at or after `low` */
    uint64_t low; /* where the last row began */
    size_t visits;
};

/* What one opcode does to both. */
struct advance {
    uint16_t address;
    int16_t line;
};

static size_t first_from(const struct prof__dwarf_pc *pc, size_t n, uint64_t address)
{
    size_t low = 0;

    while (low < n) {
        size_t mid = low + (n - low) / 2;

        if (pc[mid].address < address)
            low = mid + 1;
        else
            n = mid;
    }
    return low;
}

/* A row says: [low, high) is this line. Rows come in rising order, most of them beside anything
 * that is looked for. */
static void take_row(struct run *run, uint64_t low, uint64_t high, uint64_t file, uint64_t line)
{
    if (high <= low)
        return;
    if (low < run->low)
        run->next = 0;
    run->low = low;
    /* The next one or two are what it is about, but in a program that jumps. */
    for (int i = 0; i < 2 && run->next < run->n && run->pc[run->next].address < low; i++)
        run->next++;
    if (run->next < run->n && run->pc[run->next].address < low)
        run->next += first_from(run->pc + run->next, run->n - run->next, low);
    for (size_t i = run->next; i < run->n && run->pc[i].address < high; i++) {
        struct prof__dwarf_pc *pc = &run->pc[i];

        if (++run->visits > VISITS_MAX || prof__late())
            return;
        if (pc->has_row)
            continue;
        pc->has_row = true;
        pc->file = (uint32_t)PROF_MIN(file, (uint64_t)UINT32_MAX);
        pc->line = line > INT32_MAX ? 0 : (uint32_t)line;
    }
}

void prof__dwarf_lines_run(const struct prof__dwarf_lines *l, struct prof__dwarf_pc *pc, size_t n)
{
    struct prof__cursor r = { l->program, l->end, false };
    struct run run = { .pc = pc, .n = n };
    uint64_t address = 0, file = 1, line = 1;
    /* The row before, which lasts until the next; a sequence at 0 is one the linker dropped. */
    uint64_t from = 0, from_file = 0, from_line = 0;
    struct advance special[256]; /* by opcode: most are of this kind */

    for (unsigned i = l->opcode_base; i < 256; i++) {
        unsigned step = i - l->opcode_base;

        special[i].address = (uint16_t)(step / l->line_range * l->min_advance);
        special[i].line = (int16_t)(l->line_base + (int)(step % l->line_range));
    }
    while (r.at < r.end && !r.bad && run.visits <= VISITS_MAX && !prof__late()) {
        unsigned opcode = *r.at++;
        bool emit = false, end = false;

        if (opcode >= l->opcode_base) {
            address += special[opcode].address;
            line += (uint64_t)(int64_t)special[opcode].line;
            emit = true;
        } else {
            switch (opcode) {
            case 0: {
                uint64_t size = prof__read_uleb(&r);

                if (size == 0 || size > prof__read_left(&r))
                    return;
                const uint8_t *next = r.at + size;
                unsigned extended = *r.at++;

                if (extended == DW_LNE_end_sequence)
                    emit = end = true;
                else if (extended == DW_LNE_set_address && size - 1 <= 8)
                    address = prof__read_fixed(&r, size - 1);
                r.at = next;
                break;
            }
            case DW_LNS_copy:
                emit = true;
                break;
            case DW_LNS_advance_pc:
                address += prof__read_uleb(&r) * l->min_advance;
                break;
            case DW_LNS_advance_line:
                line += (uint64_t)prof__read_sleb(&r);
                break;
            case DW_LNS_set_file:
                file = prof__read_uleb(&r);
                break;
            case DW_LNS_const_add_pc:
                address += (uint64_t)((255u - l->opcode_base) / l->line_range) * l->min_advance;
                break;
            case DW_LNS_fixed_advance_pc:
                address += prof__read_fixed(&r, 2);
                break;
            default: /* also those that say nothing of file and line */
                for (unsigned i = l->operands[opcode - 1]; i > 0; i--)
                    prof__read_uleb(&r);
            }
        }
        if (!emit)
            continue;
        if (from)
            take_row(&run, from, address, from_file, from_line);
        from = address;
        from_file = file;
        from_line = line;
        if (end) {
            address = from = 0;
            file = line = 1;
        }
    }
}
