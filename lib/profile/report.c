/*
 * report.c - from ids and bare addresses to a report that only has to be laid out.
 *
 *   samples -> distinct marked address -> module -> symbols -> locations -> samples again
 *
 * An address means the object whose era it is marked with (table/eras.h). Should two
 * objects have had the same place one after the other, the one that is gone is shown moved to free
 * addresses, so that an address is unique in a profile; file offsets stay true.
 *
 * Memory: the request's arena, proportional to what is shown.
 */
#include "profile/report.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "base/optional.h"
#include "base/path.h"
#include "encode/mycode.h"
#include "symbol/modules.h"
#include "table/eras.h"
#include "table/labels.h"
#include "unwind/stack.h"

/* Where objects that lost their place to another are shown: above every user address. */
#define MOVED_BASE ((uint64_t)1 << 48)
#define MOVED_STEP ((uint64_t)1 << 36)

enum { PLACES_FIRST = 256 };

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
};

static_assert(ARRAY_LEN(pseudo_name) == PROF__PC_PSEUDO_END - PROF__PC_LOST, "each has a name");

enum { COMMENTS_MAX = 24, COMMENTS_OF_STATUS = 14 };

struct place {                         /* a distinct address of an era */
    uint64_t marked, pc;               /* with the era, and without */
    uint32_t location;                 /* index of its location, 1-based; 0: not made yet */
    const struct prof__module *module; /* NULL: none known, or a pseudo frame */
};

struct key {
    uint32_t labels;
    uint64_t size;
    const char *kind; /* a constant */
    bool has_age;
    int64_t age_s;
};

struct builder {
    const struct prof_profile *profile;
    const struct prof__report_options *options;
    struct prof__arena *arena;
    struct prof__report *report;
    struct prof__modules modules;

    struct prof__report_sample *sample; /* location[] holds place indexes until resolve() */
    struct key *key;                    /* of each sample, beside its locations */
    size_t n_samples;
    struct place *place;
    size_t n_places, place_room;
    uint32_t *slot; /* open addressing: place index + 1 */
    size_t n_slots; /* a power of two, at least twice place_room */

    struct prof__namer *namer; /* once it is needed */
    struct prof__report_mapping *mapping;
    uint32_t *mapping_of_module;              /* by index in modules; mapping index */
    uint32_t unknown_mapping, pseudo_mapping; /* 1-based; 0: not needed */
    const char **comment;
};

/* --- samples and places ---------------------------------------------------------------------- */

/* Where the place of that address is, or is to be. */
static uint32_t *place_slot(const struct builder *b, uint64_t marked)
{
    uint64_t hash = prof__hash(marked);

    for (size_t i = hash & (b->n_slots - 1);; i = (i + 1) & (b->n_slots - 1)) {
        if (!b->slot[i])
            return &b->slot[i];
        const struct place *p = &b->place[b->slot[i] - 1];
        if (p->marked == marked)
            return &b->slot[i];
    }
}

/* Far fewer addresses are distinct than there are, so their number is found out. */
static bool places_grow(struct builder *b)
{
    size_t room = b->place_room ? b->place_room * 2 : PLACES_FIRST;
    struct place *place = prof__arena_array(b->arena, room, sizeof(*place));
    uint32_t *slot = prof__arena_array(b->arena, room * 2, sizeof(*slot));

    if (!place || !slot)
        return false;
    if (b->n_places)
        memcpy(place, b->place, b->n_places * sizeof(*place));
    b->place = place;
    b->place_room = room;
    b->slot = slot;
    b->n_slots = room * 2;
    for (size_t i = 0; i < b->n_places; i++)
        *place_slot(b, place[i].marked) = (uint32_t)i + 1;
    return true;
}

static bool place_find(struct builder *b, uint64_t marked, uint32_t *ret_index)
{
    if (b->n_places == b->place_room && !places_grow(b))
        return false;
    uint32_t *slot = place_slot(b, marked);

    if (!*slot) {
        struct place *p = &b->place[b->n_places];

        *p = (struct place) { .marked = marked, .pc = prof__era_address(marked) };
        if (!prof__pc_is_pseudo(p->pc))
            p->module = prof__modules_find(&b->modules, marked);
        *slot = (uint32_t)++b->n_places;
    }
    *ret_index = *slot - 1;
    return true;
}

