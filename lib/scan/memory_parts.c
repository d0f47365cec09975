/*
 * memory_parts.c - the table of what memory is made of: a part for each kind, name and row.
 */
#include "scan/memory_parts.h"

#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"

static bool grow(struct prof__memory *m)
{
    size_t room = m->room ? m->room * 2 : 128;
    struct prof__memory_part *part = prof__arena_array(m->arena, room, sizeof(*part));
    uint32_t *slot = prof__arena_array(m->arena, room * 2, sizeof(*slot));

    if (!part || !slot)
        return false;
    if (m->n)
        memcpy(part, m->part, m->n * sizeof(*part));
    m->part = part;
    m->room = room;
    m->slot = slot;
    m->n_slots = room * 2;
    return true;
}

static uint32_t *slot_of(const struct prof__memory *m, enum prof__memory_kind kind,
                         const char *name, uint32_t row)
{
    size_t at = prof__hash_more(prof__hash(kind | (uint64_t)row << 32),
                                prof__hash_bytes(name, strlen(name)));

    for (at &= m->n_slots - 1;; at = (at + 1) & (m->n_slots - 1)) {
        const struct prof__memory_part *p = m->slot[at] ? &m->part[m->slot[at] - 1] : NULL;

        if (!p || (p->kind == kind && p->row == row && strcmp(p->name, name) == 0))
            return &m->slot[at];
    }
}

struct prof__memory_part *prof__memory_part_of(struct prof__memory *m, enum prof__memory_kind kind,
                                               const char *name, uint32_t row)
{
    if (m->n == m->room) {
        if (!grow(m))
            return NULL;
        for (size_t i = 0; i < m->n; i++)
            *slot_of(m, m->part[i].kind, m->part[i].name, m->part[i].row) = (uint32_t)i + 1;
    }
    uint32_t *slot = slot_of(m, kind, name, row);

    if (!*slot && m->n >= PROF__MEMORY_PARTS)
        slot = slot_of(m, kind, name = "[others]", row = 0);
    if (!*slot) {
        name = prof__arena_strdup(m->arena, name); /* the mapping's is gone with the scan */
        name = name ? prof__utf8_clean(m->arena, name) : NULL;
        if (!name)
            return NULL;
        m->part[m->n] = (struct prof__memory_part) { .kind = kind, .name = name, .row = row };
        *slot = (uint32_t)++m->n;
    }
    return &m->part[*slot - 1];
}
