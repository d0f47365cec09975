/*
 * dwarf_lookup.c - what addr2line -i -f answers, for thousands of addresses at a time.
 *
 *   1. every unit's own ranges, past the sorted addresses: which units are touched
 *   2. each touched unit: one scan of its entries, which hangs every address below the innermost
 *      function that holds it; one run of its line program
 *   3. names, declaration lines and call sites of the functions found, through libdw
 *
 * Functions form chains from the innermost inlined one out to the real one, and are shared by all
 * addresses in them. Subtrees in which nothing is looked for are passed by. Work on one unit is
 * forgotten before the next, so the largest unit bounds memory, not the sum of them.
 *
 * Out of memory, libdw ends the process, or crashes. So it is entered only when the kernel has just
 * shown that there is some; and should other threads take that meanwhile, its handler for this case
 * jumps out of it, and its handle is given up.
 */
#include "symbol/dwarf_lookup.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <libelf.h>
#include <setjmp.h>
#include <stdlib.h>

#include "symbol/deadline.h"
#include "symbol/dwarf_image.h"
#include "symbol/dwarf_lines.h"
#include "symbol/dwarf_scan.h"

enum {
    DEPTH_MAX = 512,  /* of nested entries; deeper ones are not looked into */
    INLINE_MAX = 128, /* frames at one address */
    ORIGINS_MAX = 16, /* hops from an entry to the one that has its name */
    NAME_MAX_BYTES = 1 << 14,
    UNIT_HEAD = 8192,      /* as dwarf_scan.c reads it */
    ENTRY_BYTES = 4096,    /* that hold any one entry */
    HEADROOM = 16 << 20,   /* bytes that libdw may take before we ask again, and more */
    UNITS_A_LOOK = 64,     /* whose heads it reads between two looks */
    LOADED_MAX = 48 << 20, /* then the image is emptied between two units */
    UNITS_MAX = 1 << 20,
};

/* A function or an inlined one, with at least one of the addresses in it. */
struct prof__dwarf_function {
    struct prof__dwarf_function *outer; /* the one it is inlined into; NULL: it is real */
    uint64_t entry;                     /* offset */
    bool named;
    bool is_linkage; /* `name` is what the linker knows */
    const char *name;
    uint32_t start_line, call_line;
    uint64_t call_file;
};

/* An image and libdw's handles on it. */
struct debug {
    struct prof__dwarf_image image;
    Elf *elf;
    Dwarf *dwarf;
};

struct touched_unit {
    uint64_t offset;
    size_t n;     /* addresses in it */
    size_t first; /* place of its addresses in the array of all */
};

struct lookup {
    struct prof__arena *arena; /* for results */
    struct prof__arena work;   /* for one unit */
    struct debug main, alternate;
    struct prof__query *query;
    size_t n;
    uint32_t *unit_of; /* by query: index in unit + 1 */
    struct touched_unit *unit;
    size_t n_units, room;
};

/* --- libdw ----------------------------------------------------------------------------------- */

/* Will the kernel give libdw what it may ask for? */
static bool has_headroom(void)
{
    void *p = prof__pages_map(HEADROOM);

    prof__pages_unmap(p, HEADROOM);
    return p != NULL;
}

/* Where to, out of libdw. One thread at a time is in there (symbolize.c). */
static jmp_buf out_of_libdw;

static void __attribute__((noreturn)) out_of_memory(void)
{
    longjmp(out_of_libdw, 1);
}

static int debug_open(struct debug *d, struct prof__arena *a, const struct prof__elf *e)
{
    struct prof__dwarf_unit unit;
    int r = prof__dwarf_image_open(&d->image, a, e);

    if (r < 0)
        return r;
    /* libdw reads the start of every unit on its way to any. */
    uint64_t at = 0;
    for (int i = 0; i < UNITS_MAX && prof__dwarf_unit_at(&d->image, at, &unit) == 0; i++) {
        at += unit.size;
        if (prof__late())
            return -ETIME;
    }
    if (!has_headroom())
        return -ENOMEM;
    elf_version(EV_CURRENT);
    d->elf = elf_memory(d->image.base, d->image.size);
    d->dwarf = d->elf ? dwarf_begin_elf(d->elf, DWARF_C_READ, NULL) : NULL;
    if (!d->dwarf)
        return -ENOENT;
    dwarf_new_oom_handler(d->dwarf, out_of_memory);
    return 0;
}

