/*
 * gather.h - a snapshot made of single blocks, those alike counted together.
 */
#ifndef PROF_PROFILE_GATHER_H
#define PROF_PROFILE_GATHER_H

#include "profile/snapshot.h"

struct prof__gather {
    struct prof__snapshot *to;
    size_t room;
    uint32_t *slot;
    size_t n_slots;
};

/* Make *to a snapshot of this moment without samples, with room for `room` of them. -ENOMEM; free
 * it also then. */
int prof__gather_start(struct prof__gather *g, struct prof__snapshot *to, size_t room);

/* Add a block of that row. Its weight goes to the values 0 and 1. `kind` is a constant or NULL;
 * ages are told by class. False: there is no more room. */
bool prof__gather_add(struct prof__gather *g, uint32_t row, const char *kind, int64_t age_s,
                      int64_t objects, int64_t bytes);

#endif
