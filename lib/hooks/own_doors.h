/*
 * own_doors.h - the doors that allocators have beside malloc()'s: C++'s operators where they define
 * these themselves, jemalloc's mallocx() and kin, tcmalloc's tc_*, mimalloc's mi_*.
 */
#ifndef PROF_HOOKS_OWN_DOORS_H
#define PROF_HOOKS_OWN_DOORS_H

#include "base/compiler.h"

struct prof__own_door {
    const char *name;
    void *hook;
    void **real; /* what the hook calls; NULL there: the allocator has no such door */
};

extern const struct prof__own_door prof__own_doors[] __attribute__((visibility("hidden")));
extern const size_t prof__n_own_doors __attribute__((visibility("hidden")));

enum { PROF__OWN_DOORS_MAX = 192 }; /* no more than these */

#endif
