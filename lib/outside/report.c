/*
 * report.c - pseudo frames, each with an address of its own in a mapping of none.
 */
#include "outside/report.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

enum { STEPS_MAX = 66, NOTES_MAX = 13 };

#define FIRST_ADDRESS ((uint64_t)1 << 48) /* above every address of a program */

struct builder {
    struct prof__arena *arena;
    struct prof__location *location;
    size_t n, room;
    uint32_t *slot; /* by hash of the text: index + 1 */
    size_t n_slots;
};

static uint32_t *slot_of(struct builder *b, const char *text)
{
    size_t at = prof__hash_bytes(text, strlen(text)) & (b->n_slots - 1);

    while (b->slot[at] && strcmp(b->location[b->slot[at] - 1].line->function, text) != 0)
        at = (at + 1) & (b->n_slots - 1);
    return &b->slot[at];
}

static int grow(struct builder *b)
{
    size_t room = b->room ? b->room * 2 : 512;
    struct prof__location *more = prof__arena_array(b->arena, room, sizeof(*more));

    b->n_slots = room * 2;
    b->slot = prof__arena_array(b->arena, b->n_slots, sizeof(*b->slot));
    if (!more || !b->slot)
        return -ENOMEM;
    if (b->n)
        memcpy(more, b->location, b->n * sizeof(*more));
    b->location = more;
    b->room = room;
    for (size_t i = 0; i < b->n; i++)
        *slot_of(b, more[i].line->function) = (uint32_t)i + 1;
    return 0;
}

static int frame_of(struct builder *b, const char *text, uint32_t *ret)
{
    if (b->n == b->room && grow(b) < 0)
        return -ENOMEM;
    uint32_t *slot = slot_of(b, text);
    if (!*slot) {
        struct prof__line *line = prof__arena_alloc(b->arena, sizeof(*line));
        const char *copy = prof__arena_strdup(b->arena, text);

        if (!line || !copy)
            return -ENOMEM;
        *line = (struct prof__line) { .function = copy, .name = copy };
        b->location[b->n] =
            (struct prof__location) { .address = FIRST_ADDRESS + b->n, .n_lines = 1, .line = line };
        *slot = (uint32_t)++b->n;
    }
    *ret = *slot - 1;
    return 0;
}

/* The labels of a row: its size, where all of its blocks have one, and what kind of leak it is. */
static int add_labels(struct prof__arena *a, const struct prof__census_row *row, bool is_leak,
                      struct prof__report_sample *s)
{
    struct prof__label *label = prof__arena_array(a, 2, sizeof(*label));

    if (!label)
        return -ENOMEM;
    if (row->size)
        label[s->n_labels++] =
            (struct prof__label) { .key = "bytes", .number = (int64_t)row->size, .unit = "bytes" };
    if (is_leak)
        label[s->n_labels++] = (struct prof__label) {
            .key = "kind",
            .value = row->indirect   ? "only from leaked"
                     : row->possible ? "possible"
                                     : "unreferenced",
        };
    s->label = label;
    return 0;
}

static int add_sample(struct prof__census *c, struct builder *b, const struct prof__census_row *row,
                      bool is_leak, struct prof__report_sample *s)
{
    const char *step[STEPS_MAX];
    size_t n = prof__census_path(c, row->holder, step, STEPS_MAX);
    uint32_t *location = prof__arena_array(b->arena, n + 1, sizeof(*location));
    int r =
        location ? frame_of(b, prof__type_at(c->types, row->type)->name, &location[0]) : -ENOMEM;

    for (size_t i = 0; i < n && r == 0; i++)
        r = frame_of(b, step[i], &location[i + 1]);
    if (r < 0)
        return r;
    s->location = location;
    s->n_locations = (uint32_t)n + 1;
    s->value[0] = llround(row->blocks);
    s->value[1] = llround(row->bytes);
    return add_labels(b->arena, row, is_leak, s);
}

int prof__census_report(struct prof__census *c, const char *name, struct prof__arena *a,
                        struct prof__report *ret)
{
    static const struct prof__value_type types[] = { { "inuse_objects", "count" },
                                                     { "inuse_space", "bytes" } };
    bool is_leak = strcmp(name, "leaks") == 0;
    struct builder b = { .arena = a };
    struct prof__report_sample *sample = prof__arena_array(a, c->n_rows + 1, sizeof(*sample));
    struct prof__report_mapping *mapping = prof__arena_alloc(a, sizeof(*mapping));
    const char **note = prof__arena_array(a, NOTES_MAX, sizeof(*note));
    size_t n = 0;
    int r = sample && mapping && note ? 0 : -ENOMEM;

