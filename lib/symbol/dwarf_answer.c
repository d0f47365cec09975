/*
 * dwarf_answer.c - what addr2line -i -f answers, for thousands of addresses at a time.
 *
 *   1. every unit's own ranges, past the sorted addresses: which units are touched
 *   2. each touched unit: one scan of its entries, which hangs every address below the innermost
 *      function that holds it; one run of its line program
 *   3. names, declaration lines and call sites of the functions found (dwarf_names.c)
 *
 * Functions form chains from the innermost inlined one out to the real one, and are shared by all
 * addresses in them. Subtrees in which nothing is looked for are passed by. Work on one unit is
 * forgotten before the next, so the largest unit bounds memory, not the sum of them.
 *
 * Of a unit that was split, the program has the addresses and lines, and another file the functions
 * (dwarf_split.c). Without that file there are no lines: they would be those of inlined functions,
 * shown for the function around them.
 *
 * libdw is not used: it takes memory from malloc without a bound and ends the process where there
 * is none, opens files of its own accord, and maps them.
 */
#include "symbol/dwarf_answer.h"

#include <errno.h>

#include "symbol/deadline.h"
#include "symbol/dwarf_codes.h"
#include "symbol/dwarf_lines.h"
#include "symbol/dwarf_names.h"
#include "symbol/dwarf_scan.h"
#include "symbol/dwarf_split.h"

enum {
    DEPTH_MAX = 512,       /* of nested entries; deeper ones are not looked into */
    INLINE_MAX = 128,      /* frames at one address */
    LOADED_MAX = 48 << 20, /* then the image is emptied between two units */
    UNITS_MAX = 1 << 20,
};

struct touched_unit {
    size_t unit;  /* index of its header */
    size_t n;     /* addresses in it */
    size_t first; /* place of its addresses in the array of all */
};

struct job {
    struct prof__arena *arena; /* for results */
    struct prof__arena work;   /* for one unit */
    struct prof__dwarf_debug main, alternate;
    bool has_alternate;
    struct prof__dwarf_split split;
    struct prof__query *query;
    size_t n;
    uint32_t *unit_of; /* by query: index in touched + 1 */
    struct touched_unit *touched;
    size_t n_touched, room;
};

/* The heads of all units. */
static int debug_open(struct job *j, struct prof__dwarf_debug *d, const struct prof__elf *e)
{
    struct prof__dwarf_unit u;
    size_t room = 0;
    int r = prof__dwarf_image_open(&d->image, j->arena, e, false);

    for (uint64_t at = 0; r == 0 && d->n_units < UNITS_MAX; at += u.size) {
        if (prof__dwarf_unit_at(&d->image, at, &u) < 0)
            break;
        if (prof__late())
            return -ETIME;
        if (d->n_units == room) {
            struct prof__dwarf_unit *more =
                prof__arena_array(j->arena, room ? room * 2 : 64, sizeof(*more));

            if (!more)
                return -ENOMEM;
            if (room)
                memcpy(more, d->unit, room * sizeof(*more));
            room = room ? room * 2 : 64;
            d->unit = more;
        }
        d->unit[d->n_units++] = u;
    }
    return r;
}

/* --- 1: which units are touched -------------------------------------------------------------- */

static int touch(struct job *j, size_t unit, size_t query)
{
    if (j->n_touched == 0 || j->touched[j->n_touched - 1].unit != unit) {
        if (j->n_touched == j->room) {
            size_t room = j->room ? j->room * 2 : 64;
            struct touched_unit *touched = prof__arena_array(j->arena, room, sizeof(*touched));

            if (!touched)
                return -ENOMEM;
            if (j->n_touched)
                memcpy(touched, j->touched, j->n_touched * sizeof(*touched));
            j->touched = touched;
            j->room = room;
        }
        j->touched[j->n_touched++] = (struct touched_unit) { .unit = unit };
    }
    j->touched[j->n_touched - 1].n++;
    j->unit_of[query] = (uint32_t)j->n_touched;
    return 0;
}

