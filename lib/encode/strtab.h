/*
 * strtab.h - each distinct string once, named by its position.
 */
#ifndef PROF_ENCODE_STRTAB_H
#define PROF_ENCODE_STRTAB_H

#include "base/arena.h"

struct prof__strtab {
    struct prof__arena *arena;
    const char **string; /* string[0] is "" */
    uint32_t n;
    int error; /* 0, or -ENOMEM once something could not be added */
    /* private */
    uint32_t *hash;           /* of each string */
    uint32_t *slot;           /* open addressing, index + 1, 0 is empty */
    uint32_t capacity, slots; /* powers of two */
};

/* An empty table but for "". -ENOMEM. */
int prof__strtab_init(struct prof__strtab *t, struct prof__arena *a);

/* Position of `s`, added if need be, made valid UTF-8; what is given is kept by reference. NULL is
 * "". When out of memory 0, and t->error says so: so many can be added and the error be looked at
 * once. */
uint32_t prof__strtab_add(struct prof__strtab *t, const char *s);

#endif