    for (size_t i = 0; i < c->n_rows && r == 0; i++)
        if (llround(c->row[i].blocks) || llround(c->row[i].bytes))
            r = add_sample(c, &b, &c->row[i], is_leak, &sample[n++]);
    if (r < 0)
        return r;
    *mapping = (struct prof__report_mapping) { .start = FIRST_ADDRESS,
                                               .limit = FIRST_ADDRESS + b.n + 1,
                                               .file = "[heap]",
                                               .build_id = "",
                                               .has_functions = true };
    *ret = (struct prof__report) {
        .name = name,
        .text = PROF__TEXT_HEAP,
        .n_values = 2,
        .value_type = types,
        .default_type = "inuse_space",
        .period_type = { "space", "bytes" },
        .period = (int64_t)PROF_MAX(c->sampled_bytes, 1),
        .time_ns = prof__wall_ns(),
        .n_samples = n,
        .n_locations = b.n,
        .n_mappings = 1,
        .n_comments = prof__census_notes(c, a, note, NOTES_MAX),
        .sample = sample,
        .location = b.location,
        .mapping = mapping,
        .comment = note,
    };
    return 0;
}

/* --- notes ----------------------------------------------------------------------------------- */

struct notes {
    const char **text;
    size_t n, room;
};

static void add_note(struct notes *notes, const char *text)
{
    if (text && notes->n < notes->room)
        notes->text[notes->n++] = text;
}

/* What an arena has that no walked region has: one was missed. */
static uint64_t missed_bytes(const struct prof__glibc *g)
{
    uint64_t told = 0, seen = 0;

    for (size_t i = 0; i < g->n_arenas; i++) {
        const struct prof__glibc_arena *a = &g->arena[i];

        told += a->system;
        seen += a->used_bytes + a->cached_bytes + a->fast_bytes + a->free_bytes + a->top_bytes;
    }
    return g->has_state && told > seen + seen / 100 + 65536 * g->n_arenas ? told - seen : 0;
}

size_t prof__census_notes(const struct prof__census *c, struct prof__arena *a, const char **ret,
                          size_t n)
{
    struct notes notes = { ret, 0, n };
    const struct prof__image *image = c->image;
    const struct prof__glibc *g = &c->glibc;

    if (c->passes > 0)
        add_note(&notes, prof__arena_printf(
                             a, "looked at %d times; told is what all looks agree on", c->passes));
    if (c->sampled_bytes > 1)
        add_note(&notes, prof__arena_printf(a, "holders are those of one block in %.0f KiB",
                                            ceil(c->sampled_bytes / 1024)));
    if (image->absent_bytes)
        add_note(&notes, prof__arena_printf(a,
                                            "the core is cut short: %.1f MiB are missing, and what "
                                            "was there is not counted",
                                            (double)image->absent_bytes / (1 << 20)));
    if (c->cut)
        add_note(&notes, "there are more leaked blocks than are kept: some are missing");
    if (c->heap.garbled_bytes)
        add_note(&notes, prof__arena_printf(a, "%.1f KiB of the heap changed too fast to be walked",
                                            (double)c->heap.garbled_bytes / 1024));
    if (!g->has_state)
        add_note(&notes, "malloc's arenas were not found in libc's data, so that the walk's totals "
                         "are not checked against theirs");
    else if (missed_bytes(g))
        add_note(&notes, prof__arena_printf(a, "malloc's arenas have %.1f MiB more than was found",
                                            (double)missed_bytes(g) / (1 << 20)));
    if (g->has_par && g->told_mapped_blocks != g->mapped_blocks)
        add_note(&notes, prof__arena_printf(a,
                                            "malloc says that %llu blocks are mmapped, and %llu "
                                            "were found: some were missed, or memory of the "
                                            "program's looks so",
                                            (unsigned long long)g->told_mapped_blocks,
                                            (unsigned long long)g->mapped_blocks));
    if (c->sweep.swapped_pages)
        add_note(&notes, prof__arena_printf(a, "%llu pages are swapped out and were not read",
                                            (unsigned long long)c->sweep.swapped_pages));
    if (image->threads_unreadable + image->threads_silent)
        add_note(&notes, prof__arena_printf(a, "%u threads could not be looked at",
                                            image->threads_unreadable + image->threads_silent));
    if (c->passes && c->hidden_regs)
        add_note(&notes,
                 prof__arena_printf(a,
                                    "%u registers of waiting threads could not be read, and may "
                                    "hold a block; --stop reads them",
                                    c->hidden_regs));
    if (image->descriptors_unreadable)
        add_note(&notes, prof__arena_printf(a,
                                            "%u descriptors could not be looked at: pointers in "
                                            "their epoll sets were missed",
                                            image->descriptors_unreadable));
    return notes.n;
}