static void debug_close(struct debug *d)
{
    if (d->dwarf)
        dwarf_end(d->dwarf);
    if (d->elf)
        elf_end(d->elf);
    prof__dwarf_image_close(&d->image);
}

/* Before looking at an entry that came from a reference: read it, and its unit's own, which
 * has the bases of its indexes. */
static void need_entry(struct lookup *l, Dwarf_Die *die)
{
    const char *at = die->addr;
    struct debug *d = at >= l->main.image.base && at < l->main.image.base + l->main.image.size
                          ? &l->main
                          : &l->alternate;
    Dwarf_Die unit;

    prof__dwarf_image_need(&d->image, PROF__DWARF_INFO, dwarf_dieoffset(die), ENTRY_BYTES);
    if (dwarf_diecu(die, &unit, NULL, NULL))
        prof__dwarf_image_need(&d->image, PROF__DWARF_INFO, dwarf_dieoffset(&unit), UNIT_HEAD);
}

/* A string attribute, copied, since the image may be emptied; NULL: there is none. */
static const char *string_of(struct lookup *l, Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attr;
    const char *text = dwarf_attr(die, name, &attr) ? dwarf_formstring(&attr) : NULL;

    if (!text)
        return NULL;
    const char *read = prof__dwarf_image_string(&l->main.image, text);
    if (!read && l->alternate.dwarf)
        read = prof__dwarf_image_string(&l->alternate.image, text);
    return read && *read ? prof__arena_strndup(l->arena, read, strnlen(read, NAME_MAX_BYTES))
                         : NULL;
}

static uint64_t number_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attr;
    Dwarf_Word value;

    return dwarf_attr(die, name, &attr) && dwarf_formudata(&attr, &value) == 0 ? value : 0;
}

/* An inlined entry has its name in its abstract origin, a method's definition in the
 * declaration inside its class. The name for the linker wins over that in the source. */
static void name_function(struct lookup *l, struct prof__dwarf_function *f)
{
    Dwarf_Die die;

    if (f->named)
        return;
    f->named = true;
    if (!dwarf_offdie(l->main.dwarf, f->entry, &die))
        return;
    f->call_file = number_of(&die, DW_AT_call_file);
    f->call_line = (uint32_t)number_of(&die, DW_AT_call_line);
    for (int hops = 0; hops < ORIGINS_MAX; hops++) {
        Dwarf_Attribute attr;

        const char *linkage = string_of(l, &die, DW_AT_linkage_name);
        if (!linkage)
            linkage = string_of(l, &die, DW_AT_MIPS_linkage_name);
        if (!f->name)
            f->name = string_of(l, &die, DW_AT_name);
        if (!f->start_line)
            f->start_line = (uint32_t)number_of(&die, DW_AT_decl_line);
        if (linkage) {
            f->name = linkage;
            f->is_linkage = true;
            return;
        }
        if (!dwarf_attr(&die, DW_AT_abstract_origin, &attr) &&
            !dwarf_attr(&die, DW_AT_specification, &attr))
            return;
        if (!dwarf_formref_die(&attr, &die))
            return;
        need_entry(l, &die);
    }
}

/* --- 1: which units are touched -------------------------------------------------------------- */

static int touch(struct lookup *l, uint64_t offset, size_t query)
{
    if (l->n_units == 0 || l->unit[l->n_units - 1].offset != offset) {
        if (l->n_units == l->room) {
            size_t room = l->room ? l->room * 2 : 64;
            struct touched_unit *unit = prof__arena_array(l->arena, room, sizeof(*unit));

            if (!unit)
                return -ENOMEM;
            if (l->n_units)
                memcpy(unit, l->unit, l->n_units * sizeof(*unit));
            l->unit = unit;
            l->room = room;
        }
        l->unit[l->n_units++] = (struct touched_unit) { .offset = offset };
    }
    l->unit[l->n_units - 1].n++;
    l->unit_of[query] = (uint32_t)l->n_units;
    return 0;
}