static int add_sample(struct builder *b, const struct prof__stack *stack, struct key key,
                      const int64_t value[PROF__VALUES_MAX])
{
    struct prof__report_sample *out = &b->sample[b->n_samples];
    uint32_t *location = prof__arena_array(b->arena, stack->n, sizeof(*location));

    if (!location)
        return -ENOMEM;
    for (uint32_t i = 0; i < stack->n; i++)
        if (!place_find(b, stack->pcs[i], &location[i]))
            return -ENOMEM;
    out->location = location;
    out->n_locations = stack->n;
    memcpy(out->value, value, sizeof(out->value));
    b->key[b->n_samples++] = key;
    return 0;
}

/* The values of a row as they are shown. False: all zero. */
static bool shown(const struct prof_profile *p, const struct prof__sample *s,
                  int64_t ret_value[PROF__VALUES_MAX])
{
    int64_t any = 0;

    prof__values_finish(p, &s->raw, ret_value);
    for (size_t i = 0; i < p->n_values; i++)
        any |= ret_value[i];
    return any != 0;
}

/* What decides which samples stay under a limit: the column shown first, by size. */
static uint64_t importance(const struct prof_profile *p, const int64_t value[PROF__VALUES_MAX])
{
    int64_t v = value[p->n_values - 1];

    if (p->default_type)
        for (size_t i = 0; i < p->n_values; i++)
            if (strcmp(p->value_type[i].type, p->default_type) == 0)
                v = value[i];
    return v < 0 ? -(uint64_t)v : (uint64_t)v;
}

/* The least importance that stays: such that at most `limit` of n samples have more. Counts by
 * leading bits, 16 steps per doubling, so it is one pass and no sort. */
static unsigned importance_class(uint64_t v)
{
    if (v < 16)
        return (unsigned)v;
    unsigned log2 = 63 - (unsigned)__builtin_clzll(v);
    return (log2 - 3) * 16 + (unsigned)((v >> (log2 - 4)) & 15);
}

static unsigned cut_off(const struct prof_profile *p, const struct prof__snapshot *s,
                        uint64_t limit)
{
    size_t of_class[61 * 16] = { 0 };
    int64_t value[PROF__VALUES_MAX];
    uint64_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        if (shown(p, &s->sample[i], value))
            of_class[importance_class(importance(p, value))]++;
    for (unsigned c = ARRAY_LEN(of_class); c-- > 0;) {
        n += of_class[c];
        if (n > limit)
            return c + 1;
    }
    return 0;
}

static int collect_samples(struct builder *b, const struct prof__snapshot *s)
{
    const struct prof_profile *p = b->profile;
    uint64_t limit = b->options->max_samples;
    unsigned least = limit && s->n > limit ? cut_off(p, s, limit - 1) : 0;
    int64_t other[PROF__VALUES_MAX] = { 0 };
    size_t room = (limit && s->n > limit ? limit : s->n) + 1, n_other = 0;

    b->sample = prof__arena_array(b->arena, room, sizeof(*b->sample));
    b->key = prof__arena_array(b->arena, room, sizeof(*b->key));
    if (!b->sample || !b->key || !places_grow(b))
        return -ENOMEM;

    for (size_t i = 0; i < s->n; i++) {
        int64_t value[PROF__VALUES_MAX];

        if (!shown(p, &s->sample[i], value))
            continue;
        if (least && importance_class(importance(p, value)) < least) {
            for (size_t v = 0; v < p->n_values; v++)
                other[v] = prof__add_saturate(other[v], value[v]);
            n_other++;
            continue;
        }
        const struct prof__sample *from = &s->sample[i];
        struct key key = { from->labels, from->size, from->kind, from->has_age, from->age_s };
        int r = add_sample(b, prof__stack_table_get(s->sample[i].stack), key, value);
        if (r < 0)
            return r;
    }
    if (n_other) {
        union {
            struct prof__stack stack;
            uintptr_t words[sizeof(struct prof__stack) / sizeof(uintptr_t) + 1];
        } one = { .stack = { .n = 1 } };

        one.words[sizeof(struct prof__stack) / sizeof(uintptr_t)] = PROF__PC_OTHER;
        b->comment[b->report->n_comments++] =
            prof__arena_printf(b->arena, "%zu samples, the smallest, are folded into %s", n_other,
                               pseudo_name[PROF__PC_OTHER - PROF__PC_LOST]);
        return add_sample(b, &one.stack, (struct key) { 0 }, other);
    }
    return 0;
}

