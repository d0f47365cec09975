/*
 * flood.h - from the roots to all that is in use, over the chunks of glibc's heap.
 */
#ifndef PROF_SCAN_FLOOD_H
#define PROF_SCAN_FLOOD_H

#include "scan/heap.h"
#include "scan/pass.h"
#include "scan/paths.h"

/*
 * Set the state of each target that has PROF__TARGET_WALKED. With paths each root is flooded before
 * the next, in the order of enum prof__root, so that what is named is the first of several. `plan`
 * is finished. With `explain` also how those that are not reached hang together. Memory: 9 bytes
 * for each 64 KiB of heap, with `explain` one bit for each 16 bytes besides; with paths 24 MiB more
 * at most. 0, -ECANCELED or -ENOMEM.
 */
int prof__flood(struct prof__heap *h, struct prof__targets *t, const struct prof__plan *plan,
                struct prof__sweep *s, struct prof__arena *a, struct prof__pass_count *count,
                const struct prof__ways *o, bool explain);

#endif