/* Code at 0 is what the linker dropped. */
static int touch_range(struct lookup *l, uint64_t offset, uint64_t low, uint64_t high)
{
    if (low == 0)
        return 0;
    for (size_t i = prof__query_from(l->query, l->n, low); i < l->n && l->query[i].address < high;
         i++) {
        if (prof__late())
            return -ETIME;
        if (l->unit_of[i])
            continue;
        int r = touch(l, offset, i);
        if (r < 0)
            return r;
    }
    return 0;
}

static int touch_units(struct lookup *l)
{
    Dwarf_CU *unit = NULL;
    Dwarf_Die die;
    uint8_t type;

    for (size_t i = 0; dwarf_get_units(l->main.dwarf, unit, &unit, NULL, &type, &die, NULL) == 0;
         i++) {
        Dwarf_Addr base, low, high;
        ptrdiff_t at = 0;

        if (i % UNITS_A_LOOK == 0 && !has_headroom())
            return -ENOMEM;
        if (type != DW_UT_compile && type != DW_UT_skeleton)
            continue;
        while ((at = dwarf_ranges(&die, at, &base, &low, &high)) > 0) {
            int r = prof__late() ? -ETIME : touch_range(l, dwarf_dieoffset(&die), low, high);

            if (r < 0)
                return r;
        }
        if (prof__late())
            return -ETIME;
    }
    return 0;
}

/* --- 2: the functions and lines of one ------------------------------------------------------- */

/* The work on one unit. */
struct unit_work {
    struct lookup *lookup;
    struct prof__dwarf_pc *pc;
    size_t n;
};

static size_t first_from(const struct unit_work *w, uint64_t address)
{
    size_t low = 0, n = w->n;

    while (low < n) {
        size_t mid = low + (n - low) / 2;

        if (w->pc[mid].address < address)
            low = mid + 1;
        else
            n = mid;
    }
    return low;
}

/* Hang the addresses of [low, high) below `*f`, which is made when there is one. A real function
 * takes them unless a smaller one has; an inlined one only from the function it is inlined into. */
static int hang_range(struct unit_work *w, const struct prof__dwarf_entry *e, uint64_t low,
                      uint64_t high, struct prof__dwarf_function *outer,
                      struct prof__dwarf_function **f)
{
    if (low == 0)
        return 0;
    for (size_t i = first_from(w, low); i < w->n && w->pc[i].address < high; i++) {
        struct prof__dwarf_pc *pc = &w->pc[i];

        if (prof__late())
            return -ETIME;
        if (outer ? pc->function != outer : pc->function && pc->function_size <= high - low)
            continue;
        if (!*f) {
            *f = prof__arena_alloc(&w->lookup->work, sizeof(**f));
            if (!*f)
                return -ENOMEM;
            (*f)->outer = outer;
            (*f)->entry = e->offset;
        }
        pc->function = *f;
        pc->function_size = high - low;
    }
    return 0;
}

static int hang(struct unit_work *w, const struct prof__dwarf_entry *e,
                struct prof__dwarf_function *outer, struct prof__dwarf_function **ret_function)
{
    struct prof__dwarf_function *f = NULL;
    Dwarf_Addr base, low, high;
    ptrdiff_t at = 0;
    Dwarf_Die die;
    int r = 0;

    if (e->has_bounds)
        r = hang_range(w, e, e->low, e->high, outer, &f);
    else if (e->has_code && dwarf_offdie(w->lookup->main.dwarf, e->offset, &die))
        while (r == 0 && (at = dwarf_ranges(&die, at, &base, &low, &high)) > 0)
            r = prof__late() ? -ETIME : hang_range(w, e, low, high, outer, &f);
    *ret_function = f;
    return r;
}

/* Entries in order, with the function that each depth is in; NULL: one that nobody asks for, whose
 * children are passed by if `quick`. */