/* --- mappings ------------------------------------------------------------------------------- */

static const char *hex(struct prof__arena *a, const uint8_t *bytes, size_t n)
{
    static const char digit[] = "0123456789abcdef";
    char *s = prof__arena_alloc(a, 2 * n + 1);

    for (size_t i = 0; s && i < n; i++) {
        s[2 * i] = digit[bytes[i] >> 4];
        s[2 * i + 1] = digit[bytes[i] & 15];
    }
    return s;
}

/* Has a later object taken the place of `m`? */
static bool is_displaced(const struct builder *b, const struct prof__module *m)
{
    for (size_t i = 0; i < b->modules.n; i++) {
        const struct prof__module *o = &b->modules.module[i];

        if (o != m && o->start < m->limit && m->start < o->limit && (!o->gone || o->era > m->era))
            return true;
    }
    return false;
}

/* All that is loaded, as Go lists it, so that an empty profile still tells what program it is of;
 * of what is gone, only what is used. */
static int make_mappings(struct builder *b)
{
    size_t n = b->modules.n;
    bool *used = prof__arena_array(b->arena, n + 1, sizeof(*used));
    uint64_t unknown_low = UINT64_MAX, unknown_high = 0;
    bool has_pseudo = false;

    b->mapping = prof__arena_array(b->arena, n + 2, sizeof(*b->mapping));
    b->mapping_of_module = prof__arena_array(b->arena, n + 1, sizeof(*b->mapping_of_module));
    if (!used || !b->mapping || !b->mapping_of_module)
        return -ENOMEM;
    for (size_t i = 0; i < b->n_places; i++) {
        const struct place *p = &b->place[i];

        if (p->module) {
            used[p->module - b->modules.module] = true;
        } else if (prof__pc_is_pseudo(p->pc)) {
            has_pseudo = true;
        } else {
            unknown_low = PROF_MIN(unknown_low, p->pc);
            unknown_high = PROF_MAX(unknown_high, p->pc);
        }
    }

    uint32_t made = 0;
    for (size_t i = 0; i < n; i++) {
        const struct prof__module *m = &b->modules.module[i];

        if (!used[i] && m->gone)
            continue;
        uint64_t move = 0;
        if (m->gone && is_displaced(b, m))
            move = MOVED_BASE + MOVED_STEP * i - m->start;
        struct prof__report_mapping *out = &b->mapping[made];
        out->start = m->start + move;
        out->limit = m->limit + move;
        out->offset = m->offset;
        out->bias = m->bias + move;
        out->is_elf = m->is_elf;
        out->is_program = m->is_main;
        out->file = m->path;
        out->build_id = hex(b->arena, m->build_id, m->build_id_size);
        if (!out->build_id)
            return -ENOMEM;
        b->mapping_of_module[i] = made++;
    }
    if (unknown_high) {
        b->mapping[made++] = (struct prof__report_mapping) {
            .start = unknown_low & ~(uint64_t)4095,
            .limit = (unknown_high | 4095) + 1,
            .file = "[unknown]",
            .build_id = "",
        };
        b->unknown_mapping = made;
    }
    if (has_pseudo) {
        b->mapping[made++] = (struct prof__report_mapping) {
            .start = 0x1000,
            .limit = 0x2000,
            .file = "[libprof]",
            .build_id = "",
        };
        b->pseudo_mapping = made;
    }
    b->report->mapping = b->mapping;
    b->report->n_mappings = made;
    return 0;
}

static uint32_t mapping_of(const struct builder *b, const struct place *p)
{
    if (p->module)
        return b->mapping_of_module[p->module - b->modules.module];
    return (prof__pc_is_pseudo(p->pc) ? b->pseudo_mapping : b->unknown_mapping) - 1;
}

/* --- locations ------------------------------------------------------------------------------ */

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
static int name_unknown(struct builder *b, const struct place *p,
                        struct prof__report_mapping *mapping, struct prof__location *ret)
{
    const struct prof__module *m = p->module;
    uint64_t start = 0;

