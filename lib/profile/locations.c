/*
 * locations.c - places become locations: functions with their lines, or what is said instead.
 *
 * Memory: the request's arena, proportional to what is shown.
 */
#include "profile/locations.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "base/path.h"
#include "encode/mycode.h"
#include "unwind/stack.h"

static const char *const pseudo_name[] = {
    [PROF__PC_LOST - PROF__PC_LOST] = "[lost: table full]",
    [PROF__PC_TRUNCATED - PROF__PC_LOST] = "[truncated: stack too deep]",
    [PROF__PC_NO_INFO - PROF__PC_LOST] = "[no unwind info]",
    [PROF__PC_UNREADABLE - PROF__PC_LOST] = "[unreadable stack]",
    [PROF__PC_OTHER - PROF__PC_LOST] = "[other: below the export limit]",
    [PROF__PC_SKIPPED - PROF__PC_LOST] = "[skip past the end of the stack]",
    [PROF__PC_PROFILER - PROF__PC_LOST] = "[libprof at work]",
    [PROF__PC_NO_ANSWER - PROF__PC_LOST] = "[no answer]",
    [PROF__PC_NO_STACK - PROF__PC_LOST] = "[no stack]",
    [PROF__PC_ENDED - PROF__PC_LOST] = "[thread ended before its sample]",
    [PROF__PC_FOREIGN - PROF__PC_LOST] = "[thread not made by libc]",
    [PROF__PC_BLOCKED - PROF__PC_LOST] = "[thread blocks SIGPROF]",
    [PROF__PC_NO_TIMER - PROF__PC_LOST] = "[thread without a timer]",
    [PROF__PC_UNSEEN - PROF__PC_LOST] = "[threads too brief to be seen]",
    [PROF__PC_MAPPED_HEAP - PROF__PC_LOST] = "[heap of libc's malloc]",
    [PROF__PC_MAPPED_LIBC - PROF__PC_LOST] = "[stacks, libc's malloc and others, mapped unseen]",
    [PROF__PC_MAPPED_FILES - PROF__PC_LOST] = "[program, libraries and files, mapped unseen]",
};

static_assert(ARRAY_LEN(pseudo_name) == PROF__PC_PSEUDO_END - PROF__PC_LOST, "each has a name");

const char *prof__pseudo_name(uint64_t pc)
{
    return pseudo_name[pc - PROF__PC_LOST];
}

struct naming {
    const struct prof_profile *profile;
    const struct prof__report_options *options;
    struct prof__arena *arena;
    struct prof__places *places;
    struct prof__comments *comments;
    struct prof__namer *namer; /* once it is needed */
    struct prof__symbol_notes notes;
};

static int one_line(struct prof__arena *a, const char *function, struct prof__location *ret)
{
    struct prof__line *line = prof__arena_alloc(a, sizeof(*line));

    if (!line || !function)
        return -ENOMEM;
    line->function = line->name = function;
    ret->line = line;
    ret->n_lines = 1;
    return 0;
}

/* A frame nobody can name still tells where it is: some readers drop frames without a function.
 * Where it is known, that is the start of the function, so that all its frames are one. It counts
 * as no name: who has the file can find the right one, and pprof goes looking. */
static int name_unknown(struct naming *b, const struct prof__place *p,
                        struct prof__report_mapping *mapping, struct prof__location *ret)
{
    const struct prof__module *m = p->module;
    uint64_t start = 0;

    if (!m) { /* a pseudo frame, or nobody knows better */
        mapping->has_functions = true;
        return one_line(b->arena,
                        prof__pc_is_pseudo(p->pc)
                            ? prof__pseudo_name(p->pc)
                            : prof__arena_printf(b->arena, "0x%lx", (unsigned long)p->pc),
                        ret);
    }
    ret->is_nameless = true;
    /* Code that was made at run time, in a memfd or an image of a language's own: no reader's tools
     * find more in such a file, and pprof would only warn that it cannot be read. */
    mapping->has_functions |= !m->is_elf;
    if (m->is_elf && !m->gone)
        start = prof__stack_function_start(p->pc);
    if (start < m->start || start > p->pc)
        start = p->pc;
    uint64_t address = m->is_elf ? start - m->bias : start - m->start + m->offset;
    return one_line(
        b->arena,
        prof__arena_printf(b->arena, "%s+0x%lx", prof__base_name(m->path), (unsigned long)address),
        ret);
}

/* The name to show, where it is not the short one. */
static const char *shown_name(struct naming *b, const struct prof__line *line)
{
    if (b->options->names == PROF__NAMES_SHORT)
        return line->name;
    if (b->options->names == PROF__NAMES_RAW)
        return line->function;
    if (!b->namer && !(b->namer = prof__namer_new(b->arena)))
        return NULL;
    const char *name = prof__namer_show(b->namer, line->function, b->options->names);
    return name == line->function ? name : prof__arena_strdup(b->arena, name);
}

/* The doors of an allocator that call its other doors, by their linkage names: operator new in all
 * its forms, and functions of libc's that are hooked at a deeper level. */
static bool is_allocator_name(const char *name)
{
    static const char *const doors[] = {
        "aligned_alloc", "calloc",  "malloc",       "memalign", "posix_memalign",
        "pvalloc",       "realloc", "reallocarray", "valloc",
    };

    if (strncmp(name, "_Znw", 4) == 0 || strncmp(name, "_Zna", 4) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(doors); i++)
        if (strcmp(name, doors[i]) == 0)
            return true;
    return false;
}

static int name_known(struct naming *b, const struct prof__symbols *symbols,
                      struct prof__report_mapping *mapping, struct prof__location *ret)
{
    struct prof__line *line = prof__arena_array(b->arena, symbols->n, sizeof(*line));