static int hang_pass(struct unit_work *w, struct prof__dwarf_scan *s, bool quick)
{
    struct prof__dwarf_function *in[DEPTH_MAX] = { NULL };
    struct prof__dwarf_entry e;
    size_t depth = 0;

    while (prof__dwarf_scan_next(s, &e)) {
        struct prof__dwarf_function *outer = depth < DEPTH_MAX ? in[depth] : NULL;
        struct prof__dwarf_function *f = outer;
        int r = 0;

        if (e.tag == 0) {
            if (depth <= 1)
                break;
            depth--;
            continue;
        }
        if (e.tag == DW_TAG_subprogram)
            r = hang(w, &e, NULL, &f);
        else if (e.tag == DW_TAG_inlined_subroutine && outer)
            r = hang(w, &e, outer, &f);
        if (r < 0)
            return r;
        if (!e.has_children && depth == 0)
            break; /* a unit with nothing in it */
        if (e.has_children && !(quick && !f && prof__dwarf_scan_skip(s, &e)) && ++depth < DEPTH_MAX)
            in[depth] = f;
        if (prof__late())
            return -ETIME;
    }
    return 0;
}

/* Functions within functions (of GNU C, Fortran, Ada) lie outside the bounds of the outer one, so
 * that the quick pass misses them: an address that has a symbol but no function shows that. */
static int hang_all(struct unit_work *w, const struct prof__dwarf_scan *start)
{
    struct prof__dwarf_scan scan = *start;
    int r = hang_pass(w, &scan, true);

    for (size_t i = 0; i < w->n && r == 0; i++) {
        if (w->pc[i].function || !w->pc[i].query->symbol)
            continue;
        scan = *start;
        return hang_pass(w, &scan, false);
    }
    return r;
}

/* Does the linker know functions of this language by their names in the source? */
static bool is_plain_language(uint64_t language)
{
    switch (language) {
    case DW_LANG_C:
    case DW_LANG_C89:
    case DW_LANG_C99:
    case DW_LANG_C11:
    case DW_LANG_UPC:
    case DW_LANG_Ada83:
    case DW_LANG_Cobol74:
    case DW_LANG_Cobol85:
    case DW_LANG_Fortran77:
    case DW_LANG_Pascal83:
    case DW_LANG_PLI:
    case DW_LANG_Mips_Assembler:
        return true;
    default:
        return false;
    }
}

/* The lines of one address, innermost first: where it is, then from where each was called. */
static int write_lines(struct lookup *l, const struct prof__dwarf_pc *pc,
                       struct prof__dwarf_lines *lines, bool is_plain)
{
    size_t n = 1;

    if (!pc->function && !pc->has_row)
        return 0;
    for (const struct prof__dwarf_function *f = pc->function; f && f->outer; f = f->outer)
        n += n < INLINE_MAX;
    struct prof__line *line = prof__arena_array(l->arena, n, sizeof(*line));
    if (!line)
        return -ENOMEM;
    if (pc->has_row) {
        line[0].file = lines ? prof__dwarf_lines_file(lines, pc->file) : NULL;
        line[0].line = line[0].file ? pc->line : 0;
    }
    struct prof__dwarf_function *f = pc->function;
    for (size_t i = 0; f && i < n; i++, f = f->outer) {
        name_function(l, f);
        line[i].function = f->name;
        line[i].start_line = f->start_line;
        if (i + 1 < n) {
            line[i + 1].file = lines ? prof__dwarf_lines_file(lines, f->call_file) : NULL;
            line[i + 1].line = line[i + 1].file ? f->call_line : 0;
        } else {
            pc->query->prefer_symbol = !is_plain && !f->is_linkage;
        }
    }
    pc->query->line = line;
    pc->query->n_lines = n;
    return 0;
}

