/*
 * collect_map.h - mmap: told by hooks what the program maps and unmaps.
 *
 * Context: hook; errno is kept, and nobody is waited for beyond a millisecond (table/mappings.h).
 */
#ifndef PROF_RECORD_COLLECT_MAP_H
#define PROF_RECORD_COLLECT_MAP_H

#include "arch/site.h"
#include "base/compiler.h"

/* The program has mapped this, called from `site`; and has unmapped this, in a call before which
 * there was that moment. */
PROF_SHARED void prof__map_added(const void *p, size_t size, const struct prof__site *site);
PROF_SHARED uint64_t prof__map_moment(void);
PROF_SHARED void prof__map_removed(const void *p, size_t size, uint64_t moment);

/* The same of the break, which was there and is here, to the byte. */
PROF_SHARED void prof__break_moved(const void *from, const void *to, uint64_t moment,
                                   const struct prof__site *site);

/* Mappings that were not remembered: there were too many, or who was at it could not be waited for.
 */
uint64_t prof__map_lost(void);

#endif