    if (!line)
        return -ENOMEM;
    memcpy(line, symbols->line, symbols->n * sizeof(*line));
    ret->own_line = (uint32_t)symbols->n;
    if (!mapping->is_elf)
        mapping->file = "[jit]"; /* only code made at run time has names without a file's */
    for (uint32_t i = 0; i < symbols->n; i++) {
        if (!line[i].function)
            line[i].function = line[i].name = "??";
        struct prof__frame frame = { line[i].name, line[i].file, mapping->file,
                                     mapping->is_program };
        if (b->options->own_lines && ret->own_line == symbols->n && prof__is_my_code(&frame))
            ret->own_line = i;
        line[i].name = shown_name(b, &line[i]);
        if (!line[i].name)
            return -ENOMEM;
        mapping->has_functions = true;
        mapping->has_filenames |= line[i].file != NULL;
        mapping->has_line_numbers |= line[i].line != 0;
    }
    /* Files come from DWARF, which also tells about inlining. */
    mapping->has_inline_frames = mapping->has_filenames;
    ret->line = line;
    ret->n_lines = (uint32_t)symbols->n;
    /* Inlined into who asked for the memory, as calloc is in the dynamic linker. */
    while (b->profile->has_sizes && ret->n_lines > 1 && is_allocator_name(ret->line[0].function)) {
        ret->line++;
        ret->n_lines--;
        ret->own_line -= ret->own_line > 0;
    }
    return 0;
}

/* What stands in the way of better names, and what would help. */
static void comment_on_names(const struct naming *b)
{
    for (size_t i = 0; i < b->notes.n; i++) {
        const struct prof__symbol_note *note = &b->notes.note[i];
        const struct prof__report_mapping *m =
            &b->places
                 ->mapping[b->places->mapping_of_module[note->module - b->places->modules.module]];
        const char *text = note->unread;

        if (!text && note->wanted && !m->has_functions)
            text = prof__arena_printf(
                b->arena,
                "functions of %s have no names: it is stripped; they come with %s, or by "
                "go tool pprof UNSTRIPPED-FILE and this profile",
                prof__base_name(m->file), note->wanted);
        if (text)
            prof__comment(b->comments, text);
    }
}

/* What the symbolizer says of each place; NULL: it is not to be asked. */
static int look_up(struct naming *b, const struct prof__symbols **ret_symbols)
{
    size_t n = b->places->n;
    struct prof__code_address *asked = prof__arena_array(b->arena, n + 1, sizeof(*asked));
    struct prof__symbols *symbols = prof__arena_array(b->arena, n + 1, sizeof(*symbols));

    if (!asked || !symbols)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        asked[i] =
            (struct prof__code_address) { b->places->place[i].module, b->places->place[i].pc };
    int r = prof__symbolize_until(b->arena, asked, n, 0, symbols, &b->notes);
    if (r > 0)
        prof__comment(b->comments, "names or lines are missing, since looking them up took too "
                                   "long; the next profile has more of them");
    *ret_symbols = symbols;
    return PROF_MIN(r, 0);
}

/* An address in two eras of which nothing is known is one location. Returns that of `address`, new
 * ones with nothing but the address. */
static uint32_t number(struct prof__places *p, uint64_t address, struct prof__location *location,
                       uint32_t *made)
{
    size_t at = prof__hash(address) & (p->n_slots - 1);

    while (p->slot[at] && location[p->slot[at] - 1].address != address)
        at = (at + 1) & (p->n_slots - 1);
    if (!p->slot[at]) {
        p->slot[at] = ++*made;
        location[*made - 1].address = address;
    }
    return p->slot[at];
}

static int make(struct naming *b, struct prof__location *location, uint32_t *ret_made)
{
    struct prof__places *places = b->places;
    const struct prof__symbols *symbols = NULL;
    uint32_t made = 0;
    int r = b->options->no_symbols ? 0 : look_up(b, &symbols);

    memset(places->slot, 0, places->n_slots * sizeof(*places->slot));
    for (size_t i = 0; i < places->n && r == 0; i++) {
        struct prof__place *p = &places->place[i];
        uint32_t m = prof__places_mapping(places, p), before = made;
        struct prof__report_mapping *mapping = &places->mapping[m];
        uint64_t address = p->pc + (p->module ? mapping->start - p->module->start : 0);

        p->location = number(places, address, location, &made);
        if (made == before)
            continue;
        struct prof__location *out = &location[made - 1];
        out->mapping = m;
        if (symbols && symbols[i].n)
            r = name_known(b, &symbols[i], mapping, out);
        else if (!b->options->no_symbols || prof__pc_is_pseudo(p->pc))
            r = name_unknown(b, p, mapping, out);
    }
    *ret_made = made;
    return r;
}

int prof__locations_make(struct prof__places *p, const struct prof_profile *profile,
                         const struct prof__report_options *o, struct prof__comments *comments,
                         struct prof__report *ret_report)
{
    struct naming b = {
        .profile = profile, .options = o, .arena = p->arena, .places = p, .comments = comments
    };
    struct prof__location *location = prof__arena_array(b.arena, p->n + 1, sizeof(*location));
    uint32_t made = 0;
    int r = location ? make(&b, location, &made) : -ENOMEM;

    if (r < 0)
        return r;
    ret_report->location = location;
    ret_report->n_locations = made;
    ret_report->has_own_lines = o->own_lines;
    comment_on_names(&b);
    return 0;
}

bool prof__location_is_allocator(const struct prof__location *l)
{
    for (uint32_t i = 0; i < l->n_lines; i++)
        if (!is_allocator_name(l->line[i].function))
            return false;
    return l->n_lines > 0;
}
