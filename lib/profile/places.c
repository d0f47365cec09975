/*
 * places.c - each address of a report once, and the objects that they lie in.
 *
 * An address means the object whose era it is marked with (table/eras.h). Should two objects have
 * had the same place one after the other, the one that is gone is shown moved to free addresses, so
 * that an address is unique in a profile; file offsets stay true.
 */
#include "profile/places.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "table/eras.h"
#include "unwind/stack.h"

/* Where objects that lost their place to another are shown: above every user address. */
#define MOVED_BASE ((uint64_t)1 << 48)
#define MOVED_STEP ((uint64_t)1 << 36)

enum { PLACES_FIRST = 256 };

/* Where the place of that address is, or is to be. */
static uint32_t *slot_of(const struct prof__places *p, uint64_t marked)
{
    uint64_t hash = prof__hash(marked);

    for (size_t i = hash & (p->n_slots - 1);; i = (i + 1) & (p->n_slots - 1)) {
        if (!p->slot[i])
            return &p->slot[i];
        const struct prof__place *at = &p->place[p->slot[i] - 1];
        if (at->marked == marked)
            return &p->slot[i];
    }
}

/* Far fewer addresses are distinct than there are, so their number is found out. */
static bool grow(struct prof__places *p)
{
    size_t room = p->room ? p->room * 2 : PLACES_FIRST;
    struct prof__place *place = prof__arena_array(p->arena, room, sizeof(*place));
    uint32_t *slot = prof__arena_array(p->arena, room * 2, sizeof(*slot));

    if (!place || !slot)
        return false;
    if (p->n)
        memcpy(place, p->place, p->n * sizeof(*place));
    p->place = place;
    p->room = room;
    p->slot = slot;
    p->n_slots = room * 2;
    for (size_t i = 0; i < p->n; i++)
        *slot_of(p, place[i].marked) = (uint32_t)i + 1;
    return true;
}

bool prof__places_find(struct prof__places *p, uint64_t marked, uint32_t *ret_index)
{
    if (p->n == p->room && !grow(p))
        return false;
    uint32_t *slot = slot_of(p, marked);

    if (!*slot) {
        struct prof__place *new = &p->place[p->n];

        *new = (struct prof__place) { .marked = marked, .pc = prof__era_address(marked) };
        if (!prof__pc_is_pseudo(new->pc))
            new->module = prof__modules_find(&p->modules, marked);
        *slot = (uint32_t)++p->n;
    }
    *ret_index = *slot - 1;
    return true;
}

int prof__places_start(struct prof__places *p, const struct prof__modules *modules,
                       struct prof__arena *a)
{
    *p = (struct prof__places) { .arena = a };
    int r = modules ? 0 : prof__modules_load(a, &p->modules);

    if (modules)
        p->modules = *modules;
    return r == 0 && !grow(p) ? -ENOMEM : r;
}

/* --- mappings --------------------------------------------------------------------------------- */

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
static bool is_displaced(const struct prof__places *p, const struct prof__module *m)
{
    for (size_t i = 0; i < p->modules.n; i++) {
        const struct prof__module *o = &p->modules.module[i];

        if (o != m && o->start < m->limit && m->start < o->limit && (!o->gone || o->era > m->era))
            return true;
    }
    return false;
}

/* All that is loaded, as Go lists it, so that an empty profile still tells what program it is of;
 * of what is gone, only what is used. */
int prof__places_map(struct prof__places *p)
{
    size_t n = p->modules.n;
    bool *used = prof__arena_array(p->arena, n + 1, sizeof(*used));
    uint64_t unknown_low = UINT64_MAX, unknown_high = 0;
    bool has_pseudo = false;

    p->mapping = prof__arena_array(p->arena, n + 2, sizeof(*p->mapping));
    p->mapping_of_module = prof__arena_array(p->arena, n + 1, sizeof(*p->mapping_of_module));
    if (!used || !p->mapping || !p->mapping_of_module)
        return -ENOMEM;
    for (size_t i = 0; i < p->n; i++) {
        const struct prof__place *at = &p->place[i];

        if (at->module) {
            used[at->module - p->modules.module] = true;
        } else if (prof__pc_is_pseudo(at->pc)) {
            has_pseudo = true;
        } else {
            unknown_low = PROF_MIN(unknown_low, at->pc);
            unknown_high = PROF_MAX(unknown_high, at->pc);
        }
    }

    uint32_t made = 0;
    for (size_t i = 0; i < n; i++) {
        const struct prof__module *m = &p->modules.module[i];

        if (!used[i] && m->gone)
            continue;
        uint64_t move = 0;
        if (m->gone && is_displaced(p, m))
            move = MOVED_BASE + MOVED_STEP * i - m->start;
        struct prof__report_mapping *out = &p->mapping[made];
        out->start = m->start + move;
        out->limit = m->limit + move;
        out->offset = m->offset;
        out->bias = m->bias + move;
        out->is_elf = m->is_elf;
        out->is_program = m->is_main;
        out->file = m->path;
        out->build_id = hex(p->arena, m->build_id, m->build_id_size);
        if (!out->build_id)
            return -ENOMEM;
        p->mapping_of_module[i] = made++;
    }
    if (unknown_high) {
        p->mapping[made++] = (struct prof__report_mapping) {
            .start = unknown_low & ~(uint64_t)4095,
            .limit = (unknown_high | 4095) + 1,
            .file = "[unknown]",
            .build_id = "",
        };
        p->unknown_mapping = made;
    }
    if (has_pseudo) {
        p->mapping[made++] = (struct prof__report_mapping) {
            .start = 0x1000,
            .limit = 0x2000,
            .file = "[libprof]",
            .build_id = "",
        };
        p->pseudo_mapping = made;
    }
    p->n_mappings = made;
    return 0;
}

uint32_t prof__places_mapping(const struct prof__places *p, const struct prof__place *at)
{
    if (at->module)
        return p->mapping_of_module[at->module - p->modules.module];
    return (prof__pc_is_pseudo(at->pc) ? p->pseudo_mapping : p->unknown_mapping) - 1;
}
