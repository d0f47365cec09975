/*
 * areas.h - reading the areas of a plan, root by root.
 */
#ifndef PROF_SCAN_AREAS_H
#define PROF_SCAN_AREAS_H

#include "scan/plan.h"
#include "scan/sweep.h"

/* Some words of an area, n of them, that are at `address` of the image. What is in no area (held by
 * the kernel, told by the program, in registers) comes word by word, its place in its list being
 * the address, in an area that has no size. */
typedef void prof__area_fn(void *arg, const struct prof__area *area, uint64_t address,
                           const uint64_t *word, size_t n);

/* Give all that holds by that kind of root to `each`. 0 or -ECANCELED. */
int prof__areas_read(const struct prof__plan *plan, struct prof__sweep *s, enum prof__root root,
                     prof__area_fn *each, void *arg);

/* The same of what has been mapped since the plan was made. 0, -ECANCELED, or what
 * prof__plan_more() has returned. */
int prof__areas_read_new(const struct prof__plan *plan, struct prof__sweep *s, prof__area_fn *each,
                         void *arg);

#endif