    if (!m) { /* a pseudo frame, or nobody knows better */
        mapping->has_functions = true;
        return one_line(b->arena,
                        prof__pc_is_pseudo(p->pc)
                            ? pseudo_name[p->pc - PROF__PC_LOST]
                            : prof__arena_printf(b->arena, "0x%lx", (unsigned long)p->pc),
                        ret);
    }
    ret->is_nameless = true;
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
static const char *shown_name(struct builder *b, const struct prof__line *line)
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

static int name_known(struct builder *b, const struct prof__symbols *symbols,
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
static void comment_on_names(struct builder *b, const struct prof__symbol_notes *notes)
{
    for (size_t i = 0; i < notes->n; i++) {
        const struct prof__symbol_note *note = &notes->note[i];
        const struct prof__report_mapping *m =
            &b->mapping[b->mapping_of_module[note->module - b->modules.module]];
        const char *text = note->unread;

        if (!text && note->wanted && !m->has_functions)
            text = prof__arena_printf(
                b->arena,
                "functions of %s have no names: it is stripped; they come with %s, or by "
                "go tool pprof UNSTRIPPED-FILE and this profile",
                prof__base_name(m->file), note->wanted);
        if (!text)
            continue;
        if (b->report->n_comments == COMMENTS_MAX)
            break;
        b->comment[b->report->n_comments++] = text;
    }
}

static int make_locations(struct builder *b)
{
    size_t n = b->n_places;
    struct prof__location *location = prof__arena_array(b->arena, n + 1, sizeof(*location));
    struct prof__symbols *symbols = NULL;
    struct prof__symbol_notes notes = { .n = 0 };
    int r;

    if (!location)
        return -ENOMEM;
    if (!b->options->no_symbols) {
        struct prof__code_address *asked = prof__arena_array(b->arena, n + 1, sizeof(*asked));

        symbols = prof__arena_array(b->arena, n + 1, sizeof(*symbols));
        if (!asked || !symbols)
            return -ENOMEM;
        for (size_t i = 0; i < n; i++)
            asked[i] = (struct prof__code_address) { b->place[i].module, b->place[i].pc };
        r = prof__symbolize_until(b->arena, asked, n, 0, symbols, &notes);
        if (r < 0)
            return r;
        if (r > 0)
            b->comment[b->report->n_comments++] =
                "names or lines are missing, since looking them up took too long; the next profile "
                "has more of them";
    }

    /* An address in two eras of which nothing is known is one location. */
    uint32_t made = 0;
    memset(b->slot, 0, b->n_slots * sizeof(*b->slot));
    for (size_t i = 0; i < n; i++) {
        struct place *p = &b->place[i];
        uint32_t mapping = mapping_of(b, p);
        uint64_t address = p->pc;

        if (p->module)
            address += b->mapping[mapping].start - p->module->start;
        size_t at = prof__hash(address) & (b->n_slots - 1);
        while (b->slot[at] && location[b->slot[at] - 1].address != address)
            at = (at + 1) & (b->n_slots - 1);
        if (b->slot[at]) {
            p->location = b->slot[at];
            continue;
        }
        struct prof__location *out = &location[made++];
        b->slot[at] = p->location = made;
        out->address = address;
        out->mapping = mapping;
        if (b->options->no_symbols && !prof__pc_is_pseudo(p->pc))
            continue;
        r = symbols && symbols[i].n ? name_known(b, &symbols[i], &b->mapping[mapping], out)
                                    : name_unknown(b, p, &b->mapping[mapping], out);
        if (r < 0)
            return r;
    }
    b->report->location = location;
    b->report->n_locations = made;
    b->report->has_own_lines = b->options->own_lines;
    comment_on_names(b, &notes);
    return 0;
}

static bool is_allocator(const struct prof__location *l)
{
    for (uint32_t i = 0; i < l->n_lines; i++)
        if (!is_allocator_name(l->line[i].function))
            return false;
    return l->n_lines > 0;
}

/* Code of the hooks: a thread that libc makes for the program is made through ours. */
static bool is_own(const struct builder *b, const struct prof__location *l)
{
    const char *file = prof__base_name(b->mapping[l->mapping].file);

    return strncmp(file, "libprof-hooks.so", 16) == 0 || strcmp(file, "libprof-preload.so") == 0;
}

/* libc's own functions call others of its, which a stripped libc has no name for: a waiting
 * thread's innermost may be one of a few instructions around the system call. Who called it has a
 * name that people know, so that stands for both. */
static bool is_inside_libc(const struct prof__location *leaf, const struct prof__location *caller,
                           const struct prof__report_mapping *mapping)
{
    const char *file = prof__base_name(mapping[leaf->mapping].file);

    return leaf->is_nameless && caller->mapping == leaf->mapping &&
           (strncmp(file, "libc.so.", 8) == 0 || strncmp(file, "libc-2.", 7) == 0);
}

/* How many of a stack's innermost frames are to be left out for that. */
static uint32_t count_inside_libc(const struct builder *b, const struct prof__report_sample *s)
{
    const struct prof__location *known = b->report->location;
    uint32_t n = 0;

    while (n + 1 < s->n_locations &&
           is_inside_libc(&known[s->location[n]], &known[s->location[n + 1]], b->mapping))
        n++;
    return n == 0 || known[s->location[n]].is_nameless ? 0 : n;
}

/* Place indexes become locations, less the frames that are nobody's business. */
static void resolve_samples(struct builder *b)
{
    const struct prof__location *known = b->report->location;

    for (size_t i = 0; i < b->n_samples; i++) {
        struct prof__report_sample *s = &b->sample[i];
        uint32_t *location = (uint32_t *)s->location, n = 0;

        for (uint32_t k = 0; k < s->n_locations; k++) {
            uint32_t l = b->place[location[k]].location - 1;

            if (!is_own(b, &known[l]) || (n == 0 && k == s->n_locations - 1))
                location[n++] = l;
        }
        s->n_locations = n;
        while (b->profile->has_sizes && s->n_locations > 1 &&
               is_allocator(&known[s->location[0]])) {
            s->location++;
            s->n_locations--;
        }
        uint32_t inside = count_inside_libc(b, s);
        s->location += inside;
        s->n_locations -= inside;
    }
}

static bool same_sample(const struct builder *b, size_t i, size_t k)
{
    const struct prof__report_sample *x = &b->sample[i], *y = &b->sample[k];

    return b->key[i].labels == b->key[k].labels && b->key[i].size == b->key[k].size &&
           b->key[i].kind == b->key[k].kind && b->key[i].has_age == b->key[k].has_age &&
           b->key[i].age_s == b->key[k].age_s && x->n_locations == y->n_locations &&
           memcmp(x->location, y->location, x->n_locations * sizeof(*x->location)) == 0;
}

/* What has gone from one stack and come to another that is now the same. */
static void drop_zeros(struct builder *b)
{
    size_t kept = 0;

    for (size_t i = 0; i < b->n_samples; i++) {
        int64_t any = 0;

        for (size_t v = 0; v < b->profile->n_values; v++)
            any |= b->sample[i].value[v];
        if (any == 0)
            continue;
        b->sample[kept] = b->sample[i];
        b->key[kept++] = b->key[i];
    }
    b->n_samples = kept;
}

/* Without those frames, or with code unloaded and loaded again, two stacks may have become one. */
static int merge_samples(struct builder *b)
{
    size_t n_slots = 64, kept = 0;

    while (n_slots < b->n_samples * 2)
        n_slots *= 2;
    uint32_t *slot = prof__arena_array(b->arena, n_slots, sizeof(*slot));
    if (!slot)
        return -ENOMEM;
    for (size_t i = 0; i < b->n_samples; i++) {
        uint64_t hash = prof__hash_more(prof__hash(b->key[i].size), b->key[i].labels);

        for (uint32_t k = 0; k < b->sample[i].n_locations; k++)
            hash = prof__hash_more(hash, b->sample[i].location[k]);
        size_t at = hash & (n_slots - 1);
        while (slot[at] && !same_sample(b, slot[at] - 1, i))
            at = (at + 1) & (n_slots - 1);
        if (slot[at]) {
            for (size_t v = 0; v < b->profile->n_values; v++)
                b->sample[slot[at] - 1].value[v] =
                    prof__add_saturate(b->sample[slot[at] - 1].value[v], b->sample[i].value[v]);
            continue;
        }
        b->sample[kept] = b->sample[i];
        b->key[kept] = b->key[i];
        slot[at] = (uint32_t)++kept;
    }
    b->n_samples = kept;
    drop_zeros(b);
    return 0;
}

/* The program's own label of that name stays, under another: one key has one value in a sample, or
 * some readers reject the profile. */
static const char *key_of(const struct prof_profile *p, const char *key)
{
    return p->has_sizes && strcmp(key, "bytes") == 0 ? "exported_bytes" : key;
}

/*
 * The label "bytes" is, as in Go, the size of the blocks: for those of different sizes in one row,
 * that of the first. Not their average, which would change, and with it the identity of the sample
 * for readers that subtract one profile from the next.
 */
static int label_samples(struct builder *b)
{
    struct prof__label_pair pair[PROF__LABELS_MAX];

    for (size_t i = 0; i < b->n_samples; i++) {
        struct prof__report_sample *s = &b->sample[i];
        size_t n = prof__labels_get(b->key[i].labels, pair, ARRAY_LEN(pair));

        if (n + b->profile->has_sizes + (b->key[i].kind != NULL) + b->key[i].has_age == 0)
            continue;
        struct prof__label *label = prof__arena_array(b->arena, n + 3, sizeof(*label));
        if (!label)
            return -ENOMEM;
        s->label = label;
        for (size_t k = 0; k < n; k++)
            label[k] = (struct prof__label) { .key = key_of(b->profile, pair[k].key),
                                              .value = pair[k].value };
        if (b->profile->has_sizes)
            label[n++] = (struct prof__label) { .key = "bytes", .number = (int64_t)b->key[i].size };
        if (b->key[i].kind)
            label[n++] = (struct prof__label) { .key = "kind", .value = b->key[i].kind };
        if (b->key[i].has_age)
            label[n++] = (struct prof__label) { .key = "age_seconds",
                                                .number = b->key[i].age_s,
                                                .unit = "seconds" };
        s->n_labels = (uint32_t)n;
    }
    return 0;
}

/* --- the rest ------------------------------------------------------------------------------- */

/* A comment for each sentence, up to `max` in all. */
static int add_comments(struct builder *b, const char *sentences, unsigned max)
{
    const char *end;

    for (const char *line = sentences; *line && b->report->n_comments < max; line = end + 1) {
        end = strchr(line, '\n');
        if (!end)
            break;
        const char *copy = prof__arena_strndup(b->arena, line, (size_t)(end - line));
        if (!copy)
            return -ENOMEM;
        b->comment[b->report->n_comments++] = copy;
    }
    return 0;
}

static int make_comments(struct builder *b, const struct prof__snapshot *s)
{
    char status[1024];

    b->comment = prof__arena_array(b->arena, COMMENTS_MAX, sizeof(*b->comment));
    if (!b->comment)
        return -ENOMEM;
    b->report->comment = b->comment;
    if (b->options->short_of_memory)
        b->comment[b->report->n_comments++] =
            "memory has run out: this is made of a reserve, and names are not looked up";
    prof_profile_status(b->profile, status, sizeof(status));
    int r = add_comments(b, status, COMMENTS_OF_STATUS);
    return r == 0 && s->notes ? add_comments(b, s->notes, COMMENTS_OF_STATUS) : r;
}

/* Of the libraries that were needed for this. */
static int add_missed(struct builder *b)
{
    char missed[1024];

    return prof__optional_missed(missed, sizeof(missed)) > 0 ? add_comments(b, missed, COMMENTS_MAX)
                                                             : 0;
}

int prof__report_build(const struct prof_profile *p, const struct prof__snapshot *s,
                       const struct prof__report_options *o, struct prof__arena *a,
                       struct prof__report *ret)
{
    struct builder b = { .profile = p, .options = o, .arena = a, .report = ret };
    int r;

    *ret = (struct prof__report) {
        .name = p->name,
        .text = p->text,
        .n_values = p->n_values,
        .value_type = p->value_type,
        .default_type = p->default_type,
        .period_type = p->period_type,
        .period = p->period ? p->period() : 1,
        .time_ns = s->wall_ns,
        .duration_ns = o->duration_ns,
    };
    if ((r = prof__modules_load(a, &b.modules)) < 0 || (r = make_comments(&b, s)) < 0 ||
        (r = collect_samples(&b, s)) < 0 || (r = make_mappings(&b)) < 0 ||
        (r = make_locations(&b)) < 0 || (r = add_missed(&b)) < 0)
        return r;
    resolve_samples(&b);
    if (!o->one_by_one && (r = merge_samples(&b)) < 0)
        return r;
    if ((r = label_samples(&b)) < 0)
        return r;
    ret->sample = b.sample;
    ret->n_samples = b.n_samples;
    return 0;
}
