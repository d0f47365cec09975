/*
 * flood.h - from the roots to all that is in use, over the chunks of glibc's heap.
 */
#ifndef PROF_SCAN_FLOOD_H
#define PROF_SCAN_FLOOD_H

#include "scan/heap.h"
#include "scan/pass.h"
#include "scan/paths.h"

/* Names a root for the paths: what is at `slot` of an area. */
typedef void prof__root_fn(void *arg, const struct prof__area *area, uint64_t slot,
                           struct prof__kind *ret);

struct prof__flood_options {
    /* To have the way to each target: paths.h, else NULL. path_of[] gets one for each target, the
     * path of what holds it; 0: none. */
    struct prof__paths *paths;
    uint32_t *path_of;
    prof__root_fn *name_root;
    void *name_arg;
};

/*
 * Set the state of each target that has PROF__TARGET_WALKED. With paths each root is flooded before
 * the next, in the order of enum prof__root, so that what is named is the first of several. `plan`
 * is finished. Memory: 9 bytes for each 64 KiB of heap; with paths 24 MiB more at most.
 * 0, -ECANCELED or -ENOMEM.
 */
int prof__flood(struct prof__heap *h, struct prof__targets *t, const struct prof__plan *plan,
                struct prof__sweep *s, struct prof__arena *a, struct prof__pass_count *count,
                const struct prof__flood_options *o);

#endif
