/*
 * door_table.h - hooks that can be switched between libc's functions and ours that watch.
 *
 * Tables of one shape. A hook is a jump through `door`, whose entries lead to libc's
 * functions while nobody watches, so that being hooked costs one jump, and to the watching ones
 * else. Those call libc's through `real`. As in real.h, entries can be called at any time; before
 * anything has been looked up they do that first.
 */
#ifndef PROF_HOOKS_DOOR_TABLE_H
#define PROF_HOOKS_DOOR_TABLE_H

#include "base/compiler.h"

struct prof__door_table {
    void **door, **real;
    void *const *first;      /* what stands in both before the look-up, and for what is missing */
    void *const *watch;      /* NULL entries: never watched */
    const char *const *name; /* libc's */
    size_t n;
    _Atomic bool watching;
};

#pragma GCC visibility push(hidden)

/* Find libc's functions. Takes no lock; any number of threads may, and find the same. errno is
 * kept. Context: hook. */
void prof__doors_look_up(struct prof__door_table *t);

/* Let the doors lead to the watching functions, or to libc's. */
void prof__doors_watch(struct prof__door_table *t, bool on);

/* What a hook of this name ends up in, or NULL. */
void *prof__doors_real_of(struct prof__door_table *t, const char *name);

#pragma GCC visibility pop

#endif
