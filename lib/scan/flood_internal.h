/*
 * flood_internal.h - a flood under way, shared by flood*.c and leftovers.c.
 */
#ifndef PROF_SCAN_FLOOD_INTERNAL_H
#define PROF_SCAN_FLOOD_INTERNAL_H

#include "scan/flood.h"

struct entry {
    uint64_t unit;
    uint32_t path, next;
};

struct flood {
    struct prof__heap *h;
    struct prof__targets *t;
    struct prof__sweep *s;
    struct prof__pass_count *count;
    const struct prof__ways *o;

    uint32_t *pending; /* of each window: chunks marked and not read */
    uint32_t *line;    /* windows, a ring: each is in it once at most */
    uint32_t first, n_line;
    uint8_t *in_line;
    uint64_t *window; /* PROF__WINDOW bytes */

    uint32_t path;                 /* of what is being read now */
    bool from_libc;                /* and it is libc's own data */
    const struct prof__area *area; /* or a root */
    uint64_t address;              /* of the word that is being looked at */
    struct entry *entry;
    uint32_t *entries; /* of each window: the first of a list; index + 1 */
    uint32_t free_entry, n_entries;
    uint32_t n_young;
    /* Of what nothing in use leads to: */
    bool leftover;
    uint64_t chunk;  /* that is read now */
    uint32_t source; /* what leads to it, by number; 0: not asked for */
    uint64_t source_chunk;
    int error;
};

/* Words that were read: mark the chunks that they lead to, `arg` being the flood; and one such
 * word. */
prof__sweep_fn prof__flood_look;
void prof__flood_mark(struct flood *f, uint64_t word);

/* Mark what the roots of one kind lead to; what could not be walked, and is taken to be in use; and
 * what memory leads to that has been mapped since the plan was made. */
void prof__flood_from_roots(struct flood *f, const struct prof__plan *plan, enum prof__root root);
void prof__flood_from_garbled(struct flood *f);
void prof__flood_from_new(struct flood *f, const struct prof__plan *plan);

/* Mark a chunk that is not marked, and put its window in line. */
void prof__flood_mark_unit(struct flood *f, struct prof__heap_region *g, uint64_t unit);

/* Read all that is marked, and what that leads to. */
void prof__flood_run(struct flood *f);

/* Of targets that are not reached, once the flood is over: HELD, source and first. */
void prof__flood_leftovers(struct flood *f, const struct prof__image *image, struct prof__arena *a);

#endif
