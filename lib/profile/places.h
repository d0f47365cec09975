/*
 * places.h - each address of a report once, and the objects that they lie in.
 */
#ifndef PROF_PROFILE_PLACES_H
#define PROF_PROFILE_PLACES_H

#include "encode/encode.h"
#include "symbol/modules.h"

struct prof__place {
    uint64_t marked, pc;               /* with the era, and without */
    uint32_t location;                 /* 1-based, set by whoever makes them */
    const struct prof__module *module; /* NULL: none known, or a pseudo frame */
};

struct prof__places {
    struct prof__arena *arena;
    struct prof__modules modules;
    struct prof__place *place;
    size_t n, room;
    uint32_t *slot; /* open addressing: place index + 1 */
    size_t n_slots; /* a power of two, at least twice `room` */

    /* Once they are mapped. */
    struct prof__report_mapping *mapping;
    size_t n_mappings;
    uint32_t *mapping_of_module;              /* by index in modules; mapping index */
    uint32_t unknown_mapping, pseudo_mapping; /* 1-based; 0: not needed */
};

/* `modules` NULL: what this process has. -ENOMEM. */
int prof__places_start(struct prof__places *p, const struct prof__modules *modules,
                       struct prof__arena *a);

/* The index of the place of an address, marked with its era. False: out of memory. */
bool prof__places_find(struct prof__places *p, uint64_t marked, uint32_t *ret_index);

/* When all are there. -ENOMEM. After it `slot` is of no more use, and may be put to another. */
int prof__places_map(struct prof__places *p);

/* Index of the mapping that a place is in. */
uint32_t prof__places_mapping(const struct prof__places *p, const struct prof__place *at);

#endif