static int work_unit(struct lookup *l, uint64_t offset, struct prof__dwarf_pc *pc, size_t n)
{
    struct unit_work w = { .lookup = l, .pc = pc, .n = n };
    struct prof__dwarf_unit unit;
    struct prof__dwarf_scan scan;
    struct prof__dwarf_lines lines;
    Dwarf_Attribute attr;
    Dwarf_Word line_offset;
    bool has_lines = false;
    Dwarf_Off header;
    Dwarf_Die die;
    int r;

    if (!dwarf_offdie(l->main.dwarf, offset, &die))
        return 0;
    header = offset - dwarf_cuoffset(&die);
    if (prof__dwarf_unit_at(&l->main.image, header, &unit) < 0)
        return 0;
    r = prof__dwarf_scan_start(&scan, &l->work, &l->main.image, &unit);
    if (r == 0)
        r = hang_all(&w, &scan);
    if (r == -ENOMEM || r == -ETIME)
        return r;

    if (dwarf_attr(&die, DW_AT_stmt_list, &attr) && dwarf_formudata(&attr, &line_offset) == 0) {
        r = prof__dwarf_lines_open(&lines, &l->work, l->arena, &l->main.image, line_offset,
                                   string_of(l, &die, DW_AT_comp_dir));
        if (r == -ENOMEM)
            return r;
        has_lines = r == 0;
    }
    if (has_lines)
        prof__dwarf_lines_run(&lines, pc, n);
    bool is_plain = is_plain_language(number_of(&die, DW_AT_language));
    for (size_t i = 0; i < n; i++) {
        r = write_lines(l, &pc[i], has_lines ? &lines : NULL, is_plain);
        if (r < 0)
            return r;
    }
    return prof__late() ? -ETIME : 0; /* something may have been cut short */
}

/* --- all of it ------------------------------------------------------------------------------- */

static int work_units(struct lookup *l)
{
    struct prof__dwarf_pc *pc = prof__arena_array(l->arena, l->n, sizeof(*pc));
    size_t first = 0;

    if (!pc)
        return -ENOMEM;
    for (size_t i = 0; i < l->n_units; i++) {
        l->unit[i].first = first;
        first += l->unit[i].n;
        l->unit[i].n = 0;
    }
    for (size_t i = 0; i < l->n; i++) { /* in order of address, unit by unit */
        if (!l->unit_of[i])
            continue;
        struct touched_unit *u = &l->unit[l->unit_of[i] - 1];
        pc[u->first + u->n++] =
            (struct prof__dwarf_pc) { .address = l->query[i].address, .query = &l->query[i] };
    }
    for (size_t i = 0; i < l->n_units; i++) {
        const struct touched_unit *u = &l->unit[i];
        int r = -ETIME;

        if (!has_headroom())
            return -ENOMEM;
        if (!prof__late_now())
            r = work_unit(l, u->offset, &pc[u->first], u->n);
        prof__arena_free(&l->work);
        if (r == -ENOMEM)
            return r;
        if (r == -ETIME)
            for (size_t j = 0; j < u->n; j++)
                pc[u->first + j].query->unfinished = true;
        if (l->main.image.loaded_bytes > LOADED_MAX)
            prof__dwarf_image_drop(&l->main.image);
        if (l->alternate.dwarf && l->alternate.image.loaded_bytes > LOADED_MAX)
            prof__dwarf_image_drop(&l->alternate.image);
    }
    return 0;
}

static int look_up(struct lookup *l, const struct prof__elf *e, const struct prof__elf *alternate)
{
    int r = debug_open(&l->main, l->arena, e);

    if (r < 0)
        return r;
    if (alternate && debug_open(&l->alternate, l->arena, alternate) == 0)
        dwarf_setalt(l->main.dwarf, l->alternate.dwarf);
    l->unit_of = prof__arena_array(l->arena, l->n, sizeof(*l->unit_of));
    r = l->unit_of ? touch_units(l) : -ENOMEM;
    return r == 0 ? work_units(l) : r;
}

int prof__dwarf_lookup(const struct prof__elf *e, const struct prof__elf *alternate,
                       struct prof__arena *a, int64_t deadline_ns, struct prof__query *q, size_t n)
{
    struct lookup l = { .arena = a, .query = q, .n = n };
    int r;

    prof__deadline_set(deadline_ns);
    if (setjmp(out_of_libdw) == 0) {
        r = look_up(&l, e, alternate);
    } else {
        r = -ENOMEM;
        l.main.dwarf = l.alternate.dwarf = NULL; /* in no state to be ended */
        l.main.elf = l.alternate.elf = NULL;
    }
    if (r == -ETIME) {
        for (size_t i = 0; i < n; i++)
            q[i].unfinished = true;
        r = 0;
    }
    prof__arena_free(&l.work);
    debug_close(&l.main);
    debug_close(&l.alternate);
    return r;
}