/* Code at 0 is what the linker dropped. */
static int touch_range(struct job *j, size_t unit, uint64_t low, uint64_t high)
{
    if (low == 0)
        return 0;
    for (size_t i = prof__query_from(j->query, j->n, low); i < j->n && j->query[i].address < high;
         i++) {
        if (prof__late())
            return -ETIME;
        if (j->unit_of[i])
            continue;
        int r = touch(j, unit, i);
        if (r < 0)
            return r;
    }
    return 0;
}

static int touch_units(struct job *j)
{
    for (size_t i = 0; i < j->main.n_units; i++) {
        struct prof__dwarf_unit u = j->main.unit[i];
        struct prof__dwarf_ranges ranges;
        struct prof__dwarf_entry own;
        uint64_t low, high;
        int r = 0;

        if (prof__late())
            return -ETIME;
        if ((u.type != DW_UT_compile && u.type != DW_UT_skeleton) ||
            prof__dwarf_unit_read_own(&u, &own) < 0)
            continue;
        prof__dwarf_ranges_of(&u, &own, &ranges);
        while (r == 0 && prof__dwarf_ranges_next(&ranges, &low, &high))
            r = prof__late() ? -ETIME : touch_range(j, i, low, high);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- 2: the functions and lines of one ------------------------------------------------------- */

/* The work on one unit. */
struct unit_work {
    struct job *job;
    const struct prof__dwarf_unit *unit; /* that has the functions */
    struct prof__dwarf_pc *pc;
    size_t n;
    struct prof__dwarf_function *functions; /* all that were made */
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
static int hang_range(struct unit_work *w, const struct prof__dwarf_step *e, uint64_t low,
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
            *f = prof__arena_alloc(&w->job->work, sizeof(**f));
            if (!*f)
                return -ENOMEM;
            (*f)->outer = outer;
            (*f)->entry = e->offset;
            (*f)->next = w->functions;
            w->functions = *f;
        }
        pc->function = *f;
        pc->function_size = high - low;
    }
    return 0;
}

static int hang(struct unit_work *w, const struct prof__dwarf_step *e,
                struct prof__dwarf_function *outer, struct prof__dwarf_function **ret_function)
{
    struct prof__dwarf_function *f = NULL;
    struct prof__dwarf_ranges ranges;
    struct prof__dwarf_entry entry;
    uint64_t low, high;
    int r = 0;

    if (e->has_bounds) {
        r = hang_range(w, e, e->low, e->high, outer, &f);
    } else if (e->has_code && prof__dwarf_entry_at(w->unit, e->offset, &entry)) {
        prof__dwarf_ranges_of(w->unit, &entry, &ranges);
        while (r == 0 && prof__dwarf_ranges_next(&ranges, &low, &high))
            r = prof__late() ? -ETIME : hang_range(w, e, low, high, outer, &f);
    }
    *ret_function = f;
    return r;
}

/* Entries in order, with the function that each depth is in; NULL: one that nobody asks for, whose
 * children are passed by if `quick`. */
static int hang_pass(struct unit_work *w, bool quick)
{
    struct prof__dwarf_function *in[DEPTH_MAX] = { NULL };
    struct prof__dwarf_scan scan;
    struct prof__dwarf_step e;
    size_t depth = 0;

    prof__dwarf_scan_start(&scan, w->unit, w->unit->first);
    while (prof__dwarf_scan_next(&scan, &e)) {
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
        if (e.has_children && !(quick && !f && prof__dwarf_scan_skip(&scan, &e)) &&
            ++depth < DEPTH_MAX)
            in[depth] = f;
        if (prof__late())
            return -ETIME;
    }
    return 0;
}

/* Functions within functions (of GNU C, Fortran, Ada) lie outside the bounds of the outer one, so
 * that the quick pass misses them: an address that has a symbol but no function shows that. */
static int hang_all(struct unit_work *w)
{
    int r = hang_pass(w, true);

    for (size_t i = 0; i < w->n && r == 0; i++)
        if (!w->pc[i].function && w->pc[i].query->symbol)
            return hang_pass(w, false);
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
static int write_lines(struct job *j, const struct prof__dwarf_pc *pc,
                       struct prof__dwarf_lines *lines, bool is_plain)
{
    const struct prof__dwarf_function *f = pc->function;
    size_t n = 1;

    if (!f && !pc->has_row)
        return 0;
    for (; f && f->outer; f = f->outer)
        n += n < INLINE_MAX;
    struct prof__line *line = prof__arena_array(j->arena, n, sizeof(*line));
    if (!line)
        return -ENOMEM;
    if (pc->has_row) {
        line[0].file = lines ? prof__dwarf_lines_file(lines, pc->file) : NULL;
        line[0].line = line[0].file ? pc->line : 0;
    }
    f = pc->function;
    for (size_t i = 0; f && i < n; i++, f = f->outer) {
        line[i].function = f->name;
        line[i].start_line = f->start_line;
        line[i].home = lines && f->decl_file ? prof__dwarf_lines_file(lines, f->decl_file) : NULL;
        if (!line[i].file)
            line[i].file = line[i].home;
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

static int work_functions(struct unit_work *w, struct prof__dwarf_unit *u,
                          const struct prof__dwarf_entry *own, const struct prof__dwarf_half *half)
{
    struct job *j = w->job;
    struct prof__dwarf_debug apart = { 0 };
    struct prof__dwarf_naming naming = {
        .arena = j->arena,
        .work = &j->work,
        .main = &j->main,
        .alternate = j->has_alternate ? &j->alternate : NULL,
        .unit = u,
    };

    if (half) { /* it refers to nothing but itself */
        naming.main = &apart;
        naming.alternate = NULL;
    }
    naming.counts_all = prof__dwarf_counts_all(prof__dwarf_string(
        u, naming.alternate ? &naming.alternate->image : NULL, own, PROF__AT_PRODUCER));
    w->unit = u;
    int r = hang_all(w);
    return r < 0 ? r : prof__dwarf_name(&naming, w->functions);
}

static int work_lines(struct unit_work *w, const struct prof__dwarf_unit *u,
                      const struct prof__dwarf_entry *own, bool is_plain)
{
    struct job *j = w->job;
    struct prof__dwarf_lines lines;
    bool has_lines = false;
    int r = 0;

    if (prof__dwarf_has(own, PROF__AT_STMT_LIST)) {
        const char *folder = prof__dwarf_string(u, j->has_alternate ? &j->alternate.image : NULL,
                                                own, PROF__AT_COMP_DIR);

        if (folder && !(folder = prof__arena_strdup(&j->work, folder)))
            return -ENOMEM;
        r = prof__dwarf_lines_open(&lines, &j->work, j->arena, &j->main.image,
                                   prof__dwarf_number(own, PROF__AT_STMT_LIST), folder);
        if (r == -ENOMEM)
            return r;
        has_lines = r == 0;
    }
    if (has_lines)
        prof__dwarf_lines_run(&lines, w->pc, w->n);
    r = 0;
    for (size_t i = 0; i < w->n && r == 0; i++)
        r = write_lines(j, &w->pc[i], has_lines ? &lines : NULL, is_plain);
    return r == 0 && prof__late() ? -ETIME : r; /* something may have been cut short */
}

static int work_unit(struct job *j, size_t unit, struct prof__dwarf_pc *pc, size_t n)
{
    struct unit_work w = { .job = j, .pc = pc, .n = n };
    struct prof__dwarf_unit u = j->main.unit[unit];
    struct prof__dwarf_half half;
    struct prof__dwarf_entry own;
    int r = prof__dwarf_unit_load(&u, &j->work);

    if (r == 0)
        r = prof__dwarf_unit_read_own(&u, &own);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    if (!prof__dwarf_is_skeleton(&u, &own)) {
        bool is_plain = is_plain_language(prof__dwarf_number(&own, PROF__AT_LANGUAGE));

        r = work_functions(&w, &u, &own, NULL);
        return r < 0 ? r : work_lines(&w, &u, &own, is_plain);
    }
    r = prof__dwarf_half_open(&half, &j->split, &j->work, &u, &own);
    if (r == 0) {
        bool is_plain = is_plain_language(prof__dwarf_number(&half.own, PROF__AT_LANGUAGE));

        r = work_functions(&w, &half.unit, &half.own, &half);
        if (r == 0)
            r = work_lines(&w, &u, &own, is_plain);
    }
    prof__dwarf_half_close(&half);
    return r == -ENOENT ? 0 : r;
}

/* --- all of it ------------------------------------------------------------------------------- */

static void trim(struct prof__dwarf_image *im)
{
    if (im->loaded_bytes > LOADED_MAX)
        prof__dwarf_image_drop(im);
}

static int work_units(struct job *j)
{
    struct prof__dwarf_pc *pc = prof__arena_array(j->arena, j->n, sizeof(*pc));
    size_t first = 0;

    if (!pc)
        return -ENOMEM;
    for (size_t i = 0; i < j->n_touched; i++) {
        j->touched[i].first = first;
        first += j->touched[i].n;
        j->touched[i].n = 0;
    }
    for (size_t i = 0; i < j->n; i++) { /* in order of address, unit by unit */
        if (!j->unit_of[i])
            continue;
        struct touched_unit *t = &j->touched[j->unit_of[i] - 1];
        pc[t->first + t->n++] =
            (struct prof__dwarf_pc) { .address = j->query[i].address, .query = &j->query[i] };
    }
    for (size_t i = 0; i < j->n_touched; i++) {
        const struct touched_unit *t = &j->touched[i];
        int r = -ETIME;

        if (!prof__late_now())
            r = work_unit(j, t->unit, &pc[t->first], t->n);
        prof__arena_free(&j->work);
        if (r == -ENOMEM)
            return r;
        if (r == -ETIME)
            for (size_t k = 0; k < t->n; k++)
                pc[t->first + k].query->unfinished = true;
        trim(&j->main.image);
        trim(&j->alternate.image);
        trim(&j->split.package_image);
    }
    return 0;
}

static int look_up(struct job *j, const struct prof__dwarf_source *s)
{
    int r = debug_open(j, &j->main, s->elf);

    if (r < 0)
        return r;
    if (s->alternate) {
        r = debug_open(j, &j->alternate, s->alternate);
        if (r == -ENOMEM || r == -ETIME)
            return r;
        j->has_alternate = r == 0;
    }
    j->unit_of = prof__arena_array(j->arena, j->n, sizeof(*j->unit_of));
    r = j->unit_of ? touch_units(j) : -ENOMEM;
    return r == 0 ? work_units(j) : r;
}

int prof__dwarf_answer(struct prof__dwarf_source *source, struct prof__arena *a,
                       int64_t deadline_ns, struct prof__query *q, size_t n)
{
    struct job j = {
        .arena = a,
        .split = { .arena = a, .home = &j.main.image, .file = source->file },
        .query = q,
        .n = n,
    };
    prof__deadline_set(deadline_ns);
    int r = look_up(&j, source);

    if (r == -ETIME) {
        for (size_t i = 0; i < n; i++)
            q[i].unfinished = true;
        r = 0;
    }
    source->n_missing = j.split.n_missing;
    source->missing = j.split.missing;
    prof__arena_free(&j.work);
    prof__dwarf_split_close(&j.split);
    prof__dwarf_image_close(&j.main.image);
    prof__dwarf_image_close(&j.alternate.image);
    return r;
}
